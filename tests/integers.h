// Fuzzing of integer arguments: calls of the library with numbers drawn from the extremes of int64_t and from what is
// usual. Each must throw norma::Error or return tensors that can be read and, where they are recorded, swept. Test
// support only.
#pragma once

#include "tests/golden.h"

namespace norma::test {

// Draws integers: call number i of a list gets the same in every run.
class Integers {
 public:
  explicit Integers(uint64_t i) : random_(3, i) {}
  int64_t operator()() {
    constexpr int64_t kOdd[] = {INT64_MIN,
                                INT64_MIN + 1,
                                -(1LL << 62),
                                -(1LL << 32),
                                -(1LL << 31),
                                -1000,
                                -2,
                                -1,
                                0,
                                7,
                                100,
                                1000,
                                (1LL << 31) - 1,
                                1LL << 31,
                                1LL << 32,
                                1LL << 46,
                                (1LL << 61) + 1,
                                1LL << 62,
                                INT64_MAX / 2,
                                INT64_MAX - 1,
                                INT64_MAX};
    if (random_.below(3) > 0) return random_.below(5);
    return kOdd[random_.below(std::ssize(kOdd))];
  }
  // Up to n - 1 of several numbers that should be small are not.
  int64_t mostly(int64_t usual) { return random_.below(3) > 0 ? usual : (*this)(); }
  int64_t below(int64_t n) { return random_.below(n); }
  Pair pair() { return {(*this)(), (*this)()}; }
  Pair mostly_pair(int64_t usual) { return {mostly(usual), mostly(usual)}; }
  Shape shape() {
    Shape shape;
    for (int64_t rank = random_.below(5); rank > 0; --rank) shape.push_back((*this)());
    return shape;
  }

 private:
  Generator random_;
};

struct IntegerCall {
  const char* name;
  std::function<std::vector<Tensor>(Integers&)> run;
};

// Reads all of x, on the host.
inline void read(const Tensor& x) {
  for (int64_t extent : x.shape()) ASSERT_GE(extent, 0);
  if (x.numel() > 1 << 20) return;  // a view that repeats: nothing larger can be in memory here
  ASSERT_EQ(std::ssize(x.to_vector<double>()), x.numel());
}

// As many calls as $NORMA_INTEGER_CALLS says. Reproducible: call i is a function of i.
inline void fuzz_integers(const std::vector<IntegerCall>& calls, int64_t usual_number) {
  const char* text = std::getenv("NORMA_INTEGER_CALLS");
  const int64_t number = text ? std::atoll(text) : usual_number;
  MemoryPool& there = backend(test_device()).memory();
  for (MemoryPool* pool : {&cpu_memory(), &there}) pool->set_limit(pool->stats().bytes_in_use + (16 << 20));
  std::vector<int64_t> good(calls.size()), refused(calls.size());
  for (int64_t i = 0; i < number; ++i) {
    const size_t which = static_cast<size_t>(i) % calls.size();
    SCOPED_TRACE(fmt::format("call {}: {}", i, calls[which].name));
    Integers draw(static_cast<uint64_t>(i));
    try {
      Tape tape;
      for (const Tensor& y : calls[which].run(draw)) {
        read(y);
        if (y.requires_grad() && y.numel() > 0 && y.numel() < 1 << 16)
          tape.backward(y, {.seed = ones(y.shape(), y.dtype(), y.device())});
      }
      ++good[which];
    } catch (const Error&) {
      ++refused[which];
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    if (::testing::Test::HasFailure()) break;
  }
  for (MemoryPool* pool : {&cpu_memory(), &there}) pool->set_limit(INT64_MAX);
  if (number < 100 * std::ssize(calls)) return;
  for (size_t k = 0; k < calls.size(); ++k) {  // else the numbers that are drawn suit nothing
    EXPECT_GT(good[k], 0) << calls[k].name;
    EXPECT_GT(refused[k], 0) << calls[k].name;
  }
}

}  // namespace norma::test
