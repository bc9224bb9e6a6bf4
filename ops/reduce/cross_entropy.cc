#include "norma/ops/reduce/cross_entropy.h"

#include "norma/autograd/op.h"

namespace norma {

Tensor cross_entropy(const Tensor& x, const Tensor& indices, const CrossEntropyOptions& options) {
  const Op op("cross_entropy", {x});
  op.check(x.rank() == 2 && x.dim(1) > 0, "logits {} are not [N, C]: labels {}", x.shape(), indices.shape());
  op.check(indices.shape() == Shape{x.dim(0)}, "labels {} are not one for each row of logits {}", indices.shape(),
           x.shape());
  op.check(indices.dtype() == i64, "labels are {}, not i64: shape {}", indices.dtype(), indices.shape());
  op.check(indices.device() == x.device(), "logits {} are on {}, labels {} on {}", x.shape(), x.device(),
           indices.shape(), indices.device());
  op.check(options.label_smoothing >= 0 && options.label_smoothing <= 1, "label smoothing {} is outside of [0, 1]",
           options.label_smoothing);
  const Tensor logits = x.contiguous(), labels = indices.contiguous();
  const Tensor loss({}, x.dtype(), x.device()), lse({x.dim(0)}, f64, x.device()), counted({}, f64, x.device());
  kernel::cross_entropy(options, logits, labels, loss, lse, counted);
  return op.record({x}, loss,
                   [options, logits = op.save(logits), labels = op.save(labels), lse = op.save(lse),
                    counted = op.save(counted)](const Tensor& dy, Sink& dx) {
                     dx.write(0, kernel::cross_entropy_backward, options, dy, logits, labels, lse, counted);
                   });
}

}  // namespace norma
