// A convolution and the normalization behind it as one pass over the output, where no gradient is wanted.
#pragma once

#include <optional>

#include "norma/ops/conv/conv2d.h"
#include "norma/ops/norm/norm.h"

namespace norma {

// norm(conv2d(x, weight, bias, options), grouping, statistics, gamma, beta, after), and the same bits; or of that
// max_pool2d in windows of `max_pool`. In one pass where nothing is recorded, the statistics are given ones of each
// channel, windows are 2 x 2 without a residual, and the CPU's kernel for this convolution can.
Tensor conv2d_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
                   const Grouping& grouping, const Statistics& statistics, const Tensor& gamma, const Tensor& beta,
                   const NormOptions& after = {}, const std::optional<Pair>& max_pool = {});

}  // namespace norma
