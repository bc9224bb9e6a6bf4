// What command lines say of norms.
#include "examples/common/norm_options.h"

#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::nn;
using namespace norma::test;

TEST(NormOptions, ANormIsMadeFromItsName) {
  const std::vector<std::pair<std::string, std::string>> types = {
      {"bn", "BatchNorm"},
      {"bn:16", "GhostBatchNorm(16)"},
      {"gn:8", "GroupNorm(8)"},
      {"ln", "LayerNorm"},
      {"in", "InstanceNorm"},
      {"hin", "HalfInstanceNorm"},
      {"rms", "RMSNorm"},
      {"brn", "BatchRenorm"},
      {"none", "Identity"},
      {"ws+gn:8", "GroupNorm(8)"},
      {"frozen", "FrozenBatchNorm"},
      {"ws+bn", "BatchNorm"},
      {"frn", "FilterResponseNorm"},
      {"dyt", "DynamicTanh"},
      {"dye", "DynamicErf"},
      {"evo", "EvoNormS0"},
      {"evo:4", "EvoNormS0"},
      {"ebn", "Norm(whole x all x each, variance whole x all x all)"}};
  for (const auto& [text, type] : types) {
    const NormChoice choice = parse_norm(text);
    Norm layer = choice.layer(16);
    layer.activation = Activation::relu();
    EXPECT_EQ(layer.type(), type);
    EXPECT_EQ(choice.standardized, text.starts_with("ws+"));
    const Tensor x = random({4, 3, 3, 16}).to(f32), y = layer(x);
    EXPECT_GE(min(y).item(), 0);
    EXPECT_EQ(text == "none", bool(same_bits(y, relu(x))));
  }
  for (const char* text : {"", "BN", "bn:", "bn:0", "bn:-2", "bn:2x", "bn:1e3", "gn", "gn:", "ln:2", "ws", "ws+",
                           "ws+none", "ws+ws+bn", "none:1", "bn ", "frozen:1", "gn:99999999999999999999"})
    expect_error([&] { parse_norm(text); },
                 fmt::format("[parse_norm] '{}' is none of bn, bn:K, ebn, gn:G, ln, in, hin", text));
  expect_error([] { parse_norm("gn:3").layer(16); }, "[GroupNorm] 16 channels do not divide into 3 groups");
}

TEST(NormOptions, SyncSpansAllWorkersOrGroupsOfThem) {
  EXPECT_EQ(parse_norm("sync").layer(4).type(), "BatchNorm");  // of one worker
  EXPECT_EQ(parse_norm("sync:2").layer(4).type(), "BatchNorm");
  for (const char* text : {"sync:", "sync:0", "sync:x", "sync2"})
    expect_error([&] { parse_norm(text); }, fmt::format("[parse_norm] '{}' is none of", text));
  run_workers({.count = 1}, [](Communicator& me) { EXPECT_EQ(parse_norm("sync", &me).layer(4).type(), "BatchNorm"); });
  run_workers({.count = 5}, [](Communicator& me) {
    const auto group = [&](const char* text) {
      const Norm layer = parse_norm(text, &me).layer(4);
      EXPECT_EQ(layer.type(), "SyncBatchNorm");
      const Communicator& comm = *layer.grouping.samples.comm;
      return std::pair(comm.size(), comm.rank());
    };
    EXPECT_EQ(group("sync"), std::pair(5, me.rank()));
    EXPECT_EQ(group("sync:2"), std::pair(me.rank() < 4 ? 2 : 1, me.rank() % 2));  // 0 and 1, 2 and 3, 4
    EXPECT_EQ(group("sync:9"), std::pair(5, me.rank()));
    EXPECT_TRUE(parse_norm("ws+sync:3", &me).standardized);
  });
}

TEST(NormOptions, ConfigureTheNormsOfAModel) {
  Sequential model(BatchNorm(4), GroupNorm(2, 4));
  auto& norm = dynamic_cast<Norm&>(model[0]);
  const auto configured = [&](const std::string& population, const std::string& eval_stats) {
    NormOptions options;
    options.population = population;
    options.eval_stats = eval_stats;
    options.configure(model);
    return options;
  };
  configured("", "population");
  EXPECT_EQ(norm.estimator.momentum, 0.1);
  configured("ema:0.25", "minibatch");
  EXPECT_EQ(norm.estimator.momentum, 0.25);
  EXPECT_EQ(norm.evaluation, EvalStatistics::mini_batch);
  configured("", "mix:0.25");
  EXPECT_EQ(norm.evaluation, EvalStatistics::mixed);
  EXPECT_EQ(norm.alpha, 0.25);
  configured("", "pseudo:16");
  EXPECT_EQ(norm.pseudo_samples, 16);
  configured("", "renorm");
  EXPECT_EQ(norm.evaluation, EvalStatistics::renorm);
  for (const char* text : {"mix", "mix:", "mix:1.5", "mix:x", "pseudo:0", "pseudo:-1"})
    expect_error([&] { configured("", text); }, "[--eval-stats] '");
  configured("cumulative", "population");
  EXPECT_FALSE(norm.estimator.momentum);
  for (const char* text :
       {"ema", "ema:", "ema:2", "ema:-1", "ema:x", "precise", "precise:0", "precise:1.5", "precise:5k", "x"})
    expect_error([&] { configured(text, "population"); }, "[--population] '");
  expect_error([&] { configured("", "batch"); },
               "[--eval-stats] 'batch' is none of population, minibatch, mix:A, pseudo:N, renorm");
}

}  // namespace
}  // namespace examples
