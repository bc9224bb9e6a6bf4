#include "norma/core/random.h"

#include "norma/core/backend.h"

namespace norma {

// x[4i ... 4i+3] = block i.
Tensor Generator::fill(const Tensor& x, bool normal, double a, double b) {
  const char* op = normal ? "fill_normal" : "fill_uniform";
  check(x.is_contiguous(), op, "wants a contiguous tensor: shape {}", x.shape());
  const State from = reserve((x.numel() + 3) / 4);
  backend(x.device()).fill_random(op, x, {normal, a, b, from.seed, from.stream, from.position});
  return x;
}

Generator::State Generator::reserve(int64_t blocks) {
  check(blocks >= 0, "reserve", "{} blocks: want at least 0", blocks);
  return {state_.seed, state_.stream, __atomic_fetch_add(&state_.position, blocks, __ATOMIC_SEQ_CST)};
}

std::array<uint32_t, 4> Generator::block() {
  const State at = reserve(1);
  return philox(at.seed, at.stream, at.position);
}

double Generator::uniform() {
  const auto words = block();
  // 53 bits: with one more, 1 appears.
  return ((static_cast<uint64_t>(words[0]) << 20 | words[1] >> 12) + 0.5) * 0x1p-52;
}

double Generator::normal() {
  const auto words = block();
  return to_normals(words[0], words[1])[0];
}

int64_t Generator::below(int64_t n) {
  check(n >= 1, "below", "{}: want at least 1", n);
  const uint64_t range = static_cast<uint64_t>(n), limit = UINT64_MAX - UINT64_MAX % range;
  while (true) {
    const auto words = block();
    const uint64_t value = static_cast<uint64_t>(words[0]) << 32 | words[1];
    if (value < limit) return static_cast<int64_t>(value % range);
  }
}

void Generator::shuffle(std::span<int64_t> items) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(static_cast<int64_t>(i))]);
}

std::vector<int64_t> Generator::permutation(int64_t n) {
  check(n >= 0, "permutation", "of {} numbers: want at least 0", n);
  std::vector<int64_t> order = arange(n).to_vector<int64_t>();
  shuffle(order);
  return order;
}

static thread_local Generator* of_thread = nullptr;
static thread_local uint64_t stream_of_thread = 0;

Generator& default_generator() {
  static Generator of_process;
  return of_thread ? *of_thread : of_process;
}

void manual_seed(uint64_t seed) { default_generator() = Generator(seed, stream_of_thread); }

// (Above the streams of the loader's samples, and below those of its epochs: nn/data.)
ThreadGenerator::ThreadGenerator(const Generator::State& state, int rank)
    : stream_(stream_of_thread, rank > 0 ? uint64_t{1} << 63 | static_cast<uint64_t>(rank) : 0),
      here_(of_thread, &generator_) {
  generator_.set_state({state.seed, state.stream ^ stream_of_thread, state.position});
}

Tensor rand(const Shape& shape, Generator& g, DType dtype) { return g.fill_uniform(empty(shape, dtype)); }
Tensor randn(const Shape& shape, Generator& g, DType dtype) { return g.fill_normal(empty(shape, dtype)); }
Tensor rand_like(const Tensor& x, Generator& generator) { return generator.fill_uniform(empty_like(x)); }
Tensor randn_like(const Tensor& x, Generator& generator) { return generator.fill_normal(empty_like(x)); }

Tensor randint(int64_t low, int64_t high, const Shape& shape, Generator& generator) {
  int64_t count;
  check(low < high && !__builtin_sub_overflow(high, low, &count), "randint", "no range: [{}, {})", low, high);
  const Tensor x(shape, i64);
  for (int64_t& value : std::span(x.mutable_data<int64_t>(), x.numel())) value = low + generator.below(count);
  return x;
}

Tensor randperm(int64_t n, Generator& generator) { return tensor(generator.permutation(n), n); }

}  // namespace norma
