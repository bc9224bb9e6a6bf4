// How near a restored picture comes to the clean one: the peak signal-to-noise ratio, and the structural similarity of
// Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment: from error visibility to structural similarity" (2004).
// They measure, in double; there are no gradients.
#pragma once

#include <vector>

#include "norma/core/tensor.h"

namespace examples {

// a, b: pictures [N, H, W, C], f32 or f64, of values in [0, 1]. One number for each of the N pairs. Errors: other
// shapes or dtypes, empty pictures.

// 10 log10(1 / mse) in dB, the mean square over all pixels and channels; infinite for equal pictures.
std::vector<double> psnr(const norma::Tensor& a, const norma::Tensor& b);

// The mean, over the channels and over all places of a window that lies inside of the picture, of
//   (2 ma mb + c1) (2 cov + c2) / ((ma^2 + mb^2 + c1) (va + vb + c2)),   c1 = 0.01^2, c2 = 0.03^2
// with means, variances and covariance weighted by the window: a Gaussian of deviation 1.5, cut to 11 x 11 pixels. 1
// for equal pictures. Error: H or W below the window's 11.
inline constexpr int64_t kSsimWindow = 11;
std::vector<double> ssim(const norma::Tensor& a, const norma::Tensor& b);

}  // namespace examples
