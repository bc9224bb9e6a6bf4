// What why_norm measures by, on numbers that are known; the program on tiny data, whose verdicts mean nothing; and its
// quick run, of which the verdicts that no seed changes are held.
#include "examples/common/digits.h"
#include "examples/why_norm/bench.h"
#include "tests/examples/program.h"

namespace examples::why_norm {
namespace {

using namespace norma::test;

struct WhyNormBench : ::testing::Test {
  WhyNormBench() : lab{draw_digits(100, 1), draw_digits(40, 2), {}} {
    lab.scale = data::channel_stats(lab.train.images);
  }
  examples::Run run(const Mlp& options, uint64_t seed = 1) const {
    return examples::Run(lab, seed, mlp(lab, options), kPlain);
  }
  Lab lab;
};

TEST_F(WhyNormBench, NetworksOfOneSeedStartAlikeWithAnyNorm) {
  const auto weights = [](examples::Run net) {
    std::vector<std::vector<float>> list;
    for (const Tensor& p : net.model.parameters())
      if (p.rank() == 2) list.push_back(p.to_vector<float>());
    return list;
  };
  const auto none = weights(run({.norm = "none"}));
  EXPECT_EQ(none.size(), 4u);
  EXPECT_EQ(none, weights(run({.norm = "bn"})));
  EXPECT_EQ(none, weights(run({.norm = "ln", .affine = false, .noise = true})));
  EXPECT_NE(none, weights(run({.norm = "none"}, 2)));
  EXPECT_NE(none[0], weights(run({.norm = "none", .squash = Squash::relu}))[0]);
}

TEST_F(WhyNormBench, GammaAndBetaAreLearnedUnlessTheyAreFixed) {
  const auto parameters = [&](const std::string& norm, bool affine) {
    return run({.norm = norm, .affine = affine}).model.parameters().size();
  };
  const size_t layers = 4 * 2;  // weights and biases
  for (const char* norm : {"bn", "ln"}) {
    EXPECT_EQ(parameters(norm, true), layers + 3 * 2);
    EXPECT_EQ(parameters(norm, false), layers);
  }
}

TEST_F(WhyNormBench, InputsComeInTheUnitsThatAreAsked) {
  examples::Run net = run({.range = std::pair(10., 100.)});
  const Tensor pixels = lab.test.images.to(f32) * (90. / 255) + 10;
  EXPECT_LT(max(abs(net.model[0](first(lab, lab.test, 40).images) - pixels)).item(), 1e-3);
}

TEST_F(WhyNormBench, ActivationInputsAreWhatTheNormsHandOn) {
  examples::Run net = run({.norm = "bn"});
  net.model.train();
  const std::vector<Tensor> inputs = activation_inputs(net.model, first(lab, lab.test, 40).images);
  ASSERT_EQ(inputs.size(), 3u);
  for (const Tensor& x : inputs) {
    const Units u = units(x);
    for (size_t c = 0; c < 100; ++c) {
      EXPECT_NEAR(u.mean[c], 0, 1e-5);
      EXPECT_NEAR(u.deviation[c], 1, 0.01);
    }
  }
  nn::for_each_norm(net.model,
                    [](const std::string&, nn::Norm& norm) { EXPECT_EQ(norm.num_batches_tracked.item(), 0); });
}

TEST_F(WhyNormBench, UnitsMoveByTheirOwnDeviations) {
  const Units before = units(tensor({{1., 10.}, {3., 30.}})), after = units(tensor({{2., 10.}, {4., 70.}}));
  EXPECT_EQ(before.mean, (std::vector<double>{2, 20}));
  EXPECT_EQ(before.deviation, (std::vector<double>{1, 10}));
  EXPECT_DOUBLE_EQ(movement(before, after), (1 + 2) / 2.);
  // Means of 2 and 3 with deviations of 1; of 20 and 40 with 10 and 30.
  EXPECT_NEAR(wandering({before, after}), (std::sqrt(0.5) + std::sqrt(200.) / 20) / 2, 1e-12);
  EXPECT_EQ(decades({0.1, 100}), (Values{-1, 2}));
}

TEST_F(WhyNormBench, TheGradientIsThatOfTheLossAndLeavesNothingBehind) {
  examples::Run net = run({.norm = "bn"});
  net.model.train();
  const data::Batch batch = first(lab, lab.train, 50);
  const Gradient g = gradient(net.model, batch);
  std::vector<Tensor> parameters;
  for (const Tensor& p : net.model.parameters()) {
    parameters.push_back(p.detach());
    EXPECT_FALSE(p.grad().defined());
  }
  // A small step down loses what the gradient says.
  const std::vector<Tensor> here = copies(parameters);
  const double step = 1e-3;
  for (size_t i = 0; i < parameters.size(); ++i) parameters[i].copy_from(here[i] - step * g.parts[i]);
  const double expected = step * dot(g.parts, g.parts);
  EXPECT_NEAR(g.loss - gradient(net.model, batch).loss, expected, 0.1 * expected);
  EXPECT_NEAR(distance(parameters, here), step * length(g.parts), 1e-6);
  restore(parameters, here);
  EXPECT_EQ(gradient(net.model, batch).loss, g.loss);
  // Without a norm, gamma and beta are there and have none.
  examples::Run none = run({.norm = "none"});
  EXPECT_EQ(gradient(none.model, batch).parts.size(), none.model.parameters().size());
}

TEST_F(WhyNormBench, NoiseIsDrawnByStepAndIsOfTrainingAlone) {
  examples::Run net = run({.norm = "bn", .noise = true});
  const Tensor images = first(lab, lab.test, 40).images;
  const auto inputs = [&] { return activation_inputs(net.model, images)[1].to_vector<float>(); };
  net.model.train();
  const std::vector<float> silent = inputs();
  draw_noise(net, 3, 100);
  const std::vector<float> third = inputs();
  draw_noise(net, 4, 100);
  EXPECT_NE(third, silent);
  EXPECT_NE(inputs(), third);
  draw_noise(net, 3, 100);
  EXPECT_EQ(inputs(), third);
  const Units u = units(activation_inputs(net.model, images)[0]);  // of mean 0 and deviation 1 before it
  for (size_t c = 0; c < 100; ++c) {
    EXPECT_LE(std::abs(u.mean[c]), kShift + 1e-3);
    EXPECT_TRUE(u.deviation[c] > 0.98 / kScale && u.deviation[c] < kScale + 1e-3) << u.deviation[c];
  }
  net.model.eval();
  const std::vector<float> evaluated = inputs();
  draw_noise(net, 5, 100);
  EXPECT_EQ(inputs(), evaluated);
}

// ---- The program ----

const std::vector<std::string> kNames = {"activations",    "covariate_shift", "noise",       "smoothness",
                                         "depth",          "learning_rate",   "input_scale", "affine",
                                         "batch_and_rate", "batch_of_one"};

class WhyNorm : public ::testing::Test {
 protected:
  // What a run found, experiment by experiment.
  nlohmann::ordered_json run(const Arguments& more) const {
    Arguments arguments = {"all", "--quick", "--synthetic", "--out", folder / "out", "--json", folder / "all.json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Program program(NORMA_WHY_NORM, arguments, folder / "output");
    EXPECT_EQ(program.wait(), 0) << program.output();
    return nlohmann::ordered_json::parse(Program::text_of(folder / "all.json"));
  }
  TemporaryFolder folder;
};
class WhyNormQuick : public WhyNorm {};

TEST_F(WhyNorm, MeasuresAllTenAndTheSameOnAnyNumberOfThreads) {
  const auto all = run({"--limit", "60", "--seeds", "2", "--threads", "2"});
  ASSERT_EQ(all.size(), kNames.size());
  for (size_t i = 0; i < kNames.size(); ++i) {
    SCOPED_TRACE(kNames[i]);
    EXPECT_EQ(all[i]["name"], kNames[i]);
    EXPECT_FALSE(all[i]["parts"].empty());
    for (const auto& table : all[i]["measured"])
      for (const auto& value : table["values"]) {
        EXPECT_EQ(value["by_seed"].size(), table.contains("heat") ? 1u : 2u) << table["title"] << value;
        EXPECT_TRUE(value["mean"].is_number()) << table["title"] << value;
      }
    EXPECT_EQ(Program::text_of(folder / ("out/" + kNames[i] + ".csv")).substr(0, 22), "panel,curve,x,y,spread");
  }
  const std::string report = Program::text_of(folder / "out/report.html");
  EXPECT_NE(report.find("<title>Why normalize</title>"), std::string::npos);
  EXPECT_EQ(report.find("src=\"http"), std::string::npos);

  const auto again = run({"--limit", "60", "--seeds", "2", "--threads", "1"});
  for (size_t i = 0; i < kNames.size(); ++i) EXPECT_EQ(again[i]["measured"], all[i]["measured"]) << kNames[i];
}

// All of --quick, a minute or two. Held are the verdicts that are far from their bounds.
TEST_F(WhyNormQuick, FindsWhatIsCertain) {
  const auto all = run({});
  std::map<std::string, std::string> verdicts;
  for (const auto& finding : all)
    for (const auto& part : finding["parts"]) verdicts[part["claim"]] = part["verdict"];
  for (const std::string claim :
       {"sigmoid: from the last hidden layer to the first, the gradient changes by more decades without a norm than "
        "with "
        "batch norm",
        "sigmoid: without a norm, more is wrong after training than with batch norm",
        "ReLU: the largest rate that trains is higher with batch norm than without a norm",
        "with batch norm, [10, 100] is no worse than [0, 1]"})
    EXPECT_EQ(verdicts[claim], "held") << claim;
}

}  // namespace
}  // namespace examples::why_norm
