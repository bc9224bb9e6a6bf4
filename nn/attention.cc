#include "norma/nn/attention.h"

#include "norma/nn/init.h"

namespace norma::nn {

MultiheadAttention::MultiheadAttention(int64_t features, int64_t count, const MultiheadAttentionOptions& o)
    : out_proj(features, features, {o.bias}), heads(count), dropout(o.dropout) {
  check(heads >= 1 && features % heads == 0, "MultiheadAttention", "{} heads do not divide {} features", heads,
        features);
  check(dropout >= 0 && dropout < 1, "MultiheadAttention", "a dropout of {}: want one in [0, 1)", dropout);
  in_proj_weight = Parameter(empty({3 * features, features}));
  init::xavier_uniform(in_proj_weight);
  if (!o.bias) return;
  in_proj_bias = Parameter(zeros({3 * features}));
  out_proj.bias.fill(0);
}

Tensor MultiheadAttention::operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                                      AttentionOptions options) {
  const Running here(*this);
  const int64_t e = in_proj_weight.dim(1);
  for (const Tensor& x : {query, key, value})
    check(x.rank() == 3 && x.dim(2) == e && x.dim(0) == query.dim(0), "MultiheadAttention",
          "want [N, L, {}] and keys and values of as many samples: query {}, key {}, value {}", e, query.shape(),
          key.shape(), value.shape());
  const auto part = [&](const Tensor& x, int64_t i) { return x.defined() ? slice(x, 0, i * e, (i + 1) * e) : x; };
  const bool same = query.identity() == key.identity() && key.identity() == value.identity();
  const Tensor all = same ? linear(query, in_proj_weight, in_proj_bias) : Tensor();
  const auto project = [&](const Tensor& x, int64_t i) {  // [N, L, E] -> [N, heads, L, E / heads]
    const Tensor y =
        same ? slice(all, 2, i * e, (i + 1) * e) : linear(x, part(in_proj_weight, i), part(in_proj_bias, i));
    return transpose(reshape(y, {x.dim(0), x.dim(1), heads, e / heads}), 1, 2);
  };
  options.dropout = is_training() ? dropout : 0;
  const Tensor q = project(query, 0), k = project(key, 1), v = project(value, 2);
  const Tensor y = scaled_dot_product_attention(q, k, v, options);
  return out_proj(reshape(transpose(y, 1, 2), {query.dim(0), query.dim(1), e}));
}

}  // namespace norma::nn
