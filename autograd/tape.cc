#include "norma/autograd/tape.h"

#include <cmath>

#include "norma/autograd/sink.h"

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
                  std::chrono::steady_clock::time_point start, int64_t bytes_saved) {
  for (const Tensor& y : outputs) {
    const bool input =
        std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& x) { return x.identity() == y.identity(); });
    check(!input && y.is_leaf() && !y.requires_grad(), op,
          "an op must return a fresh tensor, not one it was given or kept: shape {}", y.shape());
  }
  Entry& entry = entries_.emplace_back(Entry{op, {}, {}, std::move(rule)});
  ProfileRow& row = profile_[op];
  for (const Tensor& x : inputs) {
    entry.inputs.push_back(x.defined() ? Value{id_of(x), x.shape(), x.dtype()} : Value{-1, {}, f32});
    row.bytes_moved += x.bytes();
  }
  for (const Tensor& y : outputs) {
    y.set_node({serial_, next_id_});
    entry.outputs.push_back({next_id_++, y.shape(), y.dtype()});
    row.bytes_moved += y.bytes();
  }
  ++row.calls;
  row.forward_seconds += seconds_since(start);
  row.bytes_saved += bytes_saved;
  if (options_.check_finite) {
    for (const Tensor& y : outputs) check(all_finite(y), op, "output holds a NaN or an infinity: shape {}", y.shape());
  }
}

// Throws, before anything is touched, where the gradient of value `id` would lead to a record that has been consumed.
void Tape::check_reach(int64_t id) const {
  PoolVector<char> reached(next_id_ - first_id_, 0);
  const auto mark = [&](int64_t value) -> char& { return reached[value - first_id_]; };
  mark(id) = 1;
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (std::none_of(entry->outputs.begin(), entry->outputs.end(), [&](const Value& y) { return mark(y.id); }))
      continue;
    for (const Value& x : entry->inputs) {
      if (x.id < 0) continue;
      check(x.id >= first_id_, "backward",
            "the gradient reaches an input of '{}' (shape {}) whose record an earlier sweep consumed: pass "
            "{{.retain = true}} to that sweep, or detach() the value",
            entry->op, x.shape);
      mark(x.id) = 1;
    }
  }
}

void Tape::backward(const Tensor& loss, const BackwardOptions& options) {
  const Tensor::Node node = loss.node();
  check(node.tape == serial_, "backward",
        "the loss was not recorded on this tape (no input of it requires grad, or it was computed outside the tape or "
        "under NoGrad): shape {}",
        loss.shape());
  check(node.id >= first_id_, "backward",
        "a second sweep: the records were consumed by the first; pass {{.retain = true}} to the first to sweep twice");
  check(options.seed.defined() || loss.numel() == 1, "backward",
        "a loss of shape {} needs a seed gradient of that shape", loss.shape());
  const Tensor seed = options.seed.defined() ? options.seed : ones_like(loss);
  check(seed.shape() == loss.shape() && seed.dtype() == loss.dtype() && seed.device() == loss.device(), "backward",
        "the seed is {} ({}, {}), the loss is {} ({}, {})", seed.shape(), seed.dtype(), seed.device(), loss.shape(),
        loss.dtype(), loss.device());
  check_reach(node.id);

  for (auto& [_, gradient] : watched_) gradient = Tensor();
  Gradients gradients{first_id_, PoolVector<Tensor>(next_id_ - first_id_)};
  // Without `retain`, the records leave the tape now, so that they are consumed even where a rule throws.
  const auto leaves = options.retain ? leaves_ : std::exchange(leaves_, {});
  auto entries = options.retain ? entries_ : std::exchange(entries_, {});
  if (!options.retain) first_id_ = next_id_;

  for (const auto& [_, leaf] : leaves) gradients[leaf.id] = leaf.tensor.grad();
  gradients[node.id] = seed.detach();
  sweep(std::move(entries), gradients);
  for (const auto& [_, leaf] : leaves) {
    const Tensor gradient = std::exchange(gradients[leaf.id], Tensor());
    if (gradient.identity() == leaf.tensor.grad().identity()) continue;  // not reached, or added in place
    const bool own = gradient.is_contiguous() && gradient.storage().use_count() == 1;
    leaf.tensor.set_grad(own ? gradient : gradient.clone());
  }
}

// Runs the rules from the last entry to the first, each with the gradients of its outputs, which nobody needs after it.
void Tape::sweep(std::deque<Entry> entries, Gradients& gradients) {
  const NoGrad unrecorded;
  PoolVector<Tensor> dy;
  for (; !entries.empty(); entries.pop_back()) {
    const Entry& entry = entries.back();
    dy.clear();
    for (const Value& y : entry.outputs) {
      dy.push_back(std::exchange(gradients[y.id], Tensor()));
      if (const auto watched = watched_.find(y.id); watched != watched_.end() && dy.back().defined())
        watched->second = dy.back().clone();
    }
    const auto first = std::find_if(dy.begin(), dy.end(), [](const Tensor& d) { return d.defined(); });
    if (first != dy.end()) {
      const auto start = std::chrono::steady_clock::now();
      Sink sink(entry, gradients, first->device());
      entry.rule(dy, sink);
      dy.clear();
      sink.flush();
      profile_[entry.op].backward_seconds += seconds_since(start);
      for (const Value& x : entry.inputs) {
        if (options_.check_finite && x.id >= 0 && gradients[x.id].defined())
          check(all_finite(gradients[x.id]), entry.op, "gradient holds a NaN or an infinity: input of shape {}",
                x.shape);
      }
    }
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

}  // namespace norma
