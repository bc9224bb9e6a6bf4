// What the playground's page draws of a layer: histograms, and statistics by channel.
#pragma once

#include <nlohmann/json.hpp>

#include "examples/playground/network.h"

namespace examples::playground {

// Of what the activation receives: shares of the values in bins of 0.5 from -6 to 6; what lies outside counts at the
// ends, a NaN nowhere. `flat`: the share where the activation has next to no slope: below a fifth of its largest, or
// for ReLU none at all.
nlohmann::json histogram(const Tensor& normalized, Activate activation);
inline constexpr double kHistogramLimit = 6, kHistogramBin = 0.5;

// Of gradients, by their size: shares of log10 |g| in bins of 0.5 from -12 to 1. `zero`: the share that is exactly 0,
// which stands in no bin. `rms`: the root of the mean square.
nlohmann::json gradient_histogram(const Tensor& gradient);
inline constexpr double kGradientLow = -12, kGradientHigh = 1;

// Mean and variance by channel, of the whole batch; or by domain and channel, where the norm has domains.
nlohmann::json batch_statistics(const nn::Norm& norm, const Tensor& received);
// The same of the population; null where the norm has none.
nlohmann::json population_statistics(const nn::Norm& norm);

nlohmann::json numbers(const Tensor& x);  // a list; null if x is undefined, and for what is not finite

}  // namespace examples::playground
