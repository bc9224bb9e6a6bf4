// The arithmetic of the random numbers of core/random.h, for host and device alike.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "norma/core/host_device.h"

namespace norma {

// The blocks [index, index + lanes) of a stream: [k][i] is word k of block index + i. A word is 32 bits; it is held in
// 64, of which the upper half is zero, since the loops over lanes vectorise in this form.
template <size_t lanes>
using PhiloxBlocks = std::array<std::array<uint64_t, lanes>, 4>;

template <size_t lanes>
NORMA_HOST_DEVICE inline PhiloxBlocks<lanes> philox_blocks(uint64_t seed, uint64_t stream, uint64_t index) {
  PhiloxBlocks<lanes> c;
  constexpr uint64_t kLow = 0xFFFFFFFF;
  for (uint64_t i = 0; i < lanes; ++i) {
    c[0][i] = (index + i) & kLow, c[1][i] = (index + i) >> 32;
    c[2][i] = stream & kLow, c[3][i] = stream >> 32;
  }
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9, key1 += 0xBB67AE85) {
    for (size_t i = 0; i < lanes; ++i) {
      const uint64_t product0 = 0xD2511F53 * (c[0][i] & kLow), product1 = 0xCD9E8D57 * (c[2][i] & kLow);
      c[0][i] = (product1 >> 32) ^ c[1][i] ^ key0, c[1][i] = product1 & kLow;
      c[2][i] = (product0 >> 32) ^ c[3][i] ^ key1, c[3][i] = product0 & kLow;
    }
  }
  return c;
}

// One block: four words.
NORMA_HOST_DEVICE inline std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t index) {
  const PhiloxBlocks<1> c = philox_blocks<1>(seed, stream, index);
  return {static_cast<uint32_t>(c[0][0]), static_cast<uint32_t>(c[1][0]), static_cast<uint32_t>(c[2][0]),
          static_cast<uint32_t>(c[3][0])};
}

NORMA_HOST_DEVICE inline double to_uniform(uint32_t word) { return (word + 0.5) * 0x1p-32; }  // never 0 or 1

// Box-Muller: two uniforms give two normals.
NORMA_HOST_DEVICE inline std::array<double, 2> to_normals(uint32_t a, uint32_t b) {
  const double radius = std::sqrt(-2 * std::log(to_uniform(a))), angle = 6.283185307179586477 * to_uniform(b);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

// What a tensor is filled with: element i takes value i % 4 of block i / 4.
struct RandomFill {
  bool normal;
  double a, b;  // of a uniform distribution the bounds, of a normal one the mean and the standard deviation
  uint64_t seed, stream, position;

  NORMA_HOST_DEVICE std::array<double, 4> block(int64_t i) const {
    const auto w = philox(seed, stream, position + static_cast<uint64_t>(i));
    std::array<double, 4> values = {to_uniform(w[0]), to_uniform(w[1]), to_uniform(w[2]), to_uniform(w[3])};
    if (normal) {
      const auto first = to_normals(w[0], w[1]), second = to_normals(w[2], w[3]);
      values = {first[0], first[1], second[0], second[1]};
    }
    for (double& value : values) value = a + (normal ? b : b - a) * value;
    return values;
  }
};

}  // namespace norma
