#include "norma/ops/elementwise/dropout.h"

#include <array>
#include <cmath>

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"

namespace norma {

Tensor dropout(const Tensor& x, double p, Generator& generator) {
  Op op("dropout");
  op.check_same({x});
  op.check(p >= 0 && p < 1, "p {} is not in [0, 1): input {}", p, x.shape());
  if (p == 0) return x;
  const Generator::State from = generator.reserve((x.numel() + 3) / 4);
  Tensor y = empty_like(x);
  kernel::dropout(p, from, x.contiguous(), y, false);
  return op.record({x}, y,
                   [p, from](const Tensor& dy, Sink& dx) { dx.write(0, kernel::dropout, p, from, dy.contiguous()); });
}

namespace cpu {
namespace {

// philox() of core/random.h for kLanes blocks from `index` on, word by word of a block, in a form that compilers turn
// into vector instructions. Words are held in 64 bits, whose upper half is zero.
constexpr int64_t kLanes = 16;
using Words = std::array<std::array<uint64_t, kLanes>, 4>;

void philox_lanes(uint64_t seed, uint64_t stream, uint64_t index, Words& c) {
  constexpr uint64_t kLow = 0xFFFFFFFF;
  for (uint64_t i = 0; i < kLanes; ++i) {
    c[0][i] = (index + i) & kLow, c[1][i] = (index + i) >> 32;
    c[2][i] = stream & kLow, c[3][i] = stream >> 32;
  }
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9, key1 += 0xBB67AE85) {
    for (size_t i = 0; i < kLanes; ++i) {
      const uint64_t product0 = 0xD2511F53 * (c[0][i] & kLow), product1 = 0xCD9E8D57 * (c[2][i] & kLow);
      c[0][i] = (product1 >> 32) ^ c[1][i] ^ key0, c[1][i] = product1 & kLow;
      c[2][i] = (product0 >> 32) ^ c[3][i] ^ key1, c[3][i] = product0 & kLow;
    }
  }
}

}  // namespace

void dropout(double p, Generator::State from, const Tensor& x, const Tensor& y, bool add) {
  dispatch_floating("dropout", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const T scale = static_cast<T>(1 / (1 - p));
    const auto threshold = static_cast<uint64_t>(std::ceil(p * 0x1p32));
    const int64_t n = x.numel(), step = 4 * kLanes;
    parallel_for((n + step - 1) / step, 256, [&](int64_t begin, int64_t end) {
      Words words;
      std::array<T, 4 * kLanes> factors;
      for (int64_t at = begin * step; at < std::min(n, end * step); at += step) {
        philox_lanes(from.seed, from.stream, from.position + static_cast<uint64_t>(at / 4), words);
        for (size_t i = 0; i < kLanes; ++i)
          for (size_t k = 0; k < 4; ++k) factors[4 * i + k] = static_cast<T>(words[k][i] >= threshold) * scale;
        const size_t count = static_cast<size_t>(std::min(step, n - at));
        const T* __restrict source = in + at;
        T* __restrict to = out + at;
        if (add)
          for (size_t i = 0; i < count; ++i) to[i] += source[i] * factors[i];
        else
          for (size_t i = 0; i < count; ++i) to[i] = source[i] * factors[i];
      }
    });
  });
}

}  // namespace cpu
}  // namespace norma
