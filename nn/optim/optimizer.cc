#include "norma/nn/optim/optimizer.h"

#include <fnmatch.h>

#include <cmath>
#include <set>

#include "norma/nn/optim/schedule.h"
#include "norma/nn/state.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/reduce/reduce.h"

namespace norma::nn {

void Parameters::check_distinct(std::string_view op) const {
  PoolVector<std::tuple<uintptr_t, uintptr_t, size_t>> all;  // where each begins and ends, and its number
  for (size_t i = 0; i < named.size(); ++i) {
    const Tensor& p = named[i].second;
    check(p.defined(), op, "parameter '{}' is undefined", named[i].first);
    const auto size = static_cast<int64_t>(size_of(p.dtype()));
    const uintptr_t begin = reinterpret_cast<uintptr_t>(p.storage()->data()) + p.offset() * size;
    // One with gaps, between which others may lie, is known by its first element.
    if (p.numel() > 0) all.emplace_back(begin, begin + (p.is_contiguous() ? p.numel() : 1) * size, i);
  }
  std::ranges::sort(all);
  for (size_t i = 1; i < all.size(); ++i) {
    const auto [first, second] = std::minmax(std::get<2>(all[i - 1]), std::get<2>(all[i]));
    check(std::get<0>(all[i]) >= std::get<1>(all[i - 1]), op,
          "parameters {} ('{}') and {} ('{}') share elements: list each once", first, named[first].first, second,
          named[second].first);
  }
}

Selector::Selector(std::string text)
    : takes([text](const std::string& name, const Tensor&) { return ::fnmatch(text.c_str(), name.c_str(), 0) == 0; }),
      words("'" + text + "'") {}

Parameters Parameters::matching(const Selector& which, std::string_view op) const {
  check(which.takes != nullptr, op, "an empty function selects parameters");
  NamedTensors found;
  for (const auto& [name, p] : named)
    if (which.takes(name, p)) found.emplace_back(name, p);
  check(!found.empty() || which.words == "a predicate", op, "{} matches none of {} parameters: the first is '{}'",
        which.words, named.size(), named.empty() ? "" : named[0].first);
  return found;
}

Optimizer::Optimizer(const char* name, Parameters parameters, double lr, double weight_decay,
                     const ParameterGroups& groups, const std::vector<const char*>& averages)
    : name_(name), parameters_(std::move(parameters)), lr_(zeros({}, f64)) {
  set_lr(lr);
  check(std::isfinite(weight_decay) && weight_decay >= 0, name, "a weight decay of {}: want a number of at least 0",
        weight_decay);
  check(!parameters_.named.empty(), name, "no parameters: a module lists its members in NORMA_VISIT");
  parameters_.check_distinct(name);
  std::set<std::string> names;
  for (const auto& [key, p] : parameters_.named) {
    check(p.is_floating() && p.is_leaf() && p.is_contiguous(), name,
          "parameter '{}' is not a contiguous floating leaf: {} of shape {}", key, p.dtype(), p.shape());
    check(names.insert(key).second, name, "two parameters are named '{}'", key);
    check(p.device() == parameters_.named[0].second.device(), name, "parameter '{}' is on {}, '{}' on {}", key,
          p.device(), parameters_.named[0].first, parameters_.named[0].second.device());
    Slot& slot = slots_.emplace_back(Slot{key, p, weight_decay, 1, zeros({}, i64)});
    for (const char* average : averages) slot.averages.emplace_back(average, zeros_like(p));
  }
  for (const auto& [which, options] : groups) {
    groups_ += fmt::format("{}{} of {}", groups_.empty() ? "" : "; ", which.words,
                           parameters_.matching(which, name).named.size());
    const auto set = [&, &which = which](const char* what, std::optional<double> value, double Slot::*setting) {
      if (!value) return;
      check(*value >= 0 && *value < INFINITY, name, "{}: {} {}: want at least 0, finite", which.words, what, *value);
      groups_ += fmt::format(", {} {}", what, *value);
      for (Slot& slot : slots_)
        if (which.takes(slot.name, slot.parameter)) slot.*setting = *value;
    };
    set("lr_scale", options.lr_scale, &Slot::lr_scale);
    set("weight_decay", options.weight_decay, &Slot::weight_decay);
  }
}

void Optimizer::set_lr(double lr) {
  check_rate(name_, lr);
  lr_.fill(lr);
}

void Optimizer::look_ahead(int64_t k, double alpha) {
  check(k >= 1 && alpha > 0 && alpha <= 1, name_, "looks ahead with k = {}, alpha = {}: want at least 1, one in (0, 1]",
        k, alpha);
  for (Slot& slot : slots_) slot.slow = slot.parameter.clone();
  k_ = k, alpha_ = alpha;
}

void Optimizer::step() {
  PoolVector<ParameterStep> steps, slow;
  PoolVector<int64_t*> counts;
  for (const Slot& slot : slots_) {
    const Tensor grad = slot.parameter.grad();
    if (!grad.defined()) continue;
    const Storage& storage = *slot.parameter.storage();
    check(!storage.pinned(), name_,
          "parameter '{}' is saved by PackedWeights or a pending tape entry (op '{}'): run backward or end it first",
          slot.name, storage.pinned_by());
    counts.push_back(slot.steps.mutable_data<int64_t>());
    const double rate = lr() * slot.lr_scale;
    check_rate(name_, rate);  // state() gave it away
    steps.push_back({slot.parameter, grad.contiguous(), {}, rate, slot.weight_decay, *counts.back() + 1});
    for (size_t k = 0; k < slot.averages.size(); ++k) steps.back().averages[k] = slot.averages[k].second;
    if (slot.slow.defined() && steps.back().step % k_ == 0)
      slow.push_back({.p = slot.slow, .grad = slot.parameter, .lr = -alpha_, .weight_decay = -1});
  }
  check(!steps.empty(), name_,
        "no parameter has a gradient: was backward run, and are these the tensors the model uses now?");
  update(steps);
  kernel::sgd_update(slow, {});  // slow -= lr (fast + weight_decay slow)
  for (const ParameterStep& step : slow) step.grad.copy_from(step.p);
  for (int64_t* count : counts) ++*count;  // unless something has thrown: then it was no step
}

void Optimizer::zero_grad() {
  for (const Slot& slot : slots_) slot.parameter.set_grad({});
}

NamedTensors Optimizer::state() const {
  NamedTensors result = {{"lr", lr_}};
  for (const Slot& slot : slots_) {
    result.emplace_back(slot.name + "/step", slot.steps);
    for (const auto& [name, average] : slot.averages) result.emplace_back(slot.name + "/" + name, average);
    if (slot.slow.defined()) result.emplace_back(slot.name + "/slow", slot.slow);
  }
  return result;
}

void Optimizer::check_state(std::string_view op, const NamedTensors& state, std::string_view prefix) {
  for (const auto& [name, x] : state) {
    if (!name.starts_with(prefix) || !x.defined() || x.numel() != 1) continue;  // assign() tells
    if (name == "lr" || name.ends_with("/lr")) check_rate(op, x.item());
    if (!name.ends_with("/step") || x.dtype() != i64) continue;
    const int64_t step = x.to_vector<int64_t>()[0];
    check(step >= 0 && step < INT64_MAX, op, "'{}' is {}: want a count of steps", name.substr(prefix.size()), step);
  }
}

void Optimizer::load_state(const NamedTensors& state) {
  check_state(name_, state);
  assign(name_, "the optimizer", this->state(), state);
}

// Replaces each gradient that is there by f(it): all of them, or, where that throws, none.
static void replace_grads(const Parameters& parameters, auto&& f) {
  PoolVector<std::pair<Tensor, Tensor>> all;
  for (const auto& [_, p] : parameters.named)
    if (const Tensor grad = p.grad(); grad.defined()) all.emplace_back(p, f(grad));
  for (const auto& [p, grad] : all) p.set_grad(grad);
}

// The root of the sum of all squares, each gradient times `factor` first. In f64: the square of a float may not be one.
static double norm_of(const Parameters& parameters, double factor) {
  Tensor squares = scalar(0, f64);
  for (const auto& [_, p] : parameters.named) {
    if (!p.grad().defined()) continue;
    const Tensor g = p.grad().to(f64);
    squares = sum(square(factor == 1 ? g : g * factor)) + squares.to(g.device());
  }
  return std::sqrt(squares.item());
}

double clip_grad_norm(const Parameters& parameters, double max_norm) {
  check(max_norm > 0, "clip_grad_norm", "a largest norm of {}: want a positive one", max_norm);
  parameters.check_distinct("clip_grad_norm");
  const NoGrad unrecorded;
  double norm = norm_of(parameters, 1);
  // Where squares may have left the range of a double, it is taken again, of larger or smaller gradients.
  const double factor = norm < 1e-140 ? 0x1p600 : norm > 1e150 ? 0x1p-600 : 1;
  const double measured = factor == 1 ? norm : norm_of(parameters, factor);
  norm = measured / factor;
  if (!(norm > max_norm) || std::isinf(measured)) return norm;
  const double scale = max_norm / (norm + 1e-6);  // as PyTorch
  replace_grads(parameters, [&](const Tensor& grad) {
    if (scale > 1e-30) return grad * scale;  // else a factor that is no float, or no double with all its digits
    const Tensor g = grad.to(f64), direction = std::isinf(norm) ? g * factor / measured : g / norm;
    return (direction * max_norm).to(grad.dtype());
  });
  return norm;
}

void clip_grad_value(const Parameters& parameters, double limit) {
  check(limit > 0, "clip_grad_value", "a limit of {}: want a positive one", limit);
  parameters.check_distinct("clip_grad_value");
  const NoGrad unrecorded;
  replace_grads(parameters, [&](const Tensor& grad) { return clamp(grad, -limit, limit); });
}

}  // namespace norma::nn
