// Pooling over windows of images [N, H, W, C]: the largest or the mean value of each window, channel by channel.
#pragma once

#include <optional>

#include "norma/ops/kernel.h"

namespace norma {

class Op;

struct Pool2dOptions {
  Pair kernel;
  std::optional<Pair> stride{};  // default: the kernel
  Pair padding = 0;              // on each side; at most half of the kernel
};

// y [N, OH, OW, C] with OH = (H + 2 padding - kernel) / stride + 1, rounded down. f32 or f64, any strides. Errors:
// another rank, H or W 0, a kernel larger than the padded input, stride < 1, padding outside of 0 ... kernel / 2.
// Padding never wins (it counts as -inf); a NaN does. The gradient goes to the element that won, the first of equals.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options);
// The mean of each window. Padding counts as zeros or, without `count_include_pad`, not at all.
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options, bool count_include_pad = true);
// The mean of each channel over the image: [N, H, W, C] -> [N, C].
Tensor global_avg_pool(const Tensor& x);

// --- For the kernels.

struct PoolGeometry {
  int64_t n, h, w, c, oh, ow;
  Pair kernel, stride, padding;
  PoolGeometry(const Op& op, const Tensor& x, const Pool2dOptions& options);  // throws where they do not fit
  Shape output_shape() const { return {n, oh, ow, c}; }
};

// `arg`, undefined where no gradient is wanted: for each element of y the place of the winner in its window,
// row-major; u8, or i64 for windows of more than 256 elements.
NORMA_SIMD_KERNEL(max_pool2d, PoolGeometry geometry, const Tensor& x, const Tensor& y, const Tensor& arg)
NORMA_SIMD_KERNEL(max_pool2d_backward, PoolGeometry geometry, const Tensor& dy, const Tensor& arg, const Tensor& dx,
                  bool add)
NORMA_SIMD_KERNEL(avg_pool2d, PoolGeometry geometry, bool count_include_pad, const Tensor& x, const Tensor& y)
NORMA_SIMD_KERNEL(avg_pool2d_backward, PoolGeometry geometry, bool count_include_pad, const Tensor& dy,
                  const Tensor& dx, bool add)

}  // namespace norma
