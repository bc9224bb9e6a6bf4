// The sizes of convolutions: the one arithmetic of windows, which the pools use, too, and the geometry that is handed
// to the kernels. What a convolution computes is in ops/conv/conv2d.h.
#pragma once

#include "norma/core/host_device.h"
#include "norma/core/tensor.h"

namespace norma {

class Op;
struct Conv2dOptions;

struct Range {  // [begin, end)
  int64_t begin, end;
  NORMA_HOST_DEVICE int64_t size() const { return end - begin; }
};

// What is put around an image, so many rows and columns on each side: one number, {h, w}, or {top, bottom, left,
// right}.
struct Padding2d {
  int64_t top, bottom, left, right;
  bool is_same;  // instead of the numbers: same()
  Padding2d(int64_t all) : Padding2d(all, all) {}
  Padding2d(Pair each) : Padding2d(each.h, each.w) {}
  Padding2d(int64_t h, int64_t w) : Padding2d(h, h, w, w) {}
  Padding2d(int64_t above, int64_t below, int64_t before, int64_t behind, bool fits = false)
      : top(above), bottom(below), left(before), right(behind), is_same(fits) {}
  // As much as makes ceil(H / stride) x ceil(W / stride) outputs; of an odd number, the last row and column are at the
  // end, as with TensorFlow's "SAME" and PyTorch's "same".
  static Padding2d same() { return {0, 0, 0, 0, true}; }
  Pair before() const { return {top, left}; }
  Pair after() const { return {bottom, right}; }
  bool operator==(const Padding2d&) const = default;
};

// The windows along one axis of an image: that of output o reads the inputs o * stride - padding + k * dilation for
// k = 0 ... kernel - 1. Inputs that do not exist are padding: `padding` before them, and any number after them.
struct WindowAxis {
  int64_t kernel, stride, padding, dilation = 1;

  // From the first input of a window to its last.
  NORMA_HOST_DEVICE int64_t reach() const { return dilation * (kernel - 1); }
  // How many windows so many inputs have: (inputs + padding + after - reach - 1) / stride + 1, rounded down; 0 where
  // the kernel is larger than the padded input. With `ceil`, rounded up, unless the window that this adds would begin
  // after the inputs. Any kernel and dilation will do, stride and padding go up to kMaxStep.
  int64_t outputs(int64_t inputs, int64_t after, bool ceil = false) const {
    const int64_t room = inputs + padding + after - saturating(kernel - 1, dilation, 1);
    const int64_t windows = room < 0 ? 0 : room / stride + 1, next = windows * stride;
    return windows + (ceil && next < room + stride && next < inputs + padding ? 1 : 0);
  }
  int64_t outputs(int64_t inputs) const { return outputs(inputs, padding); }
  // The inverse: the fewest inputs that have so many windows, with as much padding after them as before. Where they
  // cannot be counted, more than a tensor can have.
  int64_t inputs(int64_t outputs) const {
    return saturating(outputs - 1, stride, saturating(kernel - 1, dilation, 1)) - 2 * padding;
  }

  // Where tap k of the window of output o reads; padding where that is not in [0, inputs).
  NORMA_HOST_DEVICE int64_t input(int64_t o, int64_t k) const { return o * stride - padding + k * dilation; }
  // How many taps of the window of output o read before input `end`.
  NORMA_HOST_DEVICE int64_t taps_before(int64_t o, int64_t end) const {
    const int64_t room = end - input(o, 0);
    return room <= 0 ? 0 : room > reach() ? kernel : (room + dilation - 1) / dilation;
  }
  // The taps that read inputs, not padding.
  NORMA_HOST_DEVICE Range taps_of(int64_t o, int64_t inputs) const {
    return {taps_before(o, 0), taps_before(o, inputs)};
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

// A convolution as the kernels see it: x [n, h, w, c], weight [oc, kh, kw, c / groups], y [n, oh, ow, oc]. `padding` is
// above and to the left; below and to the right, zeros go on as far as oh and ow have it, and where these do not reach
// the input's end, the rest of it is not read, and its gradient is zero.
struct ConvGeometry {
  int64_t n, h = 0, w = 0, c, oh = 0, ow = 0, oc, kh, kw;
  Pair stride = 1, padding = 0, dilation = 1;
  int64_t groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
  Pair padding_after = 0;  // what the options say of it; for kernels, oh and ow do

  NORMA_HOST_DEVICE WindowAxis rows() const { return {kh, stride.h, padding.h, dilation.h}; }
  NORMA_HOST_DEVICE WindowAxis columns() const { return {kw, stride.w, padding.w, dilation.w}; }
};

// Checks what both convolutions ask of their arguments, in the name of `op`, and returns their geometry but for the
// images' sizes. The weight's first axis is the output's channels or, transposed, the input's; its last one is of the
// other side. In the transposed convolution's geometry y is its input and x its output.
ConvGeometry check_convolution(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                               const Conv2dOptions& options, bool transposed);

// Checks the arguments of conv2d likewise, and says what the kernels do for them.
ConvGeometry conv2d_geometry(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                             const Conv2dOptions& options);

// The padding in numbers, for these windows over an image `in` [N, H, W, C]. Checks first, in the name of `op`, that
// they are in order: stride and dilation in 1 ... kMaxStep, padding from 0 on.
Padding2d checked_padding(const Op& op, const Padding2d& padding, Pair kernel, Pair stride, Pair dilation,
                          const Shape& in);

// [h, w], as messages show it.
inline Shape shape_of(Pair pair) { return {pair.h, pair.w}; }

inline bool in_steps(Pair pair) { return std::max(pair.h, pair.w) <= kMaxStep; }

}  // namespace norma
