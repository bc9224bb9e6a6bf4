// The five experiments of newer_norms, each a file of its own in this folder.
#pragma once

#include "examples/common/result.h"

namespace examples::newer_norms {

extern const Experiment kMixing, kEntropy, kExtended, kFilterResponse, kDynamicTanh;

}  // namespace examples::newer_norms
