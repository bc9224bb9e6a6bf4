// Images of another size: resampled, averaged down to a given size, or with channels turned into pixels and back.
#pragma once

#include "norma/ops/kernel.h"
#include "norma/ops/shape/views.h"

namespace norma {

// How many times as high and as wide: one number stands for both.
struct Scale {
  double h, w;
  Scale(double both) : h(both), w(both) {}
  Scale(double height, double width) : h(height), w(width) {}
  Scale(Pair pair) : Scale(static_cast<double>(pair.h), static_cast<double>(pair.w)) {}
};

enum class Interpolation : uint8_t { nearest, bilinear, area };

struct InterpolateOptions {
  Interpolation mode = Interpolation::nearest;
  // Of bilinear: the centres of the corner pixels stay where they are, and not the image's edges.
  bool align_corners = false;
};

// x [N, H, W, C] of f32 or f64, any strides, as [N, OH, OW, C], larger or smaller; N may be 0. As PyTorch's interpolate
// without antialiasing. Output i of an axis is
//   nearest:                  input floor(i H / OH), exactly: PyTorch rounds H / OH to f32, so that of one size in a
//                             hundred some outputs take the pixel before;
//   bilinear:                 that at (i + 0.5) H / OH - 0.5, but not before the first, linear between its neighbours;
//   bilinear, align_corners:  that at i (H - 1) / (OH - 1);
//   area:                     the mean of the inputs from floor(i H / OH) up to, and without, ceil((i + 1) H / OH).
// A scale stands for the size floor(H scale): what PyTorch does with recompute_scale_factor=True.
// A pixel of weight 0 is not read, so that its infinity or NaN does not spread; PyTorch's does. Weights and sums are
// f64, the columns' results x's dtype; the gradient is summed for each input in the order of the outputs. Errors:
// another dtype or rank, H or W 0, any size outside of 1 ... kMaxStep (2^31 - 1), a scale that makes such sizes,
// align_corners without bilinear.
Tensor interpolate(const Tensor& x, Pair size, const InterpolateOptions& options = {});
Tensor interpolate(const Tensor& x, Scale scale, const InterpolateOptions& options = {});

// Means of windows of whatever size makes `size` outputs: x [N, H, W, C] -> [N, size.h, size.w, C], by interpolate's
// `area`.
inline Tensor adaptive_avg_pool2d(const Tensor& x, Pair size) {
  return interpolate(x, size, {.mode = Interpolation::area});
}

// Sub-pixel convolution's way to larger images (Shi et al. 2016): x [N, H, W, C r r] -> [N, H r, W r, C], channel
// (c r + i) r + j at the pixel (i, j) of each r x r, which is PyTorch's order; any dtype, with gradient. Error: another
// rank, r < 1, channels that r r does not divide.
inline Tensor pixel_shuffle(const Tensor& x, int64_t r) {
  check(x.rank() == 4 && r >= 1 && r <= kMaxStep && x.dim(3) % (r * r) == 0, "pixel_shuffle",
        "{} does not fit shape {}: wants [N, H, W, C r r]", r, x.shape());
  const int64_t n = x.dim(0), h = x.dim(1), w = x.dim(2), c = x.dim(3) / (r * r);
  return reshape(permute(reshape(x, {n, h, w, c, r, r}), {0, 1, 4, 2, 5, 3}), {n, h * r, w * r, c});
}

// Its inverse: x [N, H r, W r, C] -> [N, H, W, C r r].
inline Tensor pixel_unshuffle(const Tensor& x, int64_t r) {
  check(x.rank() == 4 && r >= 1 && r <= kMaxStep && x.dim(1) % r == 0 && x.dim(2) % r == 0, "pixel_unshuffle",
        "{} does not fit shape {}: wants [N, H r, W r, C]", r, x.shape());
  const int64_t n = x.dim(0), h = x.dim(1) / r, w = x.dim(2) / r, c = x.dim(3);
  return reshape(permute(reshape(x, {n, h, r, w, r, c}), {0, 1, 3, 5, 2, 4}), {n, h, w, c * r * r});
}

// y (+)= x with a matrix applied along `axis`, 1 or 2: x and y [N, H, W, C], contiguous, alike but there; added where
// `add`. The matrix has its terms that are not zero side by side: for each output (f64 [outputs, ...]) the first input,
// how many there are, and their weights.
NORMA_KERNEL(resample, int axis, const Tensor& x, const Tensor& matrix, const Tensor& y, bool add)

}  // namespace norma
