// Declares the CPU kernel for sets of one row each, for ops/norm/cpu_sets.cc, which calls it. Not a public header.
#pragma once

#include "norma/core/simd/vectors.h"
#include "norma/ops/norm/kernels.h"

NORMA_SIMD_BEGIN
namespace norm_kernel {

template <class T>
void row_sets_forward(const Tensor& x, const NormCall& call, const NormOutputs& to);
template <class T>
void row_sets_backward(const Tensor& x, const NormCall& call, const NormGradients& to);
template <class T>
void row_sets_moments(const Tensor& x, const NormCall& call);

}  // namespace norm_kernel
NORMA_SIMD_END
