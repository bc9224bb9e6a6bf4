// The arithmetic of the random numbers of core/random.h, for host and device alike.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "norma/core/host_device.h"

namespace norma {

// The i-th block of four 32-bit words of a stream.
NORMA_HOST_DEVICE inline std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t index) {
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                               static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * c[0], product1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(product1 >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return c;
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
