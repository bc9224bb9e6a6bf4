// The losses of a classifier: cross_entropy, with softmax and logarithm in one op, and nll.
#pragma once

#include "norma/ops/reduce/loss.h"

namespace norma {

struct CrossEntropyOptions {
  double label_smoothing = 0;   // in [0, 1]: this share of the target is spread over all classes (Szegedy et al. 2016)
  int64_t ignore_index = -100;  // rows with this label count for nothing, whatever stands in them
  Tensor weight = {};           // [C], of the logits' dtype, not below 0 (not checked): of each class; else 1 each
  Reduction reduction = Reduction::mean;
};

// -sum_c weight_c target_c log(softmax(logits)_c) of each row, the C logits of a sample or position; and the mean over
// rows, or their sum. Logits are [..., C], f32 or f64; the target, on the same device, is one of
//   - labels, i64 [...], each in [0, C) or ignore_index. The mean is the sum over rows divided by the number of those
//     that count or, if there are weights, by the sum of the weights of their labels;
//   - the target itself, [..., C] of the logits' dtype: probabilities, of mixed labels, say (not checked). The mean
//     divides by the number of rows; an ignore_index is an error.
// The mean and the sum are scalars (shape []); with Reduction::none the result is [...], 0 in rows that do not count.
// The logits have a gradient, and so has a target that is no labels; weights have none: an error where a tape would
// record it. Of no rows at all, a worker's empty share of a batch, the mean is 0. Errors: shapes and dtypes other than
// these, a smoothing outside of [0, 1], a label out of range, a mean over rows of which none counts; the last two are
// thrown at the next synchronisation on CUDA.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options = {});
// The same of log-probabilities, log_softmax(logits) mostly: the negative log-likelihood of the target.
Tensor nll(const Tensor& log_probabilities, const Tensor& target, const CrossEntropyOptions& options = {});

// The losses of labels, nll's if `nll`. logits [N, C], labels [N]; loss [], or [N] with Reduction::none; lse (f64 [N])
// = log(sum(exp(row))), 0 of nll; counted (f64 []) = what the mean divides by, and 1 with the other reductions. All
// contiguous. Throws where a label is out of range, or no row counts in a mean.
NORMA_SIMD_KERNEL(cross_entropy, bool nll, const CrossEntropyOptions& options, const Tensor& logits,
                  const Tensor& labels, const Tensor& loss, const Tensor& lse, const Tensor& counted)
// dx (+)= dy / counted * (sum(target) softmax(logits) - target), the target being that of the row, with smoothing and
// weights, and the first term missing in nll; 0 in rows that do not count.  dy of loss's shape.
NORMA_SIMD_KERNEL(cross_entropy_backward, bool nll, const CrossEntropyOptions& options, const Tensor& dy,
                  const Tensor& logits, const Tensor& labels, const Tensor& lse, const Tensor& counted,
                  const Tensor& dx, bool add)

}  // namespace norma
