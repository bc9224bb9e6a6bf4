// Op: the frame of every differentiable operation, inside the library and outside it.
//
//   Tensor square(const Tensor& x) {
//     Op op("square");                                   // names the op in errors, on the tape and in its profile
//     op.check(x.is_floating(), "wants a floating tensor, not {}", x.dtype());
//     Tensor y = ...;
//     return op.record({x}, y, [x = op.save(x)](const Tensor& dy, Sink& dx) { dx.give(0, ...); });
//   }
#pragma once

#include <chrono>
#include <concepts>

#include "norma/autograd/tape.h"

namespace norma {

// A tensor kept for the gradient. While it lives, writing into the tensor's storage is an error.
class Saved {
 public:
  Saved(const Tensor& x, const char* op) : tensor_(x), storage_(x.defined() ? x.storage() : nullptr), op_(op) { pin(); }
  Saved(const Saved& other) : tensor_(other.tensor_), storage_(other.storage_), op_(other.op_) { pin(); }
  Saved(Saved&& other) noexcept = default;
  Saved& operator=(const Saved&) = delete;
  ~Saved() {
    if (storage_) storage_->unpin();
  }
  operator const Tensor&() const { return tensor_; }
  const Tensor& operator*() const { return tensor_; }
  const Tensor* operator->() const { return &tensor_; }

 private:
  void pin() {
    if (storage_) storage_->pin(op_);
  }
  Tensor tensor_;
  std::shared_ptr<Storage> storage_;
  const char* op_;
};

class Op {
 public:
  explicit Op(const char* name) : name_(name), start_(std::chrono::steady_clock::now()) {}

  const char* name() const { return name_; }

  template <class... Args>
  void check(bool ok, fmt::format_string<Args...> text, Args&&... args) const {
    norma::check(ok, name_, text, std::forward<Args>(args)...);
  }
  // All on one device and of one dtype, `floating` or any; undefined tensors (optional arguments) are passed over.
  void check_same(std::initializer_list<Tensor> tensors, bool floating = true) const;
  int axis(const Tensor& x, int64_t axis) const { return x.shape().normalize_axis(axis, name_); }

  // For a rule's captures. Detached: a rule must not keep the tape's own values alive by name.
  Saved save(const Tensor& x) const {
    if (x.defined()) saved_ += x.numel() * static_cast<int64_t>(size_of(x.dtype()));
    return Saved(x.defined() ? x.detach() : x, name_);
  }

  // True if this thread's tape will record an op with these inputs: to skip work that only a gradient needs.
  static bool records(std::span<const Tensor> inputs);
  static bool records(std::initializer_list<Tensor> inputs) {
    return records(std::span(inputs.begin(), inputs.size()));
  }

  // Appends to the tape if an input requires grad; returns y, which must be a fresh handle.
  template <std::invocable<const Tensor&, Sink&> F>
  Tensor record(std::span<const Tensor> inputs, const Tensor& y, F&& rule) const {
    if (records(inputs)) {
      append(inputs, std::span(&y, 1),
             [rule = std::forward<F>(rule)](std::span<const Tensor> dy, Sink& dx) { rule(dy[0], dx); });
    }
    return y;
  }
  template <std::invocable<const Tensor&, Sink&> F>
  Tensor record(std::initializer_list<Tensor> inputs, const Tensor& y, F&& rule) const {
    return record(std::span(inputs.begin(), inputs.size()), y, std::forward<F>(rule));
  }
  // Several outputs: the rule takes a span of gradients.
  void record_all(std::span<const Tensor> inputs, std::span<const Tensor> outputs, Rule rule) const {
    if (records(inputs)) append(inputs, outputs, std::move(rule));
  }

 private:
  void append(std::span<const Tensor> inputs, std::span<const Tensor> outputs, Rule rule) const;

  const char* name_;
  std::chrono::steady_clock::time_point start_;
  mutable int64_t saved_ = 0;
};

}  // namespace norma
