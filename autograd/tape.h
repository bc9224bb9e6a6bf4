// Tape: reverse-mode differentiation. Ops append entries in the order they run; backward() walks them once in reverse.
//
//   Tape tape;                          // records this thread's ops while it lives
//   Tensor loss = cross_entropy(model(x), labels);
//   tape.backward(loss);                // adds into the grad() of each leaf that requires it
//
// The contract:
// - A value is known by its node on the tape, not by its storage.
// - An op is recorded where one of its inputs requires grad: a leaf with requires_grad, or a value that this tape
//   recorded. Values of other tapes are constants here, so a state that is carried from step to step is cut from its
//   past.
// - A rule (the closure of an entry) keeps alive only what it captures. The tape itself keeps names, ids and shapes.
// - backward consumes the entries that its loss depends on: closures are freed as the sweep passes them. Another sweep
//   over them needs `retain`. A second loss that shares no entries with the first can be swept later.
// - The other entries are left behind. What they have saved may be written to from then on, but a sweep that comes to
//   an entry whose saved tensors have been is an error. An entry is dropped where no tensor that is still held depends
//   on it.
// - A rule that throws ends its sweep. What the sweep was to consume is gone all the same (but for `retain`), and
//   nothing else is left of it, except that a gradient which a leaf had before may have got a part of what was to be
//   added: zero_grad() then.
// - There are no gradients of gradients: rules run unrecorded.
// Not thread-safe: a tape belongs to the thread that made it. Several threads may each have their own.
//
// How an op gets onto the tape is in autograd/op.h, how a rule leaves its gradients in autograd/sink.h.
#pragma once

#include <chrono>
#include <deque>
#include <map>

#include "norma/core/memory.h"
#include "norma/core/tensor.h"

namespace norma {

class Sink;
struct Pin;  // of a saved tensor: autograd/op.h

// The gradient rule of an op: given the gradients of its outputs (undefined where none arrived), leaves those of its
// inputs in the sink.
using Rule = std::function<void(std::span<const Tensor> dy, Sink& dx)>;

struct TapeOptions {
  bool check_finite = false;  // throw, naming the first op whose output or gradient holds a NaN or an infinity
  bool trace = false;         // note when each op and each rule ran, for trace()
};

enum class ProfileBy : uint8_t { op, module };  // module: a row for each op of each, "conv2d (in features.0)"

struct BackwardOptions {
  Tensor seed{};        // the gradient of the loss; default 1 for a one-element loss
  bool retain = false;  // keep what is saved, for another sweep
};

// The gradients of a sweep, by the id of their value: undefined for values that have none so far.
struct Gradients {
  int64_t first_id;
  PoolVector<Tensor> list;
  Tensor& operator[](int64_t id) { return list[id - first_id]; }
};

class Tape {
 public:
  struct Value {
    int64_t id = -1;  // -1: an input that requires no gradient
    Shape shape{};
    DType dtype = f32;
    Device device = cpu_device;
    std::weak_ptr<const void> handle{};  // of an output: expired when nobody holds it any more
  };
  struct Entry {
    const char *op, *module;  // module: the path of the one that ran the op, or ""; see nn::Module::Running
    PoolVector<Value> inputs, outputs;
    Rule rule;
    std::shared_ptr<Pin> pins;  // the first of a list: what the rule has saved
    int64_t bytes = 0;          // of inputs and outputs
  };
  struct ProfileRow {
    int64_t calls = 0;
    double forward_seconds = 0, backward_seconds = 0;
    int64_t bytes_moved = 0;  // inputs and outputs of the forward pass
    int64_t bytes_saved = 0;  // kept alive for the gradient
    double seconds() const { return forward_seconds + backward_seconds; }
    void operator+=(const ProfileRow& other);
  };
  using Profile = std::map<std::string, ProfileRow>;

  explicit Tape(const TapeOptions& options = {});
  ~Tape();
  Tape& operator=(Tape&&) = delete;  // neither moved nor copied

  // One reverse sweep from `loss`. Adds into leaves' grad(). Errors, before anything is touched: a loss this tape did
  // not record (no leaf is recorded, nor therefore what an op without effect returns of it); a record on the way that
  // an earlier sweep consumed, or left behind and that is out of date; a loss of several elements without a seed.
  void backward(const Tensor& loss, const BackwardOptions& options = {});

  // Asks the next sweeps to keep the gradient of a value in the middle; grad_of then returns it, until another sweep.
  void watch(const Tensor& value);
  Tensor grad_of(const Tensor& value) const;  // undefined if no gradient reached it

  const std::deque<Entry>& entries() const { return entries_; }  // those not yet consumed
  // The leaf's number on this tape, as entries name it; -1 if no pending entry uses it.
  int64_t leaf_id(const Tensor& leaf) const;
  std::string dot() const;                              // the pending entries as a graph for Graphviz
  Profile profile(ProfileBy by = ProfileBy::op) const;  // since the tape began
  static std::string table(const Profile& profile);
  // Writes what ran since the tape began to a file that Perfetto (ui.perfetto.dev) and chrome://tracing show: an event
  // for each recorded op, of the category "forward" or "backward", with its time and thread, the path of its module,
  // and the bytes of its inputs and outputs, or of as many gradients. On CUDA the times are those of queueing. Atomic.
  // Error: the tape was made without {.trace = true}.
  void trace(const std::string& file) const;

  static Tape* current();  // the one that records this thread's ops now, or null

 private:
  friend class Op;
  struct Leaf {
    Tensor tensor;
    int64_t id;
  };
  struct Event {  // an op has run, or its rule, whose cost counts no call
    const char *op, *module;
    int64_t bytes;
    std::chrono::steady_clock::time_point start;
    ProfileRow cost;
  };

  void note(const Entry& entry, std::chrono::steady_clock::time_point start, const ProfileRow& cost);
  bool follows(const Tensor& x) const;  // x is a leaf that requires grad, or was recorded here
  int64_t id_of(const Tensor& x);       // -1 if not followed; makes a leaf's id at its first use
  struct Reach;
  Reach reach(int64_t id) const;
  std::deque<Entry> take(Reach& reach);
  void sweep(std::deque<Entry> entries, Gradients& gradients);

  TapeOptions options_;
  uint64_t serial_;
  Tape* previous_;
  int64_t next_id_ = 0, first_id_ = 0;  // ids below first_id_ have been consumed, and so may others
  std::deque<Entry> entries_;
  std::map<const void*, Leaf> leaves_;
  std::map<int64_t, Tensor> watched_;
  std::map<std::pair<const char*, const char*>, ProfileRow> profile_;  // by op and module
  std::vector<Event> events_;                                          // if options_.trace
};

// No op of this thread is recorded while it lives. For local variables: of several, the last ends first.
struct NoGrad : private Scoped<bool> {
  NoGrad();
};

}  // namespace norma
