#include "examples/common/norm_options.h"

#include <CLI/CLI.hpp>
#include <charconv>

namespace examples {
namespace {

using namespace norma;

constexpr const char* kNorms =
    "bn, bn:K, ebn, gn:G, ln, in, hin, rms, brn, frn, dyt, dye, evo, evo:G, sync, sync:K, frozen (before these: ws+), "
    "none";

// All of the text as a number of at least `least`.
template <class T>
T number(const char* option, std::string_view text, T least, T most) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && end == text.data() + text.size() && value >= least && value <= most, option,
        "'{}' is no number in [{}, {}]", text, least, most);
  return value;
}

}  // namespace

NormChoice parse_norm(std::string_view text, Communicator* me) {
  static const std::map<std::string_view, nn::Norm (*)(int64_t c, int64_t n)> makers = {
      {"bn", [](int64_t c, int64_t) { return nn::BatchNorm(c); }},
      {"bn:", [](int64_t c, int64_t n) { return nn::BatchNorm(c, {.normalization_batch = n}); }},
      {"ebn", [](int64_t c, int64_t) { return nn::ExtendedBatchNorm(c); }},
      {"gn:", [](int64_t c, int64_t n) { return nn::GroupNorm(n, c); }},
      {"ln", [](int64_t c, int64_t) { return nn::LayerNorm(c); }},
      {"in", [](int64_t c, int64_t) { return nn::InstanceNorm(c); }},
      {"hin", [](int64_t c, int64_t) { return nn::HalfInstanceNorm(c); }},
      {"rms", [](int64_t c, int64_t) { return nn::RMSNorm(c); }},
      {"brn", [](int64_t c, int64_t) { return nn::BatchRenorm(c); }},
      {"frn", [](int64_t c, int64_t) { return nn::FilterResponseNorm(c); }},
      {"dyt", [](int64_t c, int64_t) { return nn::DynamicTanh(c); }},
      {"dye", [](int64_t c, int64_t) { return nn::DynamicErf(c); }},
      {"evo", [](int64_t c, int64_t) { return nn::EvoNormS0(c); }},
      {"evo:", [](int64_t c, int64_t n) { return nn::EvoNormS0(c, n); }},
      {"sync", [](int64_t c, int64_t) { return nn::BatchNorm(c); }},  // of one worker
      {"sync:", [](int64_t c, int64_t) { return nn::BatchNorm(c); }},
      {"frozen", [](int64_t c, int64_t) { return nn::FrozenBatchNorm(c); }},
      {"none", [](int64_t c, int64_t) { return nn::Norm(c, {.identity = true}); }}};
  const size_t begin = text.starts_with("ws+") ? 3 : 0, digits = std::min(text.find_first_of("123456789"), text.size());
  int64_t n = 0;  // as which all that follows is read, if anything does
  const bool whole =
      std::from_chars(text.data() + digits, text.data() + text.size(), n).ptr == text.data() + text.size();
  const auto found = digits < begin ? makers.end() : makers.find(text.substr(begin, digits - begin));
  check(found != makers.end() && whole && found->first.ends_with(':') == (n > 0) && text != "ws+none", "parse_norm",
        "'{}' is none of {}", text, kNorms);
  if (found->first.starts_with("sync") && me && me->size() > 1) {
    Communicator* const group = n > 0 ? &me->split(me->rank() / n) : me;
    return {begin > 0, [group](int64_t channels) { return nn::SyncBatchNorm(channels, *group); }};
  }
  return {begin > 0, [make = found->second, n](int64_t channels) { return make(channels, n); }};
}

void NormOptions::add_to(CLI::App& app) {
  app.add_option("--norm", norm, kNorms);
  app.add_option("--population", population,
                 "ema:M (momentum), cumulative, or precise:N (of N samples, before each evaluation)")
      ->default_str("as the norm has it");
  app.add_option("--eval-stats", eval_stats,
                 "what batch norms use in evaluation: population, minibatch, mix:A (A of the mini-batch's, in [0, 1], "
                 "the rest of the population's), pseudo:N (as if the population were worth N samples) or renorm (the "
                 "mini-batch's, corrected towards the population)");
}

void NormOptions::configure(nn::Module& model) const {
  const std::string_view text = population;
  const bool ema = text.starts_with("ema:");
  check(ema || text.starts_with("precise:") || text == "cumulative" || text.empty(), "--population",
        "'{}' is none of ema:M, cumulative, precise:N", text);
  const std::string_view in_evaluation = eval_stats;
  const bool mix = in_evaluation.starts_with("mix:"), pseudo = in_evaluation.starts_with("pseudo:");
  check(mix || pseudo || eval_stats == "population" || eval_stats == "minibatch" || eval_stats == "renorm",
        "--eval-stats", "'{}' is none of population, minibatch, mix:A, pseudo:N, renorm", eval_stats);
  const double alpha = mix ? number("--eval-stats", in_evaluation.substr(4), 0.0, 1.0) : 0,
               samples = pseudo ? number("--eval-stats", in_evaluation.substr(7), 1e-9, 1e18) : 0;
  const double momentum = ema ? number("--population", text.substr(4), 0.0, 1.0) : 0;
  precise_samples();  // throws what there is to throw
  nn::for_each_norm(model, [&](const std::string&, nn::Norm& layer) {
    if (ema) layer.estimator = nn::Estimator::ema(momentum);
    if (text == "cumulative") layer.estimator = nn::Estimator::cumulative();
    if (eval_stats == "minibatch") layer.evaluation = nn::EvalStatistics::mini_batch;
    if (eval_stats == "renorm") layer.evaluation = nn::EvalStatistics::renorm;
    if (mix || pseudo) layer.evaluation = nn::EvalStatistics::mixed;
    layer.alpha = alpha, layer.pseudo_samples = samples;
  });
}

int64_t NormOptions::precise_samples() const {
  const std::string_view text = population;
  return text.starts_with("precise:") ? number<int64_t>("--population", text.substr(8), 1, INT64_MAX) : 0;
}

void NormOptions::estimate(nn::Module& model, const data::DataLoader& train) const {
  if (const int64_t samples = precise_samples()) nn::precise_bn(model, train, {.samples = samples});
}

std::map<std::string, std::string> NormOptions::fingerprint() const {
  return {{"norm", norm}, {"population", population}, {"eval_stats", eval_stats}};
}

}  // namespace examples
