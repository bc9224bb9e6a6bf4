// Tape: reverse-mode differentiation. Ops append entries in the order they run; backward() walks them once in reverse.
//
//   Tape tape;                          // records this thread's ops while it lives
//   Tensor loss = cross_entropy(model(x), labels);
//   tape.backward(loss);                // adds into the grad() of each leaf that requires it
//
// The contract:
// - A value is known by its node on the tape, not by its storage. An op is recorded where one of its inputs requires
// grad:
//   a leaf with requires_grad, or a value that this tape recorded. Values of other tapes are constants here (so a state
//   that is carried from step to step is cut from its past).
// - A rule (the closure of an entry) keeps only what it captures; what the tape itself keeps is names, ids and shapes.
// - backward consumes: closures are freed as the sweep passes them. Another sweep over them needs `retain`.
// - Gradients of gradients are not provided: rules run unrecorded.
// Not thread-safe: a tape belongs to the thread that made it. Several threads may each have their own.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "norma/core/memory.h"
#include "norma/core/tensor.h"

namespace norma {

class Sink;

// The gradient rule of an op: given the gradients of its outputs (undefined where none arrived), leaves those of its
// inputs in the sink.
using Rule = std::function<void(std::span<const Tensor> dy, Sink& dx)>;

struct TapeOptions {
  bool check_finite = false;  // throw, naming the first op whose output or gradient holds a NaN or an infinity
};

struct BackwardOptions {
  Tensor seed{};        // the gradient of the loss; default 1 for a one-element loss
  bool retain = false;  // keep what is saved, for another sweep
};

class Tape {
 public:
  struct Value {
    int64_t id;  // -1: an input that requires no gradient
    Shape shape;
    DType dtype;
  };
  struct Entry {
    const char* op;
    PoolVector<Value> inputs, outputs;
    Rule rule;
  };
  struct ProfileRow {
    int64_t calls = 0;
    double forward_seconds = 0, backward_seconds = 0;
    int64_t bytes_moved = 0;  // inputs and outputs of the forward pass
    int64_t bytes_saved = 0;  // kept alive for the gradient
  };
  using Profile = std::map<std::string, ProfileRow>;

  explicit Tape(const TapeOptions& options = {});
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // One reverse sweep from `loss`. Adds into leaves' grad(). Errors: a loss this tape did not record, one whose record
  // an earlier sweep consumed, a loss of several elements without a seed.
  void backward(const Tensor& loss, const BackwardOptions& options = {});

  // Asks the next sweeps to keep the gradient of a value in the middle; grad_of then returns it, until another sweep.
  void watch(const Tensor& value);
  Tensor grad_of(const Tensor& value) const;  // undefined if no gradient reached it

  const std::deque<Entry>& entries() const { return entries_; }  // those not yet consumed
  // The leaf's number on this tape, as entries name it; -1 if no pending entry uses it.
  int64_t leaf_id(const Tensor& leaf) const;
  std::string dot() const;                      // the pending entries as a graph for Graphviz
  Profile profile() const { return profile_; }  // by op, since the tape began
  static std::string table(const Profile& profile);

  static Tape* current();  // the one that records this thread's ops now, or null

 private:
  friend class Op;
  friend class Sink;
  struct Leaf {
    Tensor tensor;
    int64_t id;
  };

  bool follows(const Tensor& x) const;  // x is a leaf that requires grad, or was recorded here
  int64_t id_of(const Tensor& x);       // -1 if not followed; makes a leaf's id at its first use
  void append(const char* op, std::span<const Tensor> inputs, std::span<const Tensor> outputs, Rule rule,
              double seconds, int64_t bytes_saved);
  void check_reach(int64_t id) const;
  void consume();

  TapeOptions options_;
  uint64_t serial_;
  Tape* previous_;
  int64_t next_id_ = 0, first_id_ = 0;  // ids below first_id_ have been consumed
  std::deque<Entry> entries_;
  std::map<const void*, Leaf> leaves_;
  std::map<int64_t, Tensor> watched_;
  Profile profile_;
};

// No op of this thread is recorded while it lives.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;
};

// Where a rule leaves the gradients of its op's inputs. The first contribution to a value is assigned, later ones are
// added; a kernel that can add by itself asks for the target, any other hands over a tensor.
class Sink {
 public:
  bool wants(size_t input) const { return value(input).id >= 0; }
  const Shape& shape(size_t input) const { return value(input).shape; }

  struct Target {
    Tensor grad;  // contiguous, shape and dtype of the input; uninitialised unless `add`
    bool add;     // true: grad += contribution; false: grad = contribution
  };
  // The caller writes all of it. Only for inputs that are wanted.
  Target into(size_t input);
  // The same, in the memory of the output's gradient dy where nobody else wants that and it has the shape: for kernels
  // that write an element only after the last time they have read dy there. At most once a dy.
  Target over(size_t input, const Tensor& dy);
  // Hands over a finished contribution. Does nothing if the input wants none. The tensor may be a view, or shared.
  void give(size_t input, const Tensor& grad);

 private:
  friend class Tape;
  Sink(const Tape::Entry& entry, PoolVector<Tensor>& slots, int64_t first_id, Device device)
      : entry_(entry), slots_(slots), first_id_(first_id), device_(device) {}
  const Tape::Value& value(size_t input) const {
    check(input < entry_.inputs.size(), entry_.op, "the rule speaks of input {}, the op has {}", input,
          entry_.inputs.size());
    return entry_.inputs[input];
  }
  Tensor& slot(size_t input) { return slots_[static_cast<size_t>(entry_.inputs[input].id - first_id_)]; }
  void add(Tensor& slot, const Tensor& grad);
  void flush();

  const Tape::Entry& entry_;
  PoolVector<Tensor>& slots_;
  int64_t first_id_;
  Device device_;
  // Where an op uses one value twice, its later contributions wait here until the rule has written the first.
  std::vector<std::pair<size_t, Tensor>> deferred_;
  std::vector<int64_t> taken_;
};

}  // namespace norma
