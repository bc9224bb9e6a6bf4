// Losses of two tensors of one shape, and what compares directions. Made of the kernels of other ops. The losses of a
// classifier are in ops/reduce/cross_entropy.h.
#pragma once

#include "norma/ops/elementwise/binary.h"
#include "norma/ops/reduce/reduce.h"

namespace norma {

// What becomes of the losses of all elements (or, in ops/reduce/cross_entropy.h, rows): their mean or sum, a scalar
// (shape []), or nothing. The mean over samples of their sums, PyTorch's "batchmean", is a sum divided by x.dim(0).
enum class Reduction : uint8_t { mean, sum, none };
Tensor reduced(const Tensor& each, Reduction reduction);  // the losses `each`, or what they are reduced to

// All losses here: two tensors of one shape, f32 or f64, on one device. With Reduction::none the result has their
// shape. Both arguments have gradients. Errors: shapes, dtypes or devices that differ; a mean of no elements.

// f of the elements, recorded and reported as `name`.
Tensor loss_of(const char* name, Binary f, const Tensor& a, const Tensor& b, Reduction reduction);
#define NORMA_LOSS(name)                                                                                 \
  inline Tensor name(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean) { \
    return loss_of(#name, Binary::name, input, target, reduction);                                       \
  }
NORMA_LOSS(mse)  // (input - target)^2
NORMA_LOSS(l1)   // |input - target|; the gradient is 0 where they are equal
// The cross entropy of sigmoid(input) against target, which is in [0, 1] (not checked):
// -target log(sigmoid(input)) - (1 - target) log(1 - sigmoid(input)), computed without overflow: 0 at (inf, 1) and at
// (-inf, 0), inf at other targets of infinite inputs. For PyTorch's pos_weight w, and targets 0 and 1, multiply the
// losses of Reduction::none by 1 + (w - 1) * target.
NORMA_LOSS(bce_with_logits)
// The same of probabilities, -target log(input) - (1 - target) log(1 - input), each logarithm being at least -100. The
// gradient's divisor input (1 - input) is at least 1e-12. As PyTorch has it; but NaN outside of [0, 1], and no error.
NORMA_LOSS(bce)
// target (log(target) - input) of log-probabilities `input` and probabilities `target` (Kullback & Leibler 1951); 0
// where target is. In the target's gradient the logarithm is at least -100. The mean over samples is a recipe: see
// Reduction.
NORMA_LOSS(kl_div)
#undef NORMA_LOSS

// d^2 / 2 / beta for d = |a - b| up to beta, and d - beta / 2 above (Girshick 2015, Fast R-CNN). Error: beta is not
// above 0, or infinite. For beta = 0 it would be l1.
Tensor smooth_l1(const Tensor& a, const Tensor& b, double beta = 1, Reduction reduction = Reduction::mean);
// delta smooth_l1(a, b, delta), so d^2 / 2 up to delta (Huber 1964). Errors as there.
inline Tensor huber(const Tensor& a, const Tensor& b, double delta = 1, Reduction reduction = Reduction::mean) {
  return mul(smooth_l1(a, b, delta, reduction), delta);
}

// x / max(|x|, eps), |x| the Euclidean length along one axis: of length 1, unless x is hardly there. Up to eps the
// gradient is that of x / eps, at 0 also. f32 or f64, any shape of at least one axis. In f32, squares have no room for
// lengths above 1e19. Error: eps outside of [1e-18, 1e18].
Tensor l2_normalize(const Tensor& x, int64_t axis = -1, double eps = 1e-12);
// The cosine of the angle between a and b: the sum along `axis` of the product of the two by l2_normalize, and so 0
// where one is 0. The shapes broadcast. The result has no such axis.
inline Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t axis = -1, double eps = 1e-8) {
  return sum(mul(l2_normalize(a, axis, eps), l2_normalize(b, axis, eps)), {axis});
}

}  // namespace norma
