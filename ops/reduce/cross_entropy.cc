#include "norma/ops/reduce/cross_entropy.h"

#include "norma/autograd/op.h"
#include "norma/ops/reduce/softmax.h"

namespace norma {

// Of a target that is given as probabilities. A share of 0 is none of an infinity, either.
static Tensor loss_of_shares(const Op& op, bool nll, const Tensor& x, const Tensor& target,
                             const CrossEntropyOptions& options) {
  op.check_same({x, target});
  op.check(target.shape() == x.shape(), "target {} has not the shape of logits {}", target.shape(), x.shape());
  op.check(options.ignore_index == -100, "ignore_index is of labels, not of target {}", target.shape());
  const double smooth = options.label_smoothing, classes = static_cast<double>(x.dim(-1));
  Tensor share = smooth > 0 ? add(mul(target, 1 - smooth), smooth / classes) : target;
  if (options.weight.defined()) share = mul(share, options.weight);
  const Tensor each = neg(sum(elementwise(op.name(), Binary::share, share, nll ? x : log_softmax(x)), {-1}));
  return each.numel() == 0 && options.reduction == Reduction::mean ? sum(each) : reduced(each, options.reduction);
}

static Tensor loss_of_rows(bool nll, const Tensor& x, const Tensor& target, CrossEntropyOptions options) {
  const Op op(nll ? "nll" : "cross_entropy", {x, options.weight});
  op.check(x.rank() > 0 && x.dim(-1) > 0, "logits {} are not [..., C]: target {}", x.shape(), target.shape());
  const Shape rows = x.shape().without(x.rank() - 1), all = {x.dim(-1)};
  const Shape weights = options.weight.defined() ? options.weight.shape() : all;
  op.check(weights == all, "class weights {} are not one for each class of logits {}", weights, x.shape());
  op.check(!Op::records({options.weight}), "class weights have no gradient: {}", weights);
  const double smooth = options.label_smoothing;
  op.check(smooth >= 0 && smooth <= 1, "label smoothing {} is outside of [0, 1]", smooth);
  if (target.is_floating()) return loss_of_shares(op, nll, x, target, options);
  op.check(target.shape() == rows, "labels {} are not one for each row of logits {}", target.shape(), x.shape());
  op.check(target.dtype() == i64, "labels are {}, not i64: shape {}", target.dtype(), target.shape());
  op.check(target.device() == x.device(), "logits are on {}, labels on {}", x.device(), target.device());
  const Tensor logits = view::reshape(x, {rows.numel(), all[0]}), labels = target.contiguous();
  const Tensor loss(options.reduction == Reduction::none ? rows : Shape{}, x.dtype(), x.device());
  const Tensor lse({rows.numel()}, f64, x.device()), counted({}, f64, x.device());
  options.weight = options.weight.contiguous();
  kernel::cross_entropy(nll, options, logits, labels, loss, lse, counted);
  return op.record({x}, loss,
                   [nll, options, weight = op.save(options.weight), logits = op.save(logits), labels = op.save(labels),
                    lse = op.save(lse), counted = op.save(counted)](const Tensor& dy, Sink& dx) {
                     dx.write(0, kernel::cross_entropy_backward, nll, options, dy.contiguous(), logits, labels, lse,
                              counted);
                   });
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  return loss_of_rows(false, logits, target, options);
}

Tensor nll(const Tensor& log_probabilities, const Tensor& target, const CrossEntropyOptions& options) {
  return loss_of_rows(true, log_probabilities, target, options);
}

}  // namespace norma
