// The norm family with a max-pooling behind it: what is between the two is never in memory, neither on the way forward
// nor on the way back.
#pragma once

#include "norma/ops/norm/norm.h"
#include "norma/ops/pool/pool2d.h"

namespace norma {

// max_pool2d(norm(x, ...), pool), to the bit: x [N, H, W, C] -> [N, OH, OW, C]. One pass each way where there is no
// residual, C elements are 64 bytes or more, cells span the positions, norm() is one pass, and windows do not overlap
// (stride == kernel, no padding, up to 256 elements); else it is made of the two ops. Errors: those of both.
Tensor norm_max_pool(const Tensor& x, const Grouping& grouping, const Statistics& statistics, const Tensor& gamma,
                     const Tensor& beta, const Pool2dOptions& pool, const NormOptions& options = {});

// --- For the kernels.

struct NormCall;

// Fills y, and of each window's winner its place in the window (u8, row-major) and its x, undefined where no gradient
// is wanted; and the call's cells.
NORMA_SIMD_KERNEL(norm_max_pool, const Tensor& x, const NormCall& call, const PoolGeometry& geometry, const Tensor& y,
                  const Tensor& place, const Tensor& winner)
// Assigns dx, unless that is undefined, and adds to the affine gradients (NormCall::affine_gradients).
NORMA_SIMD_KERNEL(norm_max_pool_backward, const Tensor& x, const NormCall& call, const PoolGeometry& geometry,
                  const Tensor& dy, const Tensor& place, const Tensor& winner, const Tensor& dx, const Tensor& affine)

}  // namespace norma
