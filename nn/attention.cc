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
  const auto split = [&](const Tensor& x) {  // [N, L, E] -> [N, heads, L, E / heads]
    return transpose(reshape(x, {x.dim(0), x.dim(1), heads, e / heads}), 1, 2);
  };
  const bool same = query.identity() == key.identity() && key.identity() == value.identity();
  const Tensor all = same ? linear(query, in_proj_weight, in_proj_bias) : Tensor();
  std::array<Tensor, 3> projected = {query, key, value};
  for (int64_t i = 0; Tensor & x : projected) {
    x = split(same ? slice(all, 2, i * e, (i + 1) * e) : linear(x, part(in_proj_weight, i), part(in_proj_bias, i)));
    ++i;
  }
  options.dropout = is_training() ? dropout : 0;
  const Tensor y = scaled_dot_product_attention(projected[0], projected[1], projected[2], options);
  return out_proj(reshape(transpose(y, 1, 2), {query.dim(0), query.dim(1), e}));
}

}  // namespace norma::nn
