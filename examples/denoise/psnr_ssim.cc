#include "examples/denoise/psnr_ssim.h"

#include <array>
#include <cmath>

#include "norma/core/memory.h"
#include "norma/core/parallel.h"

namespace examples {
namespace {

using namespace norma;

void check_pictures(const char* op, const Tensor& a, const Tensor& b) {
  check(a.is_floating() && a.dtype() == b.dtype() && a.rank() == 4 && a.shape() == b.shape(), op,
        "wants pictures [N, H, W, C], f32 or f64, twice of one shape: {} {} and {} {}", a.dtype(), a.shape(), b.dtype(),
        b.shape());
  check(a.dim(1) > 0 && a.dim(2) > 0 && a.dim(3) > 0, op, "empty pictures {}", a.shape());
}

// f(a, b) of each pair of pictures, both [H, W, C] in double.
template <class F>
std::vector<double> of_each_pair(const Tensor& a, const Tensor& b, F&& f) {
  const int64_t size = a.dim(1) * a.dim(2) * a.dim(3);
  const Tensor x = a.to(f64).contiguous(), y = b.to(f64).contiguous();
  std::vector<double> values(a.dim(0));
  parallel_for(a.dim(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) values[i] = f(x.data<double>() + i * size, y.data<double>() + i * size, size);
  });
  return values;
}

constexpr int64_t kWindow = kSsimWindow;

std::array<double, kWindow> gaussian(double deviation) {  // sums to 1
  std::array<double, kWindow> weights;
  double sum = 0;
  for (int64_t k = 0; k < kWindow; ++k) {
    const double t = static_cast<double>(k - kWindow / 2) / deviation;
    sum += weights[k] = std::exp(-t * t / 2);
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

}  // namespace

std::vector<double> psnr(const Tensor& a, const Tensor& b) {
  check_pictures("psnr", a, b);
  return of_each_pair(a, b, [](const double* x, const double* y, int64_t size) {
    double squares = 0;
    for (int64_t i = 0; i < size; ++i) squares += (x[i] - y[i]) * (x[i] - y[i]);
    return -10 * std::log10(squares / static_cast<double>(size));
  });
}

std::vector<double> ssim(const Tensor& a, const Tensor& b) {
  check_pictures("ssim", a, b);
  check(a.dim(1) >= kWindow && a.dim(2) >= kWindow, "ssim", "pictures {} are smaller than the window of {} x {} pixels",
        a.shape(), kWindow, kWindow);
  const std::array<double, kWindow> window = gaussian(1.5);
  constexpr double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
  const int64_t height = a.dim(1), width = a.dim(2), channels = a.dim(3);
  const int64_t places_y = height - kWindow + 1, places_x = width - kWindow + 1;
  return of_each_pair(a, b, [&](const double* x, const double* y, int64_t) {
    // The window is a product of two: sums along the rows first, of a, b, a^2, b^2 and a b, then along the columns.
    using Sums = std::array<double, 5>;
    PoolVector<Sums> rows(height * places_x);  // [height, places_x]
    double total = 0;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < height; ++i)
        for (int64_t j = 0; j < places_x; ++j) {
          Sums sums{};
          for (int64_t k = 0; k < kWindow; ++k) {
            const int64_t at = (i * width + j + k) * channels + c;
            const double u = x[at], v = y[at], weight = window[k];
            const Sums terms = {u, v, u * u, v * v, u * v};
            for (size_t t = 0; t < 5; ++t) sums[t] += weight * terms[t];
          }
          rows[i * places_x + j] = sums;
        }
      for (int64_t i = 0; i < places_y; ++i)
        for (int64_t j = 0; j < places_x; ++j) {
          Sums sums{};
          for (int64_t k = 0; k < kWindow; ++k)
            for (size_t t = 0; t < 5; ++t) sums[t] += window[k] * rows[(i + k) * places_x + j][t];
          const auto [ma, mb, aa, bb, ab] = sums;
          total += (2 * ma * mb + c1) * (2 * (ab - ma * mb) + c2) /
                   ((ma * ma + mb * mb + c1) * (aa - ma * ma + bb - mb * mb + c2));
        }
    }
    return total / static_cast<double>(channels * places_y * places_x);
  });
}

}  // namespace examples
