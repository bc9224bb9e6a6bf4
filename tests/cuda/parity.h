// What the parity tests share: an op on CUDA against the CPU, values and gradients, f32 and f64, odd sizes, strided
// inputs, gradients that are added to.
#pragma once

#include "tests/golden.h"

namespace norma::test {

using Inputs = std::vector<Tensor>;
using Function = std::function<Tensor(const Inputs&)>;

const Device kCuda{Device::Kind::cuda, 0};

// The same values, every second element of a larger tensor along each axis.
inline Tensor strided(const Tensor& x) {
  Shape wide = x.shape();
  for (int i = 0; i < x.rank(); ++i) wide[i] = 2 * wide[i];
  Tensor view = full(wide, x.is_floating() ? NAN : 1, x.dtype(), x.device());
  for (int i = 0; i < x.rank(); ++i) view = view::slice(view, i, 0, wide[i], 2);
  view.copy_from(x);
  return view;
}

// y and the gradients of the floating inputs.
inline Inputs sweep(const Function& f, const Inputs& inputs, DType dtype, Device device, bool views) {
  Inputs leaves;
  for (const Tensor& input : inputs) {
    Tensor x = (input.is_floating() ? input.to(dtype) : input).to(device);
    x = views ? strided(x) : x.clone();
    if (x.is_floating()) {
      x.set_requires_grad();
      if (views) x.set_grad(full(x.shape(), 0.5, dtype, device));
    }
    leaves.push_back(x);
  }
  Tape tape;
  Inputs results = {f(leaves)};
  EXPECT_EQ(results[0].device(), device);
  if (results[0].requires_grad()) {
    Tensor upstream = random(results[0].shape(), 99).to(results[0].dtype()).to(device);
    tape.backward(results[0], {.seed = views ? strided(upstream) : upstream});
    for (const Tensor& x : leaves)
      if (x.is_floating()) results.push_back(x.grad());
  }
  return results;
}

inline void expect_parity(const std::string& name, const Function& f, const Inputs& inputs, double tolerance = 3e-6) {
  for (DType dtype : {f64, f32}) {
    for (bool views : {false, true}) {
      const Inputs want = sweep(f, inputs, dtype, cpu_device, views), got = sweep(f, inputs, dtype, kCuda, views);
      ASSERT_EQ(got.size(), want.size()) << name;
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i].defined(), want[i].defined()) << name << " " << i;
        if (!got[i].defined()) continue;
        EXPECT_EQ(got[i].dtype(), want[i].dtype()) << name;
        EXPECT_TRUE(close(got[i], want[i], dtype == f32 ? tolerance : 1e-12))
            << name << (i == 0 ? " forward " : " gradient of input ") << (i == 0 ? "" : std::to_string(i - 1)) << " in "
            << name_of(dtype) << (views ? ", views" : "");
      }
    }
  }
}

class Parity : public ::testing::Test {
 protected:
  void SetUp() override { backend(kCuda).memory().set_poison(true); }
  void TearDown() override { backend(kCuda).memory().set_poison(false); }
};

inline Tensor positive(const Shape& shape, uint64_t seed = 5) {
  Generator generator(seed);
  Tensor x(shape, f64);
  generator.fill_uniform(x, 0.3, 3);
  return x;
}
inline Tensor integers(const Shape& shape, int64_t below, uint64_t seed = 6) {
  Generator generator(seed);
  Tensor x(shape, i64);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<int64_t>()[i] = generator.below(below);
  return x;
}

inline Tensor from_the_end(const Shape& shape, int64_t n) {  // integers of [-n, 0)
  Generator generator(6);
  return randint(-n, 0, shape, generator);
}

}  // namespace norma::test
