// Pooling over windows of images [N, H, W, C]: the largest or the mean value of each window, channel by channel.
#pragma once

#include <optional>

#include "norma/ops/conv/geometry.h"
#include "norma/ops/kernel.h"

namespace norma {

struct Pool2dOptions {
  Pair kernel;
  std::optional<Pair> stride{};  // default: the kernel
  Pair padding = 0;              // on each side; at most half of the kernel
};

// All three: x [N, H, W, C] of f32 or f64, any strides; N may be 0. They have gradients. Errors: another dtype or rank,
// H or W 0, windows of more than 2^32 elements.

// The largest value of each window: y [N, OH, OW, C] with OH = (H + 2 padding - kernel) / stride + 1, rounded down.
// Padding never wins (it counts as -inf); a NaN does. The gradient goes to the element that won, the first of equals.
// Errors: a kernel larger than the padded input, stride < 1, padding outside of 0 ... kernel / 2, one of these above
// kMaxStep (2^31 - 1).
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options);
// The mean of each window, likewise. Padding counts as zeros or, without `count_include_pad`, not at all.
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options, bool count_include_pad = true);
// The mean of each channel over the image: [N, H, W, C] -> [N, C].
Tensor global_avg_pool(const Tensor& x);

// --- For the kernels.

// By what avg_pool2d divides the sum of a window: its size, how many inputs are in it, or nothing.
enum class PoolDivisor : uint8_t { size, inputs, one };

// Pooling as the kernels see it: x [n, h, w, c], y [n, oh, ow, c].
struct PoolGeometry {
  int64_t n, h, w, c, oh, ow;
  Pair kernel, stride, padding;

  Shape output_shape() const { return {n, oh, ow, c}; }
  NORMA_HOST_DEVICE WindowAxis rows() const { return {kernel.h, stride.h, padding.h}; }
  NORMA_HOST_DEVICE WindowAxis columns() const { return {kernel.w, stride.w, padding.w}; }
  // The share that an input has in the mean of the window of output (oy, ox).
  NORMA_HOST_DEVICE double share(PoolDivisor divisor, int64_t oy, int64_t ox) const {
    if (divisor == PoolDivisor::one) return 1;
    const int64_t inputs = rows().inputs_of(oy, h).size() * columns().inputs_of(ox, w).size();
    return 1.0 / static_cast<double>(divisor == PoolDivisor::size ? kernel.h * kernel.w : inputs);
  }
};

// Checks the arguments in the name of `op`.
PoolGeometry pool_geometry(const Op& op, const Tensor& x, const Pool2dOptions& options);

// All tensors are contiguous. With `add`, y and dx are added to, else assigned. `arg`, undefined where no gradient is
// wanted: for each element of y the place of the winner in its window, row-major; u8, or i64 for windows of more than
// 256 elements.
NORMA_SIMD_KERNEL(max_pool2d, PoolGeometry geometry, const Tensor& x, const Tensor& y, const Tensor& arg)
NORMA_SIMD_KERNEL(max_pool2d_backward, PoolGeometry geometry, const Tensor& dy, const Tensor& arg, const Tensor& dx,
                  bool add)
NORMA_SIMD_KERNEL(avg_pool2d, PoolGeometry geometry, PoolDivisor divisor, const Tensor& x, const Tensor& y, bool add)
NORMA_SIMD_KERNEL(avg_pool2d_backward, PoolGeometry geometry, PoolDivisor divisor, const Tensor& dy, const Tensor& dx,
                  bool add)

}  // namespace norma
