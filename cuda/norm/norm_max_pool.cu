// Made of norm and max_pool2d, whose kernels follow each other through memory: what is between the two lives as long as
// the call.
#include "norma/ops/norm/norm_max_pool.h"

namespace norma::cuda {

// `winner` is left as it is: the way back computes the activation's argument from x.
void norm_max_pool(const NormPlan& plan, const NormSpec& spec, const PoolGeometry& g, const Tensor& gamma,
                   const Tensor& beta, const Tensor& population, const Tensor& cells, const Tensor& x, const Tensor& y,
                   const Tensor& place, const Tensor&) {
  const Tensor between = empty_like(x);
  norm_forward(plan, spec, gamma, beta, population, cells,
               {.x = {&x, 1}, .residual = {}, .y = {&between, 1}, .mask = {}});
  max_pool2d(g, between, y, place);
}

void norm_max_pool_backward(const NormPlan& plan, const NormSpec& spec, const PoolGeometry& g, const Tensor& gamma,
                            const Tensor& beta, const Tensor& cells, const Tensor& dgamma, const Tensor& dbeta,
                            const Tensor& x, const Tensor& place, const Tensor&, const Tensor& dy, const Tensor& dx) {
  const Tensor between = dx.defined() ? dx : empty_like(x);
  max_pool2d_backward(g, dy, place, between, false);
  const char assigned = false;
  norm_backward(plan, spec, gamma, beta, cells, dgamma, dbeta,
                {.x = {&x, 1},
                 .mask = {},
                 .dy = {&between, 1},
                 .dx = {&dx, 1},
                 .dresidual = {},
                 .add_dx = {&assigned, 1},
                 .add_dresidual = {}});
}

}  // namespace norma::cuda
