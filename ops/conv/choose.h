// Which algorithm of the CPU does a convolution: by Conv2dOptions::algorithm, by the environment variable NORMA_CONV,
// or by shape.
#pragma once

#include "norma/ops/conv/kernels.h"

namespace norma {

const char* name_of(ConvAlgorithm algorithm);  // as NORMA_CONV has it: "winograd"

// True for `automatic`.
bool can_do(ConvAlgorithm algorithm, const ConvGeometry& geometry, DType dtype);

namespace cpu {

// The vectorised kernel that does a convolution, or null where that is im2col's. `filters` are the channels that its
// vectors run over: those of y or, in backward_input, of x. An error where NORMA_CONV names no algorithm.
const ConvKernel* vectorised(const ConvGeometry& geometry, DType dtype, int64_t filters);

}  // namespace cpu
}  // namespace norma
