#include "norma/autograd/gradcheck.h"

#include <cmath>
#include <numeric>
#include <optional>

#include "norma/autograd/tape.h"
#include "norma/core/random.h"

namespace norma {
namespace {

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

struct PoisonedMemory {
  bool before = cpu_memory().set_poison(true);
  ~PoisonedMemory() { cpu_memory().set_poison(before); }
};

double dot(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

// The same values, no two of them neighbours; NaN lies between.
Tensor spread(const Tensor& x) {
  Shape strides = contiguous_strides(x.shape());
  for (int i = 0; i < x.rank(); ++i) strides[i] *= 2;
  const Tensor wide = full({2 * x.numel()}, NAN, x.dtype());
  const Tensor y(wide.storage(), x.shape(), strides, 0, x.dtype());
  y.copy_from(x);
  return y;
}

struct Check {
  const Function& f;
  const GradcheckOptions& options;
  Generator generator{options.seed};
  std::vector<Tensor> inputs{};
  Tensor upstream{};
  GradcheckResult result{};

  GradcheckResult run(const std::vector<Tensor>& originals) {
    const PoisonedMemory poisoned;
    check(f != nullptr, "gradcheck", "an empty function");
    for (const Tensor& input : originals) {
      check(input.dtype() != f32, "gradcheck", "wants f64 inputs, not f32: shape {}", input.shape());
      Tensor x = input.to(cpu_device).clone();
      if (x.is_floating())
        for (double& value : elements(x))
          for (const double kink : options.kinks)
            if (std::abs(value - kink) < options.margin) value = kink + (value < kink ? -1 : 1) * options.margin;
      inputs.push_back(x);
    }
    const Tensor given = f(inputs);
    check(given.defined(), "gradcheck", "f returns an undefined tensor");
    const Tensor y = given.detach();
    check(y.dtype() == f64, "gradcheck", "f returns {} ({}), want f64", y.shape(), y.dtype());
    upstream = randn(y.shape(), generator, f64);
    if (!std::ranges::equal(y.to(cpu_device).contiguous().memory(), f(inputs).to(cpu_device).contiguous().memory()))
      return failed("f gives other bits when it is called again");

    const std::vector<Tensor> gradients = sweep({}, upstream);
    std::vector<Tensor> initial;
    for (const Tensor& x : inputs) initial.push_back(x.is_floating() ? randn(x.shape(), generator, f64) : Tensor());
    const std::vector<Tensor> added = sweep(initial, spread(upstream));

    for (size_t i = 0; i < inputs.size() && result.ok; ++i) {
      if (!inputs[i].is_floating()) continue;
      compare_added(i, gradients[i], initial[i], added[i],
                    "the sweep must add {0} to an initial gradient of {2}, it left {1}");
      // A rule may skip what nobody wants, and must not be misled by it.
      compare_added(i, gradients[i], zeros_like(gradients[i]), sweep({}, upstream, i)[i],
                    "gradient {} where all inputs require one, {} where only this does");
      compare_numeric(i, gradients[i]);
    }
    return result;
  }

  static std::span<double> elements(const Tensor& x) { return std::span(x.mutable_data<double>(), x.numel()); }

  // The gradients of all inputs, added to initial ones where such are given. Only input `alone` requires one, or all
  // do.
  std::vector<Tensor> sweep(const std::vector<Tensor>& initial, const Tensor& seed, std::optional<size_t> alone = {}) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].is_floating()) continue;
      inputs[i].set_requires_grad(!alone || alone == i).set_grad(initial.empty() ? Tensor() : initial[i].clone());
    }
    Tape tape;
    const Tensor y = f(inputs);
    if (y.requires_grad()) tape.backward(y, {.seed = seed});
    std::vector<Tensor> gradients;
    for (const Tensor& x : inputs) {
      gradients.push_back(x.is_floating() && !x.grad().defined() ? zeros_like(x) : x.grad());
      x.set_grad(Tensor());
    }
    return gradients;
  }

  // The derivative of the loss along `direction`, seen from input i.
  double numeric(size_t i, const Tensor& direction, double step) {
    const std::span<double> x = elements(inputs[i]), along = elements(direction);
    const std::vector<double> before(x.begin(), x.end());
    const auto at = [&](double distance) {
      for (size_t k = 0; k < x.size(); ++k) x[k] = before[k] + distance * along[k];
      return dot(f(inputs), upstream);
    };
    const double slope = (at(step) - at(-step)) / (2 * step);
    std::copy(before.begin(), before.end(), x.begin());
    return slope;
  }

  // Element by element, or along random directions where there are many.
  void compare_numeric(size_t i, const Tensor& gradient) {
    const bool all = gradient.numel() <= options.max_elements;
    for (int64_t d = 0, n = all ? gradient.numel() : options.directions; d < n && result.ok; ++d) {
      const Tensor direction = all ? zeros_like(gradient) : randn(gradient.shape(), generator, f64);
      if (all) elements(direction)[d] = 1;
      const double analytic = all ? elements(gradient)[d] : dot(gradient, direction);
      const double scale = all ? std::max(1.0, std::abs(elements(inputs[i])[d])) : 1;
      const double other = numeric(i, direction, options.step * scale);
      const double allowed = options.absolute + options.relative * std::max(std::abs(analytic), std::abs(other));
      const double error = std::abs(analytic - other) / allowed;
      result.worst = std::isnan(error) ? error : std::max(result.worst, error);
      if (error <= 1) continue;
      failed_at(i, all ? gradient.shape().index_of(d).str() : fmt::format("along random direction {}", d),
                fmt::format("analytic gradient {:.12g}, numeric {:.12g}", analytic, other));
    }
  }

  // `sum`, which another sweep has left, is to be `initial` and the gradient; `text` says what it means if it is not.
  void compare_added(size_t i, const Tensor& gradient, const Tensor& initial, const Tensor& sum, const char* text) {
    const auto g = gradient.to_vector<double>(), before = initial.to_vector<double>(), after = sum.to_vector<double>();
    for (size_t k = 0; k < g.size(); ++k)
      if (!(std::abs(after[k] - (before[k] + g[k])) <= 1e-12 * (1 + std::abs(before[k]) + std::abs(g[k]))))
        failed_at(i, gradient.shape().index_of(k), fmt::format(fmt::runtime(text), g[k], after[k], before[k]));
  }

  void failed_at(size_t i, const auto& where, const std::string& text) {
    failed(fmt::format("input {} of shape {} at {}: {}", i, inputs[i].shape(), where, text));
  }
  GradcheckResult failed(std::string message) {
    if (result.ok) result.message = "gradcheck: " + std::move(message);
    result.ok = false;
    return result;
  }
};

}  // namespace

GradcheckResult gradcheck(const Function& f, const std::vector<Tensor>& inputs, const GradcheckOptions& options) {
  return Check{f, options}.run(inputs);
}

}  // namespace norma
