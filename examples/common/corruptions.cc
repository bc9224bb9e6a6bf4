#include "examples/common/corruptions.h"

#include <cmath>
#include <vector>

#include "norma/core/parallel.h"
#include "norma/core/random.h"

namespace examples {
namespace {

using namespace norma;
using Pixels = std::vector<float>;  // [H, W, C], in [0, 1]

struct Size {
  int64_t h, w, c;
};

// One direction of the filter; `step` is the distance of neighbours, `extent` their number along it.
Pixels blur_along(const Pixels& x, const std::vector<float>& taps, int64_t step, int64_t extent) {
  const int64_t reach = std::ssize(taps) / 2;
  Pixels y(x.size());
  for (int64_t i = 0; i < std::ssize(x); ++i) {
    const int64_t at = i / step % extent;
    float sum = 0;
    for (int64_t t = -reach; t <= reach; ++t) {
      const int64_t neighbour = i + (std::clamp<int64_t>(at + t, 0, extent - 1) - at) * step;
      sum += taps[t + reach] * x[neighbour];
    }
    y[i] = sum;
  }
  return y;
}

Pixels blur(const Pixels& x, Size size, double deviation) {
  const int64_t reach = std::max<int64_t>(1, std::llround(3 * deviation));
  std::vector<float> taps;
  double sum = 0;
  for (int64_t t = -reach; t <= reach; ++t)
    sum += std::exp(-0.5 * static_cast<double>(t * t) / (deviation * deviation));
  for (int64_t t = -reach; t <= reach; ++t)
    taps.push_back(static_cast<float>(std::exp(-0.5 * static_cast<double>(t * t) / (deviation * deviation)) / sum));
  return blur_along(blur_along(x, taps, size.c, size.w), taps, size.w * size.c, size.h);
}

// In [0, 1] at each pixel [H, W]: random heights on three grids of 2, 4 and 8 squares a side, interpolated; a grid of
// half the spacing has half the weight.
std::vector<float> slow_noise(Size size, Generator& random) {
  std::vector<float> sum(size.h * size.w, 0);
  float weight = 4.0f / 7;
  for (int64_t squares = 2; squares <= 8; squares *= 2, weight /= 2) {
    std::vector<double> heights((squares + 1) * (squares + 1));
    for (double& height : heights) height = random.uniform();
    for (int64_t y = 0; y < size.h; ++y)
      for (int64_t x = 0; x < size.w; ++x) {
        const double v = static_cast<double>(y * squares) / static_cast<double>(size.h),
                     u = static_cast<double>(x * squares) / static_cast<double>(size.w);
        const int64_t row = static_cast<int64_t>(v), column = static_cast<int64_t>(u);
        const double down = v - static_cast<double>(row), right = u - static_cast<double>(column);
        const double* corner = heights.data() + row * (squares + 1) + column;
        const double above = corner[0] * (1 - right) + corner[1] * right,
                     below = corner[squares + 1] * (1 - right) + corner[squares + 2] * right;
        sum[y * size.w + x] += weight * static_cast<float>(above * (1 - down) + below * down);
      }
  }
  return sum;
}

Pixels corrupted(Pixels x, Size size, Corruption corruption, int strength, Generator& random) {
  const float s = static_cast<float>(strength);
  switch (corruption) {
    case Corruption::noise:
      for (float& p : x) p += 0.06f * s * static_cast<float>(random.normal());
      break;
    case Corruption::blur: return blur(x, size, 0.3 * strength);
    case Corruption::contrast: {
      double mean = 0;
      for (float p : x) mean += p;
      const float m = static_cast<float>(mean / static_cast<double>(x.size()));
      for (float& p : x) p = m + (0.9f - 0.15f * s) * (p - m);
      break;
    }
    case Corruption::brightness:
      for (float& p : x) p += 0.1f * s;
      break;
    case Corruption::fog: {
      const std::vector<float> fog = slow_noise(size, random);
      const float a = 0.15f * s;
      for (size_t i = 0; i < x.size(); ++i)
        x[i] = (1 - a) * x[i] + a * (0.5f + 0.5f * fog[i / static_cast<size_t>(size.c)]);
      break;
    }
  }
  return x;
}

}  // namespace

const char* name(Corruption corruption) {
  constexpr const char* kNames[] = {"noise", "blur", "contrast", "brightness", "fog"};
  return kNames[static_cast<size_t>(corruption)];
}

Tensor corrupt(const Tensor& images, Corruption corruption, int strength, uint64_t seed) {
  check(images.rank() == 4 && images.dtype() == u8, "corrupt", "wants u8 [N, H, W, C], not {} ({})", images.shape(),
        images.dtype());
  check(strength >= 1 && strength <= 5, "corrupt", "a strength of {}: want 1 to 5", strength);
  const Size size{images.dim(1), images.dim(2), images.dim(3)};
  const int64_t pixels = size.h * size.w * size.c;
  const Tensor from = images.contiguous(), to(images.shape(), u8);
  const uint8_t* in = from.data<uint8_t>();
  uint8_t* out = to.mutable_data<uint8_t>();
  parallel_for(images.dim(0), 16, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Generator random(seed, static_cast<uint64_t>(i) << 8 | static_cast<uint64_t>(corruption));
      Pixels x(static_cast<size_t>(pixels));
      for (int64_t p = 0; p < pixels; ++p) x[p] = static_cast<float>(in[i * pixels + p]) / 255;
      x = corrupted(std::move(x), size, corruption, strength, random);
      for (int64_t p = 0; p < pixels; ++p)
        out[i * pixels + p] = static_cast<uint8_t>(std::clamp(x[p], 0.0f, 1.0f) * 255 + 0.5f);
    }
  });
  return to;
}

}  // namespace examples
