#include "norma/nn/optim/optimizer.h"

#include <cmath>
#include <set>

#include "norma/nn/state.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/reduce/reduce.h"

namespace norma::nn {

Optimizer::Optimizer(const char* name, Parameters parameters, double lr, double weight_decay, const Decays& decays,
                     std::vector<const char*> averages)
    : name_(name), parameters_(std::move(parameters)), lr_(zeros({}, f64)), averages_(std::move(averages)) {
  set_lr(lr);
  check(std::isfinite(weight_decay) && weight_decay >= 0, name, "a weight decay of {}: want a number of at least 0",
        weight_decay);
  check(!parameters_.named.empty(), name, "no parameters");
  std::set<std::string> names;
  for (const auto& [key, p] : parameters_.named) {
    check(p.is_floating() && p.is_leaf() && p.is_contiguous(), name,
          "parameter '{}' is not a contiguous floating leaf: {} of shape {}", key, p.dtype(), p.shape());
    check(names.insert(key).second, name, "two parameters are named '{}'", key);
    check(p.device() == parameters_.named[0].second.device(), name, "parameter '{}' is on {}, '{}' on {}", key,
          p.device(), parameters_.named[0].first, parameters_.named[0].second.device());
    Slot slot{key, p, !decays || decays(key, p) ? weight_decay : 0, zeros({}, i64), {}};
    for (size_t i = 0; i < averages_.size(); ++i) slot.averages[i] = zeros_like(p);
    slots_.push_back(std::move(slot));
  }
}

void Optimizer::set_lr(double lr) {
  check(std::isfinite(lr) && lr >= 0, name_, "a learning rate of {}: want a number of at least 0", lr);
  lr_.fill(lr);
}

void Optimizer::step() {
  Batch batch;
  for (const Slot& slot : slots_) {
    const Tensor grad = slot.parameter.grad();
    if (!grad.defined()) continue;
    const Storage& storage = *slot.parameter.storage();
    check(!storage.pinned(), name_,
          "parameter '{}' is saved by a pending tape entry (op '{}'): run backward, or end the tape, before step()",
          slot.name, storage.pinned_by());
    batch.parameters.push_back(slot.parameter);
    batch.grads.push_back(grad.contiguous());
    batch.weight_decays.push_back(slot.weight_decay);
    batch.steps.push_back(slot.steps.mutable_data<int64_t>());
    for (size_t k : {0, 1}) batch.averages[k].push_back(slot.averages[k]);
  }
  check(!batch.steps.empty(), name_,
        "no parameter has a gradient: was backward run, and are these the tensors the model uses now?");
  for (int64_t* step : batch.steps) ++*step;
  update(batch);
}

void Optimizer::zero_grad() {
  for (const Slot& slot : slots_) slot.parameter.set_grad({});
}

NamedTensors Optimizer::state() const {
  NamedTensors result = {{"lr", lr_}};
  for (const Slot& slot : slots_) {
    result.emplace_back(slot.name + "/step", slot.steps);
    for (size_t i = 0; i < averages_.size(); ++i) result.emplace_back(slot.name + "/" + averages_[i], slot.averages[i]);
  }
  return result;
}

void Optimizer::load_state(const NamedTensors& state) { assign(name_, "the optimizer", this->state(), state); }

double clip_grad_norm(const Parameters& parameters, double max_norm) {
  check(max_norm > 0, "clip_grad_norm", "a largest norm of {}: want a positive one", max_norm);
  const NoGrad unrecorded;
  Tensor squares = scalar(0, f64);  // in f64: the square of a float may not be one
  for (const auto& [_, p] : parameters.named)
    if (p.grad().defined()) squares = sum(square(p.grad().to(f64))) + squares.to(p.device());
  const double norm = std::sqrt(squares.item()), scale = max_norm / (norm + 1e-6);  // as PyTorch
  if (scale >= 1 || !std::isfinite(norm)) return norm;
  for (const auto& [_, p] : parameters.named)
    if (p.grad().defined()) p.set_grad(p.grad() * scale);
  return norm;
}

void clip_grad_value(const Parameters& parameters, double limit) {
  check(limit > 0, "clip_grad_value", "a limit of {}: want a positive one", limit);
  const NoGrad unrecorded;
  for (const auto& [_, p] : parameters.named)
    if (p.grad().defined()) p.set_grad(clamp(p.grad(), -limit, limit));
}

}  // namespace norma::nn
