#include "examples/playground/measure.h"

#include <cmath>

#include "norma/ops/norm/moments.h"

namespace examples::playground {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLooked = 4096;  // values of a histogram, taken evenly from all

std::vector<float> some_of(const Tensor& x) {
  const Tensor flat = view::reshape(x, {-1});
  const int64_t step = std::max<int64_t>(1, flat.numel() / kLooked);
  return view::slice(flat, 0, 0, kEnd, step).to_vector<float>();
}

class Bins {
 public:
  Bins(double low, double high, double width) : low_(low), width_(width), counts_(size_t((high - low) / width)) {}
  void add(double x) {
    const double place = std::clamp((x - low_) / width_, 0.0, double(counts_.size()) - 1);
    ++counts_[size_t(place)];
  }
  Json shares(size_t of) const {
    Json list = Json::array();
    for (const double count : counts_) list.push_back(of > 0 ? std::round(1e4 * count / double(of)) / 1e4 : 0);
    return list;
  }

 private:
  double low_, width_;
  std::vector<double> counts_;
};

bool is_flat(float x, Activate f) {
  if (f == Activate::relu) return x <= 0;
  return std::abs(x) > (f == Activate::sigmoid ? 2.9 : 1.45);
}

}  // namespace

Json numbers(const Tensor& x) {
  if (!x.defined()) return nullptr;
  Json list = Json::array();
  for (const double v : x.to_vector<double>()) {
    if (std::isfinite(v)) list.push_back(static_cast<float>(v));
    else list.push_back(nullptr);
  }
  return list;
}

Json histogram(const Tensor& normalized, Activate activation) {
  Bins bins(-kHistogramLimit, kHistogramLimit, kHistogramBin);
  const std::vector<float> values = some_of(normalized);
  double flat = 0;
  for (const float x : values) {
    if (std::isnan(x)) continue;
    bins.add(x);
    flat += is_flat(x, activation);
  }
  return {{"shares", bins.shares(values.size())}, {"flat", flat / double(values.size())}};
}

Json gradient_histogram(const Tensor& gradient) {
  Bins bins(kGradientLow, kGradientHigh, 0.5);
  const std::vector<float> values = some_of(gradient);
  double zero = 0, squares = 0;
  for (const float g : values) {
    if (g == 0) ++zero;
    else if (!std::isnan(g)) bins.add(std::log10(std::abs(double(g))));
    squares += double(g) * g;
  }
  const double rms = std::sqrt(squares / double(values.size()));
  return {{"shares", bins.shares(values.size())},
          {"zero", zero / double(values.size())},
          {"rms", std::isfinite(rms) ? Json(rms) : Json()}};
}

Json batch_statistics(const nn::Norm& norm, const Tensor& received) {
  const Tensor ids = norm.ids;
  const bool apart = norm.domains.count > 0 && ids.defined();
  const Samples samples = apart ? Samples::labels(ids, norm.domains.count) : Samples::whole();
  const Channels channels = norm.has_population() ? norm.grouping.channels : Channels::each();
  const Moments all = moments(received, {samples, Positions::all, channels}, norm.center);
  return {{"mean", numbers(all.mean)}, {"var", numbers(all.var())}};
}

Json population_statistics(const nn::Norm& norm) {
  if (!norm.has_population() || !norm.running_mean.defined()) return nullptr;
  const auto each = [&](const Tensor& shared) {  // of all channels, if these share it
    return shared.numel() == norm.running_mean.numel() ? shared : expand(shared, norm.running_mean.shape());
  };
  return {{"mean", numbers(norm.running_mean)}, {"var", numbers(each(norm.running_var))}};
}

}  // namespace examples::playground
