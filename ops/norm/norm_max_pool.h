// The norm family with a max-pooling behind it: what is between the two is never in memory, neither on the way forward
// nor on the way back.
#pragma once

#include "norma/ops/norm/norm.h"
#include "norma/ops/pool/pool2d.h"

namespace norma {

// max_pool2d(norm(x, ...), pool), to the bit: x [N, H, W, C] -> [N, OH, OW, C]. One pass each way where there is no
// residual, C elements are 64 bytes or more, windows do not overlap (stride == kernel, no padding, up to 256 elements)
// and cells span the positions; else it is made of the two ops. Errors: those of both.
Tensor norm_max_pool(const Tensor& x, const Grouping& grouping, const Statistics& statistics, const Tensor& gamma,
                     const Tensor& beta, const Pool2dOptions& pool, const NormOptions& options = {});

// Fills y and cells; and, undefined where no gradient is wanted, of the winner of each window its place (u8, row-major)
// and its x.
NORMA_SIMD_KERNEL(norm_max_pool, const NormPlan& plan, const NormSpec& spec, const PoolGeometry& geometry,
                  const Tensor& gamma, const Tensor& beta, const Tensor& population, const Tensor& cells,
                  const Tensor& x, const Tensor& y, const Tensor& place, const Tensor& winner)
// dgamma, dbeta as of norm_backward. dx may be undefined: not wanted.
NORMA_SIMD_KERNEL(norm_max_pool_backward, const NormPlan& plan, const NormSpec& spec, const PoolGeometry& geometry,
                  const Tensor& gamma, const Tensor& beta, const Tensor& cells, const Tensor& dgamma,
                  const Tensor& dbeta, const Tensor& x, const Tensor& place, const Tensor& winner, const Tensor& dy,
                  const Tensor& dx)

}  // namespace norma
