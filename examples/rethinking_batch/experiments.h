// The ten experiments of rethinking_batch, each a file of its own in this folder.
#pragma once

#include "examples/common/result.h"

namespace examples {

extern const Experiment kPopulation, kSamples, kAccumulation, kBatchSize, kMinibatchEval, kFrozen, kDomainShift,
    kMultiDomain, kLeakage, kSmallBatch;

}  // namespace examples
