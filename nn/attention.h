// MultiheadAttention: the layer around ops/linalg/attention.h. What a transformer has besides are a LayerNorm and two
// Linears.
#pragma once

#include "norma/nn/layers.h"
#include "norma/ops/linalg/attention.h"

namespace norma::nn {

struct MultiheadAttentionOptions {
  bool bias = true;
  double dropout = 0;  // of the attention weights in training, in [0, 1)
};

// Parameters are named, and start, as in PyTorch: in_proj_weight [3 E, E] and in_proj_bias [3 E] for query, key and
// value, one below the other, and out_proj. Errors: heads that do not divide the features.
struct MultiheadAttention : Module {
  MultiheadAttention(int64_t features, int64_t heads, const MultiheadAttentionOptions& options = {});
  Tensor forward(const Tensor& x) override { return (*this)(x, x, x); }  // self-attention
  using Module::operator();
  // query [N, L, E], key and value [N, S, E] -> [N, L, E]. The options are those of the op, whose scores are
  // [N, heads, L, S]: a mask of keys is [N, 1, 1, S]. Their dropout is ignored, the layer has its own.
  Tensor operator()(const Tensor& query, const Tensor& key, const Tensor& value, AttentionOptions options = {});

  Parameter in_proj_weight, in_proj_bias;
  Linear out_proj;
  NORMA_VISIT(in_proj_weight, in_proj_bias, out_proj)
  int64_t heads;
  double dropout;
};

}  // namespace norma::nn
