// Reads the golden files that tests/golden/make.py wrote with PyTorch, and compares tensors. Test support only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "norma/core/backend.h"
#include "norma/core/serialize.h"
#include "norma/norma.h"

namespace norma {

inline void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.str(); }  // for gtest's messages

}  // namespace norma

namespace norma::test {

// What the tests that can run anywhere run on: $NORMA_TEST_DEVICE, "cpu" unless it says "cuda", which in a program that
// is linked with the emulated CUDA runtime is the emulated device. Golden cases, random() and gradcheck() are there.
inline Device test_device() {
  static const Device device = [] {
    const char* name = std::getenv("NORMA_TEST_DEVICE");
    return Device::parse(!name || !*name ? "cpu" : name);
  }();
  return device;
}

class NeedsTestDevice : public ::testing::Environment {
  void SetUp() override {
    if (test_device().index >= cuda::device_count() && test_device().is_cuda())
      GTEST_SKIP() << "there is no device " << test_device().str();
  }
};
inline ::testing::Environment* const needs_test_device = ::testing::AddGlobalTestEnvironment(new NeedsTestDevice);

// One case of a golden file: its attributes and its tensors, as `dtype` where they are floating.
struct GoldenCase {
  std::string name;  // "conv2d.c3"
  std::string op;    // "conv2d"
  nlohmann::json attrs;
  const TensorFile* file;
  DType dtype;

  bool has(const std::string& key) const { return file->find(name + "/" + key) != nullptr; }
  Tensor operator[](const std::string& key) const {
    const Tensor* x = file->find(name + "/" + key);
    check(x != nullptr, "golden", "{} has no tensor {}", name, key);
    return (x->is_floating() ? x->to(dtype) : *x).to(test_device());
  }
  // A clone that requires grad.
  Tensor leaf(const std::string& key) const {
    Tensor x = (*this)[key].clone();
    x.set_requires_grad();
    return x;
  }
  Shape shape(const std::string& key) const {
    return Shape(std::span<const int64_t>(attrs.at(key).get<std::vector<int64_t>>()));
  }
};

// Calls f for each case of `file` ("conv2d", without folder and ending) whose op is `op` (any, if empty), in f64 and
// f32.
inline void for_each_case(const std::string& file, const std::string& op,
                          const std::function<void(const GoldenCase&)>& f) {
  const TensorFile tensors = load_safetensors(std::string(NORMA_GOLDEN_DIR) + "/" + file + ".safetensors");
  int seen = 0;
  for (const auto& [name, text] : tensors.metadata) {
    if (name == "torch") continue;
    const nlohmann::json attrs = nlohmann::json::parse(text);
    if (!op.empty() && attrs.at("op") != op) continue;
    for (DType dtype : {f64, f32}) {
      SCOPED_TRACE(fmt::format("golden {} in {}: {}", name, dtype, text));
      f(GoldenCase{name, attrs.at("op"), attrs, &tensors, dtype});
    }
    ++seen;
  }
  EXPECT_GT(seen, 0) << "no golden case of " << op << " in " << file;
}

// |got - want| <= tolerance * max(1, largest |want|), with equal NaNs and infinities; the default tolerance suits the
// dtype.
inline ::testing::AssertionResult close(const Tensor& got, const Tensor& want, double tolerance = 0) {
  if (!got.defined()) return ::testing::AssertionFailure() << "undefined tensor";
  if (got.shape() != want.shape())
    return ::testing::AssertionFailure() << "shape " << got.shape().str() << ", want " << want.shape().str();
  if (tolerance == 0) tolerance = got.dtype() == f32 ? 2e-6 : 1e-12;
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  double scale = 1;
  for (double value : b)
    if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    if (!(std::abs(a[i] - b[i]) <= tolerance * scale))
      return ::testing::AssertionFailure() << fmt::format("element {} of {}: {:.12g}, want {:.12g} (tolerance {:.3g})",
                                                          i, got.shape(), a[i], b[i], tolerance * scale);
  }
  return ::testing::AssertionSuccess();
}

inline ::testing::AssertionResult same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype())
    return ::testing::AssertionFailure() << "shapes or dtypes differ";
  const Tensor x = a.to(cpu_device).contiguous(), y = b.to(cpu_device).contiguous();
  if (std::ranges::equal(x.memory(), y.memory())) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "bits differ";
}

// Runs y = f() on a tape, sweeps with the case's dy, and compares y and the gradients ("dx" for leaf "x", ...).
inline void check_case(const GoldenCase& golden, const std::function<Tensor()>& f,
                       const std::vector<std::pair<std::string, Tensor>>& leaves, double tolerance = 0) {
  Tape tape;
  const Tensor y = f();
  EXPECT_TRUE(close(y, golden["y"], tolerance)) << golden.name << " forward";
  if (!golden.has("dy")) return;
  tape.backward(y, {.seed = golden["dy"]});
  for (const auto& [name, leaf] : leaves)
    EXPECT_TRUE(close(leaf.grad(), golden["d" + name], tolerance)) << golden.name << " gradient of " << name;
}

inline Reduction reduction_named(const std::string& name) {  // by PyTorch, and by ONNX
  check(name == "mean" || name == "sum" || name == "none", "golden", "no reduction is called {}", name);
  return name == "mean" ? Reduction::mean : name == "sum" ? Reduction::sum : Reduction::none;
}
inline Reduction reduction_of(const GoldenCase& c) { return reduction_named(c.attrs.value("reduction", "mean")); }

inline Tensor there(const Tensor& x) { return x.to(test_device()); }

// A random f64 tensor for gradient checks.
inline Tensor random(const Shape& shape, uint64_t seed = 7) {
  Generator generator(seed);
  return there(randn(shape, generator, f64));
}

// norma::gradcheck, with f on the test device: its inputs are moved there, and its result back.
template <class F>
GradcheckResult gradcheck(const F& f, const std::vector<Tensor>& inputs, const GradcheckOptions& options = {}) {
  const auto moved = [](const std::vector<Tensor>& tensors, Device device) {
    std::vector<Tensor> result;
    for (const Tensor& x : tensors) result.push_back(x.device() == device ? x : to(x, device));
    return result;
  };
  const std::function<Tensor(const std::vector<Tensor>&)> there = [&](const std::vector<Tensor>& in) {
    return moved({f(moved(in, test_device()))}, cpu_device)[0];
  };
  return norma::gradcheck(there, moved(inputs, cpu_device), options);
}

// The gradient of x, a copy of which becomes a leaf on the test device, where that of f(x) is dy, broadcast.
template <class F>
Tensor gradient(const F& f, const Tensor& x, const Tensor& dy) {
  Tensor leaf = there(x).clone();
  leaf.set_requires_grad();
  Tape tape;
  const Tensor y = f(leaf);
  tape.backward(y, {.seed = view::expand(there(dy.to(x.dtype())), y.shape())});
  return leaf.grad().to(cpu_device);
}

// Equal, a NaN to a NaN, and 0 to -0.
inline void expect_values(const Tensor& got, const std::vector<double>& want, const std::string& what = "") {
  const std::vector<double> values = got.to_vector<double>();
  ASSERT_EQ(values.size(), want.size()) << what;
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_TRUE(values[i] == want[i] || (std::isnan(values[i]) && std::isnan(want[i])))
        << what << ", element " << i << ": " << values[i] << ", want " << want[i];
}

// Expects norma::Error whose message holds `part`.
template <class F>
void expect_error(F&& f, const std::string& part) {
  try {
    f();
    ADD_FAILURE() << "no error; want one with: " << part;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << "the error is: " << error.what();
  }
}

}  // namespace norma::test
