// Op: the frame of every differentiable operation, inside the library and outside it. An op checks its arguments, makes
// them contiguous, calls its kernel, and records itself with its gradient rule:
//
//   Tensor dropout(const Tensor& x, double p, Generator& generator) {
//     const Op op("dropout", {x});               // its name in errors and on the tape; x is checked to be floating
//     const Generator::State from = generator.reserve((x.numel() + 3) / 4);
//     const Tensor y = empty_like(x);
//     kernel::dropout(p, from, x.contiguous(), y, false);
//     return op.record({x}, y, [p, from](const Tensor& dy, Sink& dx) {
//       dx.write(0, kernel::dropout, p, from, dy.contiguous());
//     });
//   }
#pragma once

#include <concepts>
#include <utility>

#include "norma/autograd/sink.h"

namespace norma {

// What forbids to write into a storage: while it lives, or until its entry is left behind by a sweep.
struct Pin {
  Pin(std::shared_ptr<Storage> pinned, const char* op) : storage(std::move(pinned)) { storage->pin(op); }
  ~Pin() { loosen(); }
  Pin& operator=(Pin&&) = delete;
  void loosen() {
    if (writes >= 0) return;
    storage->unpin();
    writes = storage->writes();
  }

  std::shared_ptr<Storage> storage;
  std::shared_ptr<Pin> next;  // of the same entry
  int64_t writes = -1;        // of the storage, when it was loosened; -1: it was not
};

// A tensor kept for the gradient. While it or a copy of it lives, writing into the tensor's storage is an error.
class Saved : public Tensor {
 public:
  Saved(const Tensor& x, const char* op)
      : Tensor(x), pin_(x.defined() ? std::make_shared<Pin>(x.storage(), op) : nullptr) {}

 private:
  friend class Op;
  std::shared_ptr<Pin> pin_;
};

class Op {
 public:
  // The name may be a temporary: it is kept.
  explicit Op(const char* name)
      : name_(kept(name)), running_(running_op, name_), start_(std::chrono::steady_clock::now()) {}
  // Of such tensors as check_same wants: floating, of one dtype, on one device.
  Op(const char* name, std::initializer_list<Tensor> floating) : Op(name) { check_same(floating); }

  const char* name() const { return name_; }
  static const char* kept(std::string_view name);  // the same text, at one place for as long as the program runs

  template <class... Args>
  void check(bool ok, fmt::format_string<Args...> text, Args&&... args) const {
    norma::check(ok, name_, text, std::forward<Args>(args)...);
  }
  // All on one device and of one dtype, `floating` or any; undefined tensors (optional arguments) are passed over.
  void check_same(std::initializer_list<Tensor> tensors, bool floating = true) const;
  int axis(const Tensor& x, int64_t axis) const { return x.shape().normalize_axis(axis, name_); }

  // For a rule's captures: how it keeps a tensor, which may be undefined. Detached, since a rule must not keep alive
  // the values that the tape follows.
  Saved save(const Tensor& x) const {
    saved_ += x.bytes();
    const Saved saved(x.defined() ? x.detach() : x, name_);
    if (saved.pin_) saved.pin_->next = std::exchange(pins_, saved.pin_);
    return saved;
  }
  // Keeps x only if `input` is to have a gradient; otherwise what is saved is undefined. For what the gradient of that
  // input alone depends on.
  Saved save_for(const Tensor& input, const Tensor& x) const { return save(records({input}) ? x : Tensor()); }

  // True if this thread's tape will record an op with these inputs: to skip work that only a gradient needs.
  static bool records(std::span<const Tensor> inputs);
  static bool records(std::initializer_list<Tensor> inputs) { return records({inputs.begin(), inputs.size()}); }

  // Appends to the tape if an input requires grad; returns y, which must be a fresh handle.
  template <std::invocable<const Tensor&, Sink&> F>
  Tensor record(std::initializer_list<Tensor> inputs, const Tensor& y, F&& rule) const {
    if (records(inputs))
      record_all({inputs.begin(), inputs.size()}, {&y, 1},
                 [rule = std::forward<F>(rule)](std::span<const Tensor> dy, Sink& dx) { rule(dy[0], dx); });
    pins_.reset();
    return y;
  }
  // Any number of inputs and outputs: the rule takes a span of gradients.
  void record_all(std::span<const Tensor> inputs, std::span<const Tensor> outputs, Rule rule) const;

 private:
  const char* name_;
  Scoped<const char*> running_;
  std::chrono::steady_clock::time_point start_;
  mutable int64_t saved_ = 0;
  mutable std::shared_ptr<Pin> pins_;  // of what has been saved and not yet recorded
};

}  // namespace norma
