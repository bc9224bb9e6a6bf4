// The sizes of convolutions: the one arithmetic of windows, which the pools use, too, and the geometry that is handed
// to the kernels. What a convolution computes is in ops/conv/conv2d.h.
#pragma once

#include "norma/core/host_device.h"
#include "norma/core/tensor.h"

namespace norma {

class Op;
struct Conv2dOptions;
struct ConvTranspose2dOptions;

struct Range {  // [begin, end)
  int64_t begin, end;
  NORMA_HOST_DEVICE int64_t size() const { return end - begin; }
};

// The windows along one axis of an image: that of output o reads the inputs o * stride - padding + k * dilation for
// k = 0 ... kernel - 1. Inputs that do not exist are padding, of which there is as much on either side.
struct WindowAxis {
  int64_t kernel, stride, padding, dilation = 1;

  // From the first input of a window to its last.
  NORMA_HOST_DEVICE int64_t reach() const { return dilation * (kernel - 1); }
  // How many windows so many inputs have: (inputs + 2 padding - reach - 1) / stride + 1, rounded down; 0 where the
  // kernel is larger than the padded input. Any kernel and dilation will do, stride and padding go up to kMaxStep.
  int64_t outputs(int64_t inputs) const {
    const int64_t room = inputs + 2 * padding - saturating(kernel - 1, dilation, 1);
    return room < 0 ? 0 : room / stride + 1;
  }
  // The inverse: the fewest inputs that have so many windows. Where they cannot be counted, more than a tensor can
  // have.
  int64_t inputs(int64_t outputs) const {
    return saturating(outputs - 1, stride, saturating(kernel - 1, dilation, 1)) - 2 * padding;
  }

  // Where tap k of the window of output o reads; padding where that is not in [0, inputs).
  NORMA_HOST_DEVICE int64_t input(int64_t o, int64_t k) const { return o * stride - padding + k * dilation; }
  // The inputs that the window of output o reads, of those that exist. Without dilation.
  NORMA_HOST_DEVICE Range inputs_of(int64_t o, int64_t inputs) const {
    const int64_t first = input(o, 0), end = first + kernel;
    return {first > 0 ? first : 0, end < inputs ? end : inputs};
  }
  // The outputs whose windows reach into the inputs [first, last].
  NORMA_HOST_DEVICE Range outputs_of(int64_t first, int64_t last, int64_t outputs) const {
    const int64_t below = first + padding - reach(), end = (last + padding) / stride + 1;
    return {below <= 0 ? 0 : (below + stride - 1) / stride, end < outputs ? end : outputs};
  }
};

// Which algorithm of the CPU does a convolution; CUDA has its own. `automatic` chooses by shape (ops/conv/choose.cc)
// unless the environment variable NORMA_CONV names another, which is then used wherever it can be.
enum class ConvAlgorithm : uint8_t {
  automatic,
  im2col,     // windows copied to the rows of a matrix, then matrix products: f32 and f64, any geometry
  direct,     // windows read where they are: f32, groups = 1 or depthwise (groups = C_in = C_out)
  winograd,   // F(4x4, 3x3): f32, 3x3 of stride and dilation 1, groups = 1
  winograd2,  // F(2x2, 3x3), likewise: saves less, but also on the smallest images, and is as exact as the others
};

// A convolution as the kernels see it: x [n, h, w, c], weight [oc, kh, kw, c / groups], y [n, oh, ow, oc]. oh and ow
// may be smaller than what h and w would give: the rest of the input is then not read, and its gradient is zero.
struct ConvGeometry {
  int64_t n, h = 0, w = 0, c, oh = 0, ow = 0, oc, kh, kw;
  Pair stride = 1, padding = 0, dilation = 1;
  int64_t groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;

  NORMA_HOST_DEVICE WindowAxis rows() const { return {kh, stride.h, padding.h, dilation.h}; }
  NORMA_HOST_DEVICE WindowAxis columns() const { return {kw, stride.w, padding.w, dilation.w}; }
};

// Check the arguments of conv2d and of conv_transpose2d, in the name of `op`, and say what the kernels do for them. In
// the transposed convolution's geometry y is its input and x its output.
ConvGeometry conv2d_geometry(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                             const Conv2dOptions& options);
ConvGeometry conv_transpose2d_geometry(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                                       const ConvTranspose2dOptions& options);

// [h, w], as messages show it.
inline Shape shape_of(Pair pair) { return {pair.h, pair.w}; }

inline bool in_steps(Pair pair) { return std::max(pair.h, pair.w) <= kMaxStep; }

}  // namespace norma
