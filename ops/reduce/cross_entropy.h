// cross_entropy: the loss of a classifier, with softmax and logarithm in one op.
#pragma once

#include "norma/ops/kernel.h"

namespace norma {

struct CrossEntropyOptions {
  double label_smoothing = 0;   // in [0, 1]: this share of the target is spread over all classes (Szegedy et al. 2016)
  int64_t ignore_index = -100;  // rows with this label count for nothing, whatever stands in them
};

// The mean over rows of -sum_c target_c log(softmax(logits)_c), a scalar (shape []).  logits [N, C], f32 or f64; labels
// i64 [N], each in [0, C) or ignore_index, on the same device. Only the logits have a gradient. Of no rows at all, a
// worker's empty share of a batch, the loss is 0. Errors: shapes and dtypes other than these, a smoothing outside of
// [0, 1], a label out of range, rows of which none counts; the last two are thrown at the next synchronisation on CUDA.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options = {});

// loss [] = the mean; lse (f64 [N]) = log(sum(exp(row))); counted (f64 []) = the number of rows that count. All
// contiguous. Throws where a label is out of range or no row counts.
NORMA_SIMD_KERNEL(cross_entropy, const CrossEntropyOptions& options, const Tensor& logits, const Tensor& labels,
                  const Tensor& loss, const Tensor& lse, const Tensor& counted)
// dx (+)= dy / counted * (softmax(logits) - target), 0 in rows that do not count.  dy [].
NORMA_SIMD_KERNEL(cross_entropy_backward, const CrossEntropyOptions& options, const Tensor& dy, const Tensor& logits,
                  const Tensor& labels, const Tensor& lse, const Tensor& counted, const Tensor& dx, bool add)

}  // namespace norma
