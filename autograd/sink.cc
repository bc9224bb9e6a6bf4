#include "norma/autograd/sink.h"

#include "norma/core/backend.h"

namespace norma {

const Tensor& Sink::make_own(Tensor& gradient) {
  if (gradient.storage().use_count() > 1 || !gradient.is_contiguous()) gradient = gradient.clone();
  return gradient;
}

const Tape::Value& Sink::value(size_t input) const {
  check(input < entry_.inputs.size(), entry_.op, "the rule speaks of input {}, the op has {}", input,
        entry_.inputs.size());
  return entry_.inputs[input];
}

Sink::Target Sink::into_or_reuse(size_t input, const Tensor& dy) {
  const Tape::Value& x = value(input);
  check(x.id >= 0, entry_.op, "the rule asks for the gradient of input {}, which wants none", input);
  const auto [later, first] = deferred_.try_emplace(x.id);
  if (!first) return {later->second.emplace_back(x.shape, x.dtype, x.device), false};
  Tensor& target = gradients_[x.id];
  const bool add = target.defined();
  const bool fits = dy.defined() && dy.shape() == x.shape && dy.dtype() == x.dtype && dy.device() == x.device &&
                    dy.is_contiguous() && dy.storage().use_count() == 1;
  if (add) make_own(target);
  else target = fits ? dy.detach() : Tensor(x.shape, x.dtype, x.device);
  return {target, add};
}

void Sink::give(size_t input, const Tensor& grad) {
  const Tape::Value& x = value(input);
  if (x.id < 0) return;
  check(grad.defined(), entry_.op, "the rule gives an undefined gradient for input {} of {} ({})", input, x.shape,
        x.dtype);
  check(grad.shape() == x.shape && grad.dtype() == x.dtype, entry_.op,
        "the rule gives a gradient of {} ({}) for input {} of {} ({})", grad.shape(), grad.dtype(), input, x.shape,
        x.dtype);
  check(grad.device() == x.device, entry_.op, "the rule gives a gradient on {} for input {} on {}", grad.device(),
        input, x.device);
  if (const auto later = deferred_.find(x.id); later != deferred_.end()) later->second.push_back(grad.detach());
  else add(gradients_[x.id], grad);
}

void Sink::add(Tensor& target, const Tensor& grad) {
  if (target.defined()) backend(target.device()).add_into(make_own(target), grad);
  else target = grad.detach();  // a handle of its own: the storage may be shared
}

void Sink::flush() {
  for (const auto& [id, grads] : deferred_)
    for (const Tensor& grad : grads) add(gradients_[id], grad);
}

}  // namespace norma
