#include "norma/core/random.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "norma/core/parallel.h"

namespace norma {
namespace {

double to_uniform(uint32_t word) { return (word + 0.5) * 0x1p-32; }  // never 0 or 1

// Box-Muller: two uniforms give two normals.
std::array<double, 2> to_normals(uint32_t a, uint32_t b) {
  const double radius = std::sqrt(-2 * std::log(to_uniform(a))), angle = 2 * std::numbers::pi * to_uniform(b);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

// x[4i ... 4i+3] = make(block i), on several threads.
template <class Make>
void fill_blocks(const char* op, const Tensor& x, Generator& generator, Make make) {
  check(x.is_contiguous(), op, "wants a contiguous tensor: shape {}", x.shape());
  const int64_t n = x.numel(), blocks = (n + 3) / 4;
  const Generator::State from = generator.reserve(blocks);
  dispatch_floating(op, x.dtype(), [&]<class T>() {
    T* data = x.mutable_data<T>();
    parallel_for(blocks, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const std::array<double, 4> values =
            make(philox(from.seed, from.stream, from.position + static_cast<uint64_t>(block)));
        for (int64_t i = 4 * block; i < std::min(n, 4 * block + 4); ++i)
          data[i] = static_cast<T>(values[static_cast<size_t>(i - 4 * block)]);
      }
    });
  });
}

}  // namespace

std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t index) {
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

Generator::State Generator::reserve(int64_t blocks) {
  return {state_.seed, state_.stream, std::atomic_ref(state_.position).fetch_add(static_cast<uint64_t>(blocks))};
}

double Generator::uniform() {
  const State at = reserve(1);
  const auto words = philox(at.seed, at.stream, at.position);
  return ((static_cast<uint64_t>(words[0]) << 20 | words[1] >> 12) + 0.5) *
         0x1p-52;  // 53 bits: with one more, 1 appears
}

double Generator::normal() {
  const State at = reserve(1);
  const auto words = philox(at.seed, at.stream, at.position);
  return to_normals(words[0], words[1])[0];
}

int64_t Generator::below(int64_t n) {
  check(n >= 1, "below", "{}: want at least 1", n);
  const uint64_t range = static_cast<uint64_t>(n), limit = UINT64_MAX - UINT64_MAX % range;
  while (true) {
    const State at = reserve(1);
    const auto words = philox(at.seed, at.stream, at.position);
    const uint64_t value = static_cast<uint64_t>(words[0]) << 32 | words[1];
    if (value < limit) return static_cast<int64_t>(value % range);
  }
}

void Generator::fill_uniform(const Tensor& x, double low, double high) {
  fill_blocks("fill_uniform", x, *this, [=](const std::array<uint32_t, 4>& words) {
    std::array<double, 4> values;
    for (size_t i = 0; i < 4; ++i) values[i] = low + (high - low) * to_uniform(words[i]);
    return values;
  });
}

void Generator::fill_normal(const Tensor& x, double mean, double deviation) {
  fill_blocks("fill_normal", x, *this, [=](const std::array<uint32_t, 4>& words) {
    const auto a = to_normals(words[0], words[1]), b = to_normals(words[2], words[3]);
    return std::array<double, 4>{mean + deviation * a[0], mean + deviation * a[1], mean + deviation * b[0],
                                 mean + deviation * b[1]};
  });
}

std::vector<int64_t> Generator::permutation(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(below(i + 1))]);
  return order;
}

Generator& default_generator() {
  static Generator generator;
  return generator;
}

Tensor rand(const Shape& shape, Generator& generator, DType dtype) {
  Tensor x(shape, dtype);
  generator.fill_uniform(x);
  return x;
}

Tensor randn(const Shape& shape, Generator& generator, DType dtype) {
  Tensor x(shape, dtype);
  generator.fill_normal(x);
  return x;
}

}  // namespace norma
