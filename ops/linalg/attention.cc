#include "norma/ops/linalg/attention.h"

#include <cmath>
#include <limits>

#include "norma/autograd/op.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/dropout.h"
#include "norma/ops/elementwise/where.h"
#include "norma/ops/linalg/matmul.h"
#include "norma/ops/reduce/softmax.h"
#include "norma/ops/shape/views.h"

namespace norma {

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const AttentionOptions& o) {
  const Op op("scaled_dot_product_attention", {query, key, value});
  op.check(query.rank() >= 2 && key.rank() >= 2 && value.rank() >= 2 && query.dim(-1) == key.dim(-1) &&
               key.dim(-2) == value.dim(-2),
           "want query [..., L, E], key [..., S, E] and value [..., S, V], not {}, {} and {}", query.shape(),
           key.shape(), value.shape());
  const double scale = o.scale.value_or(1 / std::sqrt(static_cast<double>(query.dim(-1))));
  op.check(std::isfinite(scale), "a scale of {}: want a number", scale);
  const auto constant = [&](double c) { return full({}, c, query.dtype(), query.device()); };
  const Tensor never = constant(-std::numeric_limits<double>::infinity());

  Tensor scores = matmul(query * scale, transpose(key, -2, -1));
  if (o.causal) scores = where(tril(ones({query.dim(-2), key.dim(-2)}, boolean, query.device())), scores, never);
  const bool chosen = o.mask.defined() && o.mask.dtype() == boolean;
  if (o.mask.defined()) {
    op.check(broadcastable_to(o.mask.shape(), scores.shape()), "mask {} does not broadcast to the scores {}",
             o.mask.shape(), scores.shape());
    scores = chosen ? where(o.mask, scores, never) : scores + o.mask;
  }
  Tensor weights = softmax(scores);
  if (chosen) weights = where(o.mask, weights, constant(0));  // a row without any key is NaN
  return matmul(dropout(weights, o.dropout), value);
}

}  // namespace norma
