#include "norma/ops/reduce/loss.h"

#include "norma/ops/elementwise/binary.h"
#include "norma/ops/reduce/reduce.h"

namespace norma {

static Tensor mean_of(const char* name, Binary f, const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), name, "shapes differ: {} and {}", a.shape(), b.shape());
  check(a.numel() > 0, name, "no elements: shape {}", a.shape());
  return mean(elementwise(name, f, a, b));
}

Tensor mse(const Tensor& a, const Tensor& b) { return mean_of("mse", Binary::squared_difference, a, b); }
Tensor bce_with_logits(const Tensor& logits, const Tensor& target) {
  return mean_of("bce_with_logits", Binary::bce_with_logits, logits, target);
}

}  // namespace norma
