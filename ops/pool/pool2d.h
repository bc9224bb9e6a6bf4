// Pooling over windows of images [N, H, W, C]: the largest or the mean value of each window, channel by channel.
#pragma once

#include <optional>

#include "norma/ops/conv/geometry.h"
#include "norma/ops/kernel.h"

namespace norma {

struct Pool2dOptions {
  Pair kernel = 0;                // to be given
  std::optional<Pair> stride{};   // default: the kernel
  Padding2d padding = 0;          // any: one number, {h, w}, {top, bottom, left, right}, or Padding2d::same()
  Pair dilation = 1;              // inputs from one tap of a window to the next
  bool ceil_mode = false;         // the number of outputs is rounded up, so that the last inputs are not left out
  bool count_include_pad = true;  // in means, padding counts as zeros; else not at all
};

// All: x [N, H, W, C] of f32 or f64, any strides; N may be 0. They have gradients. Errors: another dtype or rank, H or
// W 0, windows of more than 2^32 elements.

// The largest value of each window: y [N, OH, OW, C] with OH = (H + top + bottom - dilation (kernel - 1) - 1) / stride
// + 1, rounded down or, by ceil_mode, up; but then a window that would begin in the padding behind the input is left
// out, as PyTorch has it. Padding never wins (it counts as -inf); a NaN does. The gradient goes to the element that
// won, the first of equals. A window that sees padding only, as padding of more than half of the kernel can make (an
// error in PyTorch), has -inf and no gradient. Errors: a kernel larger than the padded input, stride or dilation < 1,
// padding < 0, one of these above kMaxStep (2^31 - 1).
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options);
// The mean of each window, likewise; of padding only, 0. What ceil_mode lets a window see beyond the padding never
// counts.
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options);
// The mean of each channel over the image: [N, H, W, C] -> [N, C].
Tensor global_avg_pool(const Tensor& x);

// By square windows, side by side.
inline Tensor max_pool2d(const Tensor& x, int64_t kernel) { return max_pool2d(x, {.kernel = kernel}); }
inline Tensor avg_pool2d(const Tensor& x, int64_t kernel) { return avg_pool2d(x, {.kernel = kernel}); }

// --- For the kernels.

// Pooling as the kernels see it: x [n, h, w, c], y [n, oh, ow, c].
struct PoolGeometry {
  int64_t n, h, w, c, oh, ow;
  Pair kernel, stride, padding, dilation, padding_after;  // padding: above and to the left
  bool count_include_pad, ceil_mode;

  Shape output_shape() const { return {n, oh, ow, c}; }
  NORMA_HOST_DEVICE WindowAxis rows() const { return {kernel.h, stride.h, padding.h, dilation.h}; }
  NORMA_HOST_DEVICE WindowAxis columns() const { return {kernel.w, stride.w, padding.w, dilation.w}; }
  // What the sum of the window of output (oy, ox) is divided by.
  NORMA_HOST_DEVICE int64_t divisor(int64_t oy, int64_t ox) const {
    const int64_t taps =
        !count_include_pad ? rows().taps_of(oy, h).size() * columns().taps_of(ox, w).size()
        : ceil_mode ? rows().taps_before(oy, h + padding_after.h) * columns().taps_before(ox, w + padding_after.w)
                    : kernel.h * kernel.w;
    return taps == 0 ? 1 : taps;  // of no inputs the mean is 0
  }
};

// Checks the arguments in the name of `op`.
PoolGeometry pool_geometry(const Op& op, const Tensor& x, const Pool2dOptions& options);

// All tensors are contiguous. With `add`, dx is added to, else assigned. `arg`, undefined where no gradient is wanted:
// for each element of y the place of the winner in its window, row-major; u8, or i64 for windows of more than 256
// elements. In a window of padding, it is any place.
NORMA_SIMD_KERNEL(max_pool2d, PoolGeometry geometry, const Tensor& x, const Tensor& y, const Tensor& arg)
NORMA_SIMD_KERNEL(max_pool2d_backward, PoolGeometry geometry, const Tensor& dy, const Tensor& arg, const Tensor& dx,
                  bool add)
NORMA_SIMD_KERNEL(avg_pool2d, PoolGeometry geometry, const Tensor& x, const Tensor& y)
NORMA_SIMD_KERNEL(avg_pool2d_backward, PoolGeometry geometry, const Tensor& dy, const Tensor& dx, bool add)

}  // namespace norma
