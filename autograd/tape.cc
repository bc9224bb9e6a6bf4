#include "norma/autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>

#include "norma/autograd/op.h"
#include "norma/core/backend.h"

namespace norma {
namespace {

thread_local Tape* current_tape = nullptr;
thread_local int no_grad_depth = 0;
std::atomic<uint64_t> next_serial{1};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool all_finite(const Tensor& x) {
  if (!x.is_floating()) return true;
  const Tensor host = x.to(cpu_device).contiguous();
  return dispatch_floating("check_finite", x.dtype(), [&]<class T>() {
    const T* data = host.data<T>();
    return std::all_of(data, data + host.numel(), [](T value) { return std::isfinite(value); });
  });
}

int64_t bytes_of(std::span<const Tensor> tensors) {
  int64_t bytes = 0;
  for (const Tensor& x : tensors)
    if (x.defined()) bytes += x.numel() * static_cast<int64_t>(size_of(x.dtype()));
  return bytes;
}

}  // namespace

NoGrad::NoGrad() { ++no_grad_depth; }
NoGrad::~NoGrad() { --no_grad_depth; }

Tape::Tape(const TapeOptions& options) : options_(options), serial_(next_serial++), previous_(current_tape) {
  current_tape = this;
}

Tape::~Tape() {  // the innermost, as a rule
  Tape** place = &current_tape;
  while (*place && *place != this) place = &(*place)->previous_;
  if (*place) *place = previous_;
}

Tape* Tape::current() { return no_grad_depth > 0 ? nullptr : current_tape; }

int64_t Tape::leaf_id(const Tensor& leaf) const {
  const auto found = leaves_.find(leaf.identity());
  return found == leaves_.end() ? -1 : found->second.id;
}

bool Tape::follows(const Tensor& x) const { return x.requires_grad() && (x.is_leaf() || x.node().tape == serial_); }

int64_t Tape::id_of(const Tensor& x) {
  if (!follows(x)) return -1;
  if (!x.is_leaf()) return x.node().id;
  const auto [leaf, fresh] = leaves_.try_emplace(x.identity(), Leaf{x, next_id_});
  if (fresh) ++next_id_;
  return leaf->second.id;
}

void Tape::append(const char* op, std::span<const Tensor> inputs, std::span<const Tensor> outputs, Rule rule,
                  double seconds, int64_t bytes_saved) {
  for (const Tensor& y : outputs) {
    const bool input =
        std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& x) { return x.identity() == y.identity(); });
    check(!input && y.is_leaf() && !y.requires_grad(), op,
          "an op must return a fresh tensor, not one it was given or kept: shape {}", y.shape());
  }
  Entry& entry = entries_.emplace_back(Entry{op, {}, {}, std::move(rule)});
  for (const Tensor& x : inputs) {
    if (x.defined()) entry.inputs.push_back({id_of(x), x.shape(), x.dtype()});
    else entry.inputs.push_back({-1, {}, f32});
  }
  for (const Tensor& y : outputs) {
    y.set_node({serial_, next_id_});
    entry.outputs.push_back({next_id_++, y.shape(), y.dtype()});
  }
  ProfileRow& row = profile_[op];
  ++row.calls;
  row.forward_seconds += seconds;
  row.bytes_moved += bytes_of(inputs) + bytes_of(outputs);
  row.bytes_saved += bytes_saved;
  if (options_.check_finite) {
    for (const Tensor& y : outputs) check(all_finite(y), op, "output holds a NaN or an infinity: shape {}", y.shape());
  }
}

// Throws, before anything is touched, where the gradient of value `id` would lead to a record that has been consumed.
void Tape::check_reach(int64_t id) const {
  PoolVector<char> reached(static_cast<size_t>(next_id_ - first_id_), 0);  // by id - first_id_
  reached[static_cast<size_t>(id - first_id_)] = 1;
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    const bool any = std::any_of(entry->outputs.begin(), entry->outputs.end(),
                                 [&](const Value& y) { return reached[static_cast<size_t>(y.id - first_id_)] != 0; });
    if (!any) continue;
    for (const Value& x : entry->inputs) {
      if (x.id < 0) continue;
      check(x.id >= first_id_, "backward",
            "the gradient reaches an input of '{}' (shape {}) whose record an earlier sweep consumed: pass "
            "{{.retain = true}} to that sweep, or detach() the value",
            entry->op, x.shape);
      reached[static_cast<size_t>(x.id - first_id_)] = 1;
    }
  }
}

void Tape::consume() {
  entries_.clear();
  leaves_.clear();
  first_id_ = next_id_;
}

void Tape::backward(const Tensor& loss, const BackwardOptions& options) {
  const Tensor::Node node = loss.node();
  check(node.tape == serial_, "backward",
        "the loss was not recorded on this tape (no input of it requires grad, or it was computed outside the tape or "
        "under NoGrad): shape {}",
        loss.shape());
  check(node.id >= first_id_, "backward",
        "a second sweep: the records were consumed by the first; pass {{.retain = true}} to the first to sweep twice");
  Tensor seed = options.seed;
  if (!seed.defined()) {
    check(loss.numel() == 1, "backward", "a loss of shape {} needs a seed gradient of that shape", loss.shape());
    seed = ones_like(loss);
  }
  check(seed.shape() == loss.shape() && seed.dtype() == loss.dtype() && seed.device() == loss.device(), "backward",
        "the seed is {} ({}, {}), the loss is {} ({}, {})", seed.shape(), seed.dtype(), seed.device(), loss.shape(),
        loss.dtype(), loss.device());
  check_reach(node.id);

  for (auto& [_, gradient] : watched_) gradient = Tensor();
  struct Finally {
    std::function<void()> run;
    ~Finally() { run(); }
  } finally{[&] {
    if (!options.retain) consume();
  }};

  PoolVector<Tensor> slots(static_cast<size_t>(next_id_ - first_id_));  // the gradient of each value, so far
  const auto slot = [&](int64_t id) -> Tensor& { return slots[static_cast<size_t>(id - first_id_)]; };
  for (const auto& [_, leaf] : leaves_) slot(leaf.id) = leaf.tensor.grad();
  slot(node.id) = seed.detach();

  NoGrad unrecorded;
  PoolVector<Tensor> dy;
  for (size_t i = entries_.size(); i-- > 0;) {
    Entry& entry = entries_[i];
    dy.clear();
    bool any = false;
    for (const Value& y : entry.outputs) {
      Tensor& gradient = slot(y.id);
      any |= gradient.defined();
      if (const auto watched = watched_.find(y.id); watched != watched_.end() && gradient.defined())
        watched->second = gradient.clone();
      dy.push_back(std::exchange(gradient, Tensor()));
    }
    if (any) {
      const auto start = std::chrono::steady_clock::now();
      const Tensor& first = *std::find_if(dy.begin(), dy.end(), [](const Tensor& d) { return d.defined(); });
      Sink sink(entry, slots, first_id_, first.device());
      entry.rule(dy, sink);
      dy.clear();
      sink.flush();
      profile_[entry.op].backward_seconds += seconds_since(start);
      if (options_.check_finite) {
        for (const Value& x : entry.inputs)
          if (x.id >= 0 && slot(x.id).defined())
            check(all_finite(slot(x.id)), entry.op, "gradient holds a NaN or an infinity: input of shape {}", x.shape);
      }
    }
    if (!options.retain) entries_.pop_back();
  }

  for (const auto& [_, leaf] : leaves_) {
    const Tensor gradient = std::exchange(slot(leaf.id), Tensor());
    if (gradient.identity() == leaf.tensor.grad().identity()) continue;  // not reached, or added in place
    const bool own = gradient.is_contiguous() && gradient.storage().use_count() == 1;
    leaf.tensor.set_grad(own ? gradient : gradient.clone());
  }
}

void Tape::watch(const Tensor& value) {
  check(value.node().tape == serial_, "watch", "the value was not recorded on this tape: shape {}", value.shape());
  watched_.try_emplace(value.node().id);
}

Tensor Tape::grad_of(const Tensor& value) const {
  const auto found = value.node().tape == serial_ ? watched_.find(value.node().id) : watched_.end();
  check(found != watched_.end(), "grad_of", "the value was not watched on this tape: shape {}", value.shape());
  return found->second;
}

// --- Sink

Sink::Target Sink::into(size_t input) {
  const Tape::Value& x = value(input);
  check(x.id >= 0, entry_.op, "the rule asks for the gradient of input {}, which wants none", input);
  Tensor& target = slot(input);
  const bool again = std::find(taken_.begin(), taken_.end(), x.id) != taken_.end();
  if (again) return {deferred_.emplace_back(input, Tensor(x.shape, x.dtype, device_)).second, false};
  taken_.push_back(x.id);
  if (!target.defined()) {
    target = Tensor(x.shape, x.dtype, device_);
    return {target, false};
  }
  if (target.storage().use_count() > 1 || !target.is_contiguous()) target = target.clone();
  return {target, true};
}

Sink::Target Sink::over(size_t input, const Tensor& dy) {
  const Tape::Value& x = value(input);
  const bool fits = dy.defined() && dy.shape() == x.shape && dy.dtype() == x.dtype && dy.is_contiguous();
  if (!fits || x.id < 0 || dy.storage().use_count() > 1 || slot(input).defined() ||
      std::find(taken_.begin(), taken_.end(), x.id) != taken_.end())
    return into(input);
  taken_.push_back(x.id);
  return {slot(input) = dy.detach(), false};
}

void Sink::give(size_t input, const Tensor& grad) {
  const Tape::Value& x = value(input);
  if (x.id < 0) return;
  check(grad.shape() == x.shape && grad.dtype() == x.dtype, entry_.op,
        "the rule gives a gradient of {} ({}) for input {} of {} ({})", grad.shape(), grad.dtype(), input, x.shape,
        x.dtype);
  if (std::find(taken_.begin(), taken_.end(), x.id) != taken_.end()) deferred_.emplace_back(input, grad.detach());
  else add(slot(input), grad);
}

void Sink::add(Tensor& target, const Tensor& grad) {
  if (!target.defined()) {
    target = grad.detach();  // a handle of its own: the storage may be shared, and is copied before anything is added
    return;
  }
  if (target.storage().use_count() > 1 || !target.is_contiguous()) target = target.clone();
  backend(target.device()).add_into(target, grad);
}

void Sink::flush() {
  for (const auto& [input, grad] : deferred_) add(slot(input), grad);
}

// --- Op

bool Op::records(std::span<const Tensor> inputs) {
  const Tape* tape = Tape::current();
  return tape && std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& x) { return tape->follows(x); });
}

void Op::append(std::span<const Tensor> inputs, std::span<const Tensor> outputs, Rule rule) const {
  Tape::current()->append(name_, inputs, outputs, std::move(rule), seconds_since(start_), saved_);
}

void Op::check_same(std::initializer_list<Tensor> tensors, bool floating) const {
  const Tensor* first = nullptr;
  for (const Tensor& x : tensors) {
    if (!x.defined()) continue;
    check(!floating || x.is_floating(), "wants floating tensors, not {}: shape {}", x.dtype(), x.shape());
    if (!first) first = &x;
    check(x.dtype() == first->dtype(), "dtypes differ: {} of shape {} and {} of shape {}", first->dtype(),
          first->shape(), x.dtype(), x.shape());
    check(x.device() == first->device(), "devices differ: {} of shape {} and {} of shape {}", first->device(),
          first->shape(), x.device(), x.shape());
  }
}

}  // namespace norma
