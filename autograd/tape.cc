#include "norma/autograd/tape.h"

#include <cmath>

#include "norma/autograd/op.h"

namespace norma {
static thread_local Tape* current_tape = nullptr;
static thread_local bool unrecorded = false;
static std::atomic<uint64_t> next_serial{1};

static double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

static bool all_finite(const Tensor& x) {
  return std::ranges::all_of(x.to_vector<double>(), [](double value) { return std::isfinite(value); });
}

NoGrad::NoGrad() : Scoped(unrecorded, true) {}

Tape::Tape(const TapeOptions& options) : options_(options), serial_(next_serial++), previous_(current_tape) {
  current_tape = this;
}

Tape::~Tape() {  // the innermost, as a rule
  Tape** place = &current_tape;
  while (*place && *place != this) place = &(*place)->previous_;
  if (*place) *place = previous_;
}

Tape* Tape::current() { return unrecorded ? nullptr : current_tape; }

int64_t Tape::leaf_id(const Tensor& leaf) const {
  return leaves_.contains(leaf.identity()) ? leaves_.at(leaf.identity()).id : -1;
}

bool Tape::follows(const Tensor& x) const { return x.requires_grad() && (x.is_leaf() || x.node().tape == serial_); }

int64_t Tape::id_of(const Tensor& x) {
  if (!follows(x)) return -1;
  if (!x.is_leaf()) return x.node().id;
  const auto [leaf, fresh] = leaves_.try_emplace(x.identity(), Leaf{x, next_id_});
  if (fresh) ++next_id_;
  return leaf->second.id;
}

void Op::record_all(std::span<const Tensor> inputs, std::span<const Tensor> outputs, Rule rule) const {
  auto pins = std::exchange(pins_, {});
  if (!records(inputs)) return;
  Tape& tape = *current_tape;
  check(rule != nullptr, "has no gradient rule");
  for (const Tensor& y : outputs) {
    check(y.defined(), "an op must return a defined tensor");
    const bool input = std::ranges::any_of(inputs, [&](const Tensor& x) { return x.identity() == y.identity(); });
    check(!input && y.is_leaf() && !y.requires_grad(),
          "an op must return a fresh tensor, not one it was given or kept, nor what other ops have recorded: return "
          "its detach(), or compute it under NoGrad: shape {}",
          y.shape());
  }
  Tape::Entry entry{name_, running_module, {}, {}, std::move(rule), std::move(pins)};
  for (const Tensor& x : inputs) {
    entry.inputs.push_back(x.defined() ? Tape::Value{tape.id_of(x), x.shape(), x.dtype(), x.device()} : Tape::Value{});
    entry.bytes += x.bytes();
  }
  for (const Tensor& y : outputs) {
    entry.outputs.push_back({tape.next_id_++, y.shape(), y.dtype(), y.device(), y.handle()});
    entry.bytes += y.bytes();
  }
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i].set_node({tape.serial_, entry.outputs[i].id});
  tape.entries_.push_back(std::move(entry));
  tape.note(tape.entries_.back(), start_, {1, seconds_since(start_), 0, tape.entries_.back().bytes, saved_});
  for (const Tensor& y : outputs)
    check(!tape.options_.check_finite || all_finite(y), "output holds a NaN or an infinity: shape {}", y.shape());
}

void Tape::note(const Entry& entry, std::chrono::steady_clock::time_point start, const ProfileRow& cost) {
  profile_[{entry.op, entry.module}] += cost;
  if (options_.trace) events_.push_back({entry.op, entry.module, entry.bytes, start, cost});
}

// Of each value, as bits: what made it is on the tape; the sweep reaches it; an entry that is left behind takes it.
struct Tape::Reach {
  enum Mark : uint8_t { pending = 1, reached = 2, wanted = 4 };
  int64_t first_id;
  PoolVector<uint8_t> marks;
  uint8_t& operator[](int64_t id) { return marks[id - first_id]; }
  bool makes(const Entry& entry, Mark mark) {  // whether it makes such a value
    return std::ranges::any_of(entry.outputs, [&](const Value& y) { return (*this)[y.id] & mark; });
  }
};

// Marks what a sweep from value `id` reaches. Throws where that is not all there, or no longer what it was.
Tape::Reach Tape::reach(int64_t id) const {
  Reach reach{first_id_, PoolVector<uint8_t>(next_id_ - first_id_)};
  for (const auto& [_, leaf] : leaves_) reach[leaf.id] = Reach::pending;
  for (const Entry& entry : entries_)
    for (const Value& y : entry.outputs) reach[y.id] = Reach::pending;
  const auto is_pending = [&](int64_t value) { return value >= first_id_ && reach[value] & Reach::pending; };
  check(is_pending(id), "backward",
        "a second sweep: the records were consumed by the first; pass {{.retain = true}} to the first to sweep twice");
  reach[id] |= Reach::reached;
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (!reach.makes(*entry, Reach::reached)) continue;
    for (const Value& x : entry->inputs) {
      if (x.id < 0) continue;
      check(is_pending(x.id), "backward",
            "the gradient reaches an input of '{}'{} (shape {}) whose record an earlier sweep consumed: pass "
            "{{.retain = true}} to that sweep, and let optimizers step after both, or detach() the value",
            entry->op, in_module(entry->module), x.shape);
      reach[x.id] |= Reach::reached;
    }
    for (const Pin* pin = entry->pins.get(); pin; pin = pin->next.get())
      check(pin->writes < 0 || pin->storage->writes() == pin->writes, "backward",
            "a tensor that '{}'{} has saved was written to after an earlier sweep had left its record behind: sweep "
            "this loss before what writes (an optimizer's step), or record it anew",
            entry->op, in_module(entry->module));
  }
  return reach;
}

void Tape::backward(const Tensor& loss, const BackwardOptions& options) {
  check(loss.defined(), "backward", "an undefined tensor was used as the loss");
  const Tensor::Node node = loss.node();
  check(node.tape == serial_, "backward",
        "the loss was not recorded on this tape (it is a leaf itself, no input of it requires grad, or it was computed "
        "outside the tape or under NoGrad): shape {}",
        loss.shape());
  Reach reach = this->reach(node.id);
  check(options.seed.defined() || loss.numel() == 1, "backward",
        "a loss of shape {} needs a seed gradient of that shape", loss.shape());
  const Tensor seed = options.seed.defined() ? options.seed : ones_like(loss);
  check(seed.shape() == loss.shape() && seed.dtype() == loss.dtype() && seed.device() == loss.device(), "backward",
        "the seed is {} ({}, {}), the loss is {} ({}, {})", seed.shape(), seed.dtype(), seed.device(), loss.shape(),
        loss.dtype(), loss.device());

  for (auto& [_, gradient] : watched_) gradient = Tensor();
  Gradients gradients{first_id_, PoolVector<Tensor>(next_id_ - first_id_)};
  PoolVector<Leaf> leaves;
  for (const auto& [_, leaf] : leaves_)
    if (reach[leaf.id] & Reach::reached) leaves.push_back(leaf), gradients[leaf.id] = leaf.tensor.grad();
  gradients[node.id] = seed.detach();
  sweep(options.retain ? entries_ : take(reach), gradients);
  // To the others it was added in place, or nothing has come.
  std::erase_if(leaves, [&](Leaf& leaf) { return gradients[leaf.id].identity() == leaf.tensor.grad().identity(); });
  for (const Leaf& leaf : leaves) Sink::make_own(gradients[leaf.id]);
  for (const Leaf& leaf : leaves) leaf.tensor.set_grad(gradients[leaf.id]);  // nothing throws from here on: all or none
}

// Takes off the tape, before the sweep (so that they are consumed even where a rule throws), the entries it reaches;
// and those that are of no use to anyone, for good.
std::deque<Tape::Entry> Tape::take(Reach& reach) {
  std::deque<Entry> taken, left;
  for (; !entries_.empty(); entries_.pop_back()) {
    Entry& entry = entries_.back();
    const auto held = [](const Value& y) { return !y.handle.expired(); };
    if (reach.makes(entry, Reach::reached)) {
      taken.push_front(std::move(entry));
    } else if (reach.makes(entry, Reach::wanted) || std::ranges::any_of(entry.outputs, held)) {
      for (const Value& x : entry.inputs)
        if (x.id >= first_id_) reach[x.id] |= Reach::wanted;
      for (Pin* pin = entry.pins.get(); pin; pin = pin->next.get()) pin->loosen();
      left.push_front(std::move(entry));
    }
  }
  entries_ = std::move(left);
  std::erase_if(leaves_, [&](const auto& leaf) { return !(reach[leaf.second.id] & Reach::wanted); });
  first_id_ = entries_.empty() ? next_id_ : entries_.front().outputs.front().id;
  for (const auto& [_, leaf] : leaves_) first_id_ = std::min(first_id_, leaf.id);
  return taken;
}

// Runs the rules from the last entry to the first, each with the gradients of its outputs, which nobody needs after it.
void Tape::sweep(std::deque<Entry> entries, Gradients& gradients) {
  const NoGrad no_grad;
  PoolVector<Tensor> dy;
  for (; !entries.empty(); entries.pop_back()) {
    const Entry& entry = entries.back();
    dy.clear();
    for (const Value& y : entry.outputs) {
      dy.push_back(std::exchange(gradients[y.id], Tensor()));
      if (const auto watched = watched_.find(y.id); watched != watched_.end() && dy.back().defined())
        watched->second = dy.back().clone();
    }
    if (std::ranges::none_of(dy, &Tensor::defined)) continue;
    const auto start = std::chrono::steady_clock::now();
    Sink sink(entry, gradients);
    entry.rule(dy, sink);
    dy.clear();
    sink.flush();
    note(entry, start, {.backward_seconds = seconds_since(start)});
    for (const Value& x : entry.inputs)
      check(!options_.check_finite || x.id < 0 || !gradients[x.id].defined() || all_finite(gradients[x.id]), entry.op,
            "gradient holds a NaN or an infinity: input of shape {}", x.shape);
  }
}

void Tape::watch(const Tensor& value) {
  check(value.defined(), "watch", "an undefined tensor was used");
  check(value.node().tape == serial_, "watch", "the value was not recorded on this tape: shape {}", value.shape());
  watched_.try_emplace(value.node().id);
}

Tensor Tape::grad_of(const Tensor& value) const {
  check(value.defined(), "grad_of", "an undefined tensor was used");
  const auto found = value.node().tape == serial_ ? watched_.find(value.node().id) : watched_.end();
  check(found != watched_.end(), "grad_of", "the value was not watched on this tape: shape {}", value.shape());
  return found->second;
}

}  // namespace norma
