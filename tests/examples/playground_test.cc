// The playground's engine: that it learns, that settings take effect in a running training, and that nothing which a
// page may send breaks it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "examples/playground/engine.h"

namespace examples::playground {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

struct PlaygroundTest : ::testing::Test {
  Json ask(const Json& request) { return Json::parse(engine.answer(request.dump())); }
  Json set(const Json& settings) { return ask({{"do", "configure"}, {"settings", settings}}); }
  Json step(int64_t count) { return ask({{"do", "step"}, {"count", count}}); }
  Json measure() { return ask({{"do", "measure"}}); }
  std::string error(const Json& reply) { return reply.value("error", ""); }
  std::string type() { return measure()["layers"][0]["type"]; }

  Engine engine;
  // Small and quick: what a test is about decides the rest.
  const Json mlp = {{"network", "mlp"}, {"depth", 2}, {"width", 8}, {"batch", 16}};
  Json with(Json changes) const {
    Json settings = mlp;
    settings.update(changes);
    return settings;
  }
};

TEST_F(PlaygroundTest, LearnsSpirals) {
  set(with({{"data", "spirals"}, {"width", 16}, {"batch", 64}, {"rate", 0.3}, {"depth", 3}}));
  const Json begin = measure();
  for (int i = 0; i < 8; ++i) step(100);
  const Json end = measure();
  EXPECT_LT(begin["population"]["accuracy"], 0.8);
  EXPECT_GT(end["population"]["accuracy"], 0.95);
  EXPECT_GT(end["mini_batch"]["accuracy"], 0.9);
  EXPECT_EQ(end["map"].size(), 1600);
  EXPECT_EQ(end["step"], 800);
}

TEST_F(PlaygroundTest, ASeedFixesTheRunWhateverIsLookedAt) {
  set(with({{"seed", 3}}));
  step(20);
  const Json once = measure()["population"];
  set(with({{"seed", 4}}));
  step(20);
  EXPECT_NE(measure()["population"], once);
  set(with({{"seed", 3}}));
  for (int i = 0; i < 4; ++i) {
    step(5);
    measure();
    ask({{"do", "report"}});
  }
  EXPECT_EQ(measure()["population"], once);
}

TEST_F(PlaygroundTest, EachSharingTakesEffectInTheRunningTraining) {
  const std::vector<std::pair<Json, std::string>> all = {
      {{{"samples", "whole"}}, "BatchNorm"},
      {{{"samples", "chunks"}, {"chunk", 4}}, "GhostBatchNorm(4)"},
      {{{"samples", "each"}, {"channels", "groups"}, {"groups", 2}}, "GroupNorm(2)"},
      {{{"samples", "each"}, {"channels", "all"}}, "LayerNorm"},
      {{{"samples", "each"}}, "InstanceNorm"},
      {{{"samples", "each"}, {"half", true}}, "HalfInstanceNorm"},
      {{{"samples", "each"}, {"positions", "each"}, {"channels", "all"}, {"center", false}}, "RMSNorm"},
      {{{"samples", "domains"}}, "DomainNorm(2)"},
      {{{"enabled", false}}, "Identity"},
      {{{"extended", true}}, "Norm(whole x all x each, variance whole x all x all)"},
      {{{"tanh", true}}, "DynamicTanh"},
      {{{"samples", "chunks"}, {"chunk", 4}, {"extended", true}},
       "Norm(chunks(4) x all x each, variance chunks(4) x all x all)"},
      {{{"channels", "groups"}, {"groups", 4}}, "Norm(whole x all x groups(4))"}};
  Json settings = {{"data", "domains"}, {"depth", 2}, {"width", 8}, {"batch", 8}};
  set(settings);
  int64_t steps = 0;
  for (const auto& [sharing, name] : all) {
    settings["sharing"] = sharing;
    ASSERT_EQ(error(set(settings)), "") << name;
    const Json reply = step(2);
    EXPECT_EQ(error(reply), "") << name;
    EXPECT_EQ(reply["step"], steps += 2) << name;  // goes on, rather than beginning anew
    EXPECT_EQ(type(), name);
    const Json layer = measure()["layers"][0];
    const bool over_samples =
        sharing.value("samples", "whole") != "each" && sharing.value("enabled", true) && !sharing.value("tanh", false);
    EXPECT_EQ(!layer["population"].is_null(), over_samples) << name;
    EXPECT_EQ(ask({{"do", "report"}})["layers"].size(), over_samples ? 2 : 0) << name;
    if (over_samples) {
      EXPECT_EQ(layer["population"]["mean"].size(), layer["batch"]["mean"].size()) << name;
      EXPECT_EQ(layer["population"]["var"].size(), layer["population"]["mean"].size()) << name;
    }
  }
}

TEST_F(PlaygroundTest, GammaAndBetaAreLearnedOrFixed) {
  set(mlp);
  step(5);
  EXPECT_NE(measure()["layers"][0]["gamma"], Json(std::vector<double>(8, 1)));
  set(with({{"affine", false}}));
  step(5);
  EXPECT_TRUE(measure()["layers"][0]["gamma"].is_null());
  set(mlp);  // back, as 1 and 0; and trained again
  EXPECT_EQ(measure()["layers"][0]["gamma"], Json(std::vector<double>(8, 1)));
  step(5);
  EXPECT_NE(measure()["layers"][0]["gamma"], Json(std::vector<double>(8, 1)));
}

TEST_F(PlaygroundTest, FrozenThePopulationStaysAndEstimatedItMoves) {
  set(mlp);
  step(5);
  const Json before = measure()["layers"][0]["population"];
  set(with({{"frozen", true}}));
  step(5);
  EXPECT_EQ(measure()["layers"][0]["population"], before);
  EXPECT_EQ(ask({{"do", "adapt"}})["layers"], 2);
  const Json adapted = measure()["layers"][0]["population"];
  EXPECT_NE(adapted, before);
  set(mlp);
  EXPECT_EQ(ask({{"do", "precise"}})["layers"], 2);
  EXPECT_NE(measure()["layers"][0]["population"], adapted);
}

TEST_F(PlaygroundTest, AShiftOfTheTestDomainIsUndoneByNewStatistics) {
  set({{"depth", 2}, {"width", 8}, {"rate", 0.1}});
  step(80);
  const double before = measure()["population"]["accuracy"];
  set({{"depth", 2}, {"width", 8}, {"rate", 0.1}, {"shifted", true}});
  const double shifted = measure()["population"]["accuracy"];
  ask({{"do", "adapt"}});
  const double adapted = measure()["population"]["accuracy"];
  EXPECT_LT(shifted, before - 0.1);
  EXPECT_GT(adapted, before - 0.05);
}

TEST_F(PlaygroundTest, HistogramsCountWhatIsThere) {
  const Json h = histogram(tensor({-7.f, -3.f, 0.1f, 0.2f, 5.9f}, {5}), Activate::sigmoid);
  EXPECT_EQ(h["shares"].size(), 24);
  EXPECT_FLOAT_EQ(h["shares"][0], 0.2);
  EXPECT_FLOAT_EQ(h["shares"][6], 0.2);
  EXPECT_FLOAT_EQ(h["shares"][12], 0.4);
  EXPECT_FLOAT_EQ(h["shares"][23], 0.2);
  EXPECT_FLOAT_EQ(h["flat"], 0.6);
  EXPECT_FLOAT_EQ(histogram(tensor({-7.f, 3.f}, {2}), Activate::relu)["flat"], 0.5);
  const Json g = gradient_histogram(tensor({0.f, 0.02f, -0.02f, 1e-20f}, {4}));
  EXPECT_FLOAT_EQ(g["zero"], 0.25);
  EXPECT_FLOAT_EQ(g["shares"][0], 0.25);  // what is below the axis
  EXPECT_FLOAT_EQ(g["shares"][20], 0.5);  // log10 0.02 is -1.7
  EXPECT_NEAR(g["rms"], 0.01414, 1e-4);
}

TEST_F(PlaygroundTest, SortedBatchesComeInRunsOfAClass) {
  Generator random(1);
  const DataSets sets = make_data(DataKind::digits, InputScale::unit, BatchOrder::sorted, 1);
  const std::vector<int64_t> labels = sets.test.labels.to_vector<int64_t>();
  for (size_t i = 0; i < 200; i += kRun)
    for (size_t k = 1; k < kRun; ++k) ASSERT_EQ(labels[i], labels[i + k]) << i;
  std::vector<int64_t> order = draw_order(sets.train.labels, BatchOrder::sorted, random);
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < std::ssize(order); ++i) ASSERT_EQ(order[size_t(i)], i);
  EXPECT_EQ(std::ssize(order), sets.train.labels.numel());
}

TEST_F(PlaygroundTest, InputsComeInTheScaleThatIsWanted) {
  const auto range = [](InputScale scale) {
    const std::vector<double> x =
        make_data(DataKind::digits, scale, BatchOrder::shuffled, 1).train.x.to_vector<double>();
    const auto [low, high] = std::ranges::minmax(x);
    return std::pair(low, high);
  };
  EXPECT_EQ(range(InputScale::unit), std::pair(0., 1.));
  EXPECT_EQ(range(InputScale::large), std::pair(10., 100.));
  EXPECT_LT(range(InputScale::standard).first, -0.3);
}

TEST_F(PlaygroundTest, ADivergedTrainingSaysSoAndStops) {
  set({{"network", "mlp"},
       {"depth", 3},
       {"width", 32},
       {"input", "standard"},
       {"batch", 64},
       {"rate", 3},
       {"sharing", {{"enabled", false}}}});
  const Json reply = step(50);
  EXPECT_TRUE(reply["diverged"]);
  EXPECT_LT(reply["step"], 50);
  EXPECT_EQ(step(5)["step"], reply["step"]);
  EXPECT_EQ(error(measure()), "");
  ask({{"do", "restart"}});
  EXPECT_FALSE(step(1)["diverged"]);
}

TEST_F(PlaygroundTest, ACellOfASingleValueIsAnErrorAndTheNextChoiceGoesOn) {
  set(mlp);
  step(3);
  set(with({{"sharing", {{"samples", "each"}}}}));  // instance norm, of a layer without positions
  EXPECT_THAT(error(step(1)), HasSubstr("single element"));
  set(with({{"sharing", {{"samples", "each"}, {"channels", "all"}}}}));
  EXPECT_EQ(step(1)["step"], 4);
}

TEST_F(PlaygroundTest, WhatAPageMayNotSendIsRefusedByName) {
  set(mlp);
  step(3);
  const std::vector<std::pair<Json, std::string>> all = {
      {{{"depth", 1e9}}, "depth is 1000000000.0: want a number from 1 to 8"},
      {{{"depth", 2.5}}, "depth is 2.5: want a whole number"},
      {{{"depth", "2"}}, "depth is \"2\""},
      {{{"width", nullptr}}, "width is null"},
      {{{"rate", -1}}, "rate is -1"},
      {{{"rate", 1e300}}, "rate"},
      {{{"batch", 0}}, "batch is 0"},
      {{{"data", "cats"}}, "data is \"cats\": want one of digits, spirals, domains"},
      {{{"data", std::string(5000, 'x')}}, "..."},
      {{{"affine", 1}}, "affine is 1: want true or false"},
      {{{"sharing", 7}}, "wants an object"},
      {{{"sharing", {{"chunk", -4}}}}, "chunk is -4"},
      {{{"sharing", {{"size", 4}}}}, "no setting \"size\""},
      {{{"surprise", 1}}, "no setting \"surprise\""},
      {{{"data", "spirals"}}, "no pixels"},
      {{{"sharing", {{"samples", "domains"}}}}, "no domains"},
      {{{"sharing", {{"positions", "each"}}}}, "single positions"},
      {{{"sharing", {{"samples", "each"}, {"channels", "groups"}, {"groups", 3}}}}, "do not divide"},
      {{{"sharing", {{"half", true}}}}, "half norm"}};
  for (const auto& [settings, words] : all) {
    const std::string said = error(set(settings));
    EXPECT_THAT(said, HasSubstr(words)) << settings;
    EXPECT_LT(said.size(), 300) << settings;
    EXPECT_EQ(type(), "BatchNorm") << settings;
  }
  EXPECT_EQ(step(1)["step"], 4);
}

TEST_F(PlaygroundTest, RequestsThatAreNoneAreAnswered) {
  for (const std::string request :
       {"", "{", "[]", "7", "null", "{\"do\": 1}", "{\"do\": \"fly\"}", "{\"do\": \"configure\"}", "{\"do\": \"step\"}",
        "{\"do\": \"step\", \"count\": 1e18}", "{\"do\": \"step\", \"count\": -1}", "\xff\xfe", "{\"do\": \"\xff\"}"})
    EXPECT_NE(error(Json::parse(engine.answer(request))), "") << request;
  EXPECT_THAT(error(Json::parse(engine.answer(std::string(1'000'000, '[')))), HasSubstr("bytes"));
  EXPECT_NE(error(Json::parse(engine.answer(std::string(9'000, '[')))), "");
  EXPECT_EQ(step(1)["step"], 1);
}

}  // namespace
}  // namespace examples::playground
