// Attention: sums of values, weighted by how well each query matches the keys (Vaswani et al., "Attention is all you
// need", 2017). Composed of products and softmax: all weights stand in memory, [..., L, S].
#pragma once

#include <optional>

#include "norma/core/tensor.h"

namespace norma {

struct AttentionOptions {
  // Broadcasts to [..., L, S]. Boolean: true where a query may use a key (as in PyTorch's function of this name; the
  // masks of its MultiheadAttention say the opposite). Floating: added to the scores. Default: all of every key.
  Tensor mask{};
  bool causal = false;            // query i uses keys 0 ... i only
  std::optional<double> scale{};  // of the scores; default: 1 / sqrt(E)
  double dropout = 0;             // of the weights, in [0, 1), drawn from the default generator
};

// query [..., L, E], key [..., S, E], value [..., S, V] -> [..., L, V]: softmax(query key^T scale) value. f32 or f64,
// leading axes broadcast. A query that may use no key gets zeros. Gradients for all three, and for a floating mask.
// Errors: fewer than two axes, shapes that do not fit, a mask of another dtype or that does not broadcast.
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const AttentionOptions& options = {});

}  // namespace norma
