// Random numbers: one counter-based generator, Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", 2011). Number i of a stream is a function of (seed, stream, i) alone, so tensors are filled in parallel,
// and the stream is the same on every device.
#pragma once

#include "norma/core/philox.h"
#include "norma/core/tensor.h"

namespace norma {

class Generator {
 public:
  struct State {
    uint64_t seed = 0, stream = 0, position = 0;  // position: blocks consumed
    bool operator==(const State&) const = default;
  };

  explicit Generator(uint64_t seed = 0, uint64_t stream = 0) : state_{seed, stream, 0} {}

  // Scalars; each takes one block.
  double uniform();  // in (0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal();           // mean 0, standard deviation 1
  int64_t below(int64_t n);  // in [0, n), n >= 1, without bias

  // Tensors of floating dtype: element i takes word i % 4 of block i / 4; f32 and f64 get the same values; rounded
  // to f32, one uniform value in 2^25 is `high` itself. They return x.
  Tensor fill_uniform(const Tensor& x, double low = 0, double high = 1) { return fill(x, false, low, high); }
  Tensor fill_normal(const Tensor& x, double mean = 0, double deviation = 1) { return fill(x, true, mean, deviation); }

  void shuffle(std::span<int64_t> items);       // in place, by Fisher and Yates's method: a block an item but the first
  std::vector<int64_t> permutation(int64_t n);  // 0 ... n - 1, shuffled; n >= 0

  // Takes `blocks` blocks, at least 0, for the caller's own use and returns where they begin. Thread-safe.
  State reserve(int64_t blocks);

  State state() const { return state_; }
  void set_state(const State& state) { state_ = state; }

 private:
  std::array<uint32_t, 4> block();  // the next one
  Tensor fill(const Tensor& x, bool normal, double a, double b);

  State state_;
};

// What dropout and the layers' initialisation draw from unless given another: the process's, or the thread's own.
Generator& default_generator();
void manual_seed(uint64_t seed);  // begins it anew, in its stream

// While it lives, this thread has a default generator of its own, worker `rank`'s. It begins in this state, but in a
// stream of its own; worker 0's is that of the state.
class ThreadGenerator {
 public:
  ThreadGenerator(const Generator::State& state, int rank);

 private:
  Generator generator_;
  Scoped<uint64_t> stream_;
  Scoped<Generator*> here_;
};

Tensor rand(const Shape& shape, Generator& generator = default_generator(), DType dtype = f32);   // U(0, 1)
Tensor randn(const Shape& shape, Generator& generator = default_generator(), DType dtype = f32);  // N(0, 1)
// The same of x's shape, dtype (a floating one) and device: on each device the same numbers.
Tensor rand_like(const Tensor& x, Generator& generator = default_generator());
Tensor randn_like(const Tensor& x, Generator& generator = default_generator());
// Integers (i64) in [low, high), without bias; a block an element. Error: there is none, or 2^63 and more.
Tensor randint(int64_t low, int64_t high, const Shape& shape, Generator& generator = default_generator());
Tensor randperm(int64_t n, Generator& generator = default_generator());  // [n], i64: 0 ... n - 1, shuffled

}  // namespace norma
