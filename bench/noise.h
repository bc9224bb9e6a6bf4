// Batches of noise for benchmarks, which bench/peers/torch_step.py draws the same of.
#pragma once

#include <norma/norma.h>

namespace bench {

using namespace norma;

constexpr int64_t kClasses = 10;

// Pseudo-random 32 bits of i, such that numpy can compute them too.
inline uint32_t mix(uint32_t i) {
  i *= 0x9E3779B1u;
  i = (i ^ (i >> 16)) * 0x85EBCA6Bu;
  i = (i ^ (i >> 13)) * 0xC2B2AE35u;
  return i ^ (i >> 16);
}

struct Batch {
  Tensor images, labels;
};

// Batch b of noise: images uniform in [-1, 1), element i of all batches from mix(i); labels from mix(2^31 + i).
inline Batch draw(int64_t b, const Shape& image, int64_t size) {
  Batch batch = {Tensor({size, image[0], image[1], image[2]}), Tensor({size}, i64)};
  float* x = batch.images.mutable_data<float>();
  const int64_t n = batch.images.numel();
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(mix(static_cast<uint32_t>(b * n + i)) >> 8) * 0x1p-23f - 1;
  for (int64_t i = 0; i < size; ++i)
    batch.labels.mutable_data<int64_t>()[i] = mix(0x80000000u + static_cast<uint32_t>(b * size + i)) % kClasses;
  return batch;
}

}  // namespace bench
