// Sink: where the gradient rule of an op leaves the gradients of the op's inputs. The first contribution to a value is
// assigned, later ones are added. A rule has three ways:
//
//   dx.write(0, kernel::avg_pool2d_backward, g, dy);  // a kernel that assigns or adds: called with target and `add`
//   const auto [grad, add] = dx.into(0);              // the target itself, for whatever else writes it
//   dx.give(0, finished);                             // a tensor in hand
//
// Inputs are counted from 0, in the order in which the op recorded them.
#pragma once

#include "norma/autograd/tape.h"

namespace norma {

class Sink {
 public:
  // False for an input whose gradient nobody asked for.
  bool wants(size_t input) const { return value(input).id >= 0; }
  const Shape& shape(size_t input) const { return value(input).shape; }

  struct Target {
    Tensor grad;  // contiguous, shape and dtype of the input; uninitialised unless `add`
    bool add;     // true: grad += contribution; false: grad = contribution
  };
  // The caller writes all of it. An error for an input that is not wanted.
  Target into(size_t input) { return into_or_reuse(input, {}); }
  // Like into(), but reuses dy's memory if nobody else holds it and it has the input's shape. Read dy[i] before you
  // write grad[i]. At most once for each dy.
  Target into_or_reuse(size_t input, const Tensor& dy);
  // Calls kernel(args..., grad, add) with the input's target, if the input is wanted. The kernel writes all of `grad`.
  void write(size_t input, auto&& kernel, const auto&... args) {
    if (!wants(input)) return;
    const auto [grad, add] = into(input);
    kernel(args..., grad, add);
  }
  // Hands over a finished contribution, if the input is wanted. The tensor may be a view, or shared.
  void give(size_t input, const Tensor& grad);

 private:
  friend class Tape;
  Sink(const Tape::Entry& entry, Gradients& gradients) : entry_(entry), gradients_(gradients) {}
  const Tape::Value& value(size_t input) const;
  // Makes it the only handle of a contiguous tensor, so that it may be added to in place.
  static const Tensor& make_own(Tensor& gradient);
  static void add(Tensor& target, const Tensor& grad);
  void flush();  // when the rule has run

  const Tape::Entry& entry_;
  const Scoped<const char*> running_{running_module, entry_.module};  // while it lives, the rule runs
  Gradients& gradients_;
  // By the ids of the values whose target into() has handed out: where an op uses one value twice, its later
  // contributions, which wait until the rule has written the first.
  std::map<int64_t, std::vector<Tensor>> deferred_;
};

}  // namespace norma
