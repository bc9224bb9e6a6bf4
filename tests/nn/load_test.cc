// nn::load of what fits: a prefix, other names, not strict; what it returns, and that it is all or nothing.
#include <filesystem>

#include "norma/nn/checkpoint.h"
#include "norma/nn/layers.h"
#include "norma/nn/optim/sgd.h"
#include "norma/nn/sequential.h"
#include "norma/nn/state.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;
using Names = std::vector<std::string>;

std::string temporary(const std::string& name) {
  return (std::filesystem::path(testing::TempDir()) / ("norma_load_" + name + ".safetensors")).string();
}

struct Model : Module {
  explicit Model(int64_t classes) : head(3, classes) {}
  Linear backbone{4, 3}, head;
  NORMA_VISIT(backbone, head)
};

TEST(Load, ReturnsWhatItRead) {
  const std::string path = temporary("all");
  Model a(2), b(2);
  save(a, path);
  const LoadResult result = load(b, path);
  EXPECT_EQ(result.loaded, (Names{"backbone.weight", "backbone.bias", "head.weight", "head.bias"}));
  EXPECT_TRUE(result.left.empty() && result.missing.empty());
}

TEST(Load, APrefixReadsAPartOfTheFile) {
  const std::string path = temporary("prefix");
  Model model(2);
  save(model, path);
  Linear backbone(4, 3);
  const LoadResult result = load(backbone, path, {.prefix = "backbone."});
  EXPECT_TRUE(same_bits(backbone.weight, model.backbone.weight) && same_bits(backbone.bias, model.backbone.bias));
  EXPECT_EQ(result.loaded, (Names{"backbone.weight", "backbone.bias"}));
  EXPECT_EQ(result.left, (Names{"head.weight", "head.bias"}));
  expect_error([&] { load(backbone, path, {.prefix = "bakbone."}); },
               fmt::format("[load '{}'] it has nothing for the model under names that begin with 'bakbone.'", path));
  Linear other(4, 3, {.bias = false});  // strict: all that has the prefix
  expect_error([&] { load(other, path, {.prefix = "backbone."}); }, "does not fit the model:\n  unknown: bias [3]");
}

TEST(Load, WithoutStrictTakesWhatFits) {
  const std::string path = temporary("loose");
  Model pretrained(2);
  save(pretrained, path);
  struct Other : Module {
    Linear backbone{4, 3}, extra{3, 3};
    NORMA_VISIT(backbone, extra)
  } model;
  const Tensor extra = model.extra.weight.clone(), weight = model.backbone.weight.clone();
  expect_error([&] { load(model, path); }, "missing: extra.weight [3, 3]");
  EXPECT_TRUE(same_bits(model.backbone.weight, weight));
  const LoadResult result = load(model, path, {.strict = false});
  EXPECT_TRUE(same_bits(model.backbone.weight, pretrained.backbone.weight));
  EXPECT_TRUE(same_bits(model.extra.weight, extra));
  EXPECT_EQ(fmt::format("{}", result),
            "loaded: backbone.weight, backbone.bias\n"
            "left: head.weight, head.bias\n"
            "missing: extra.weight, extra.bias");
  Sequential nothing(Linear(4, 3));
  expect_error([&] { load(nothing, path, {.strict = false}); }, "it has nothing for the model");
}

// Another number of classes is an error even so, until the file's head is left out by name.
TEST(Load, WithoutStrictAShapeStillHasToFit) {
  const std::string path = temporary("shape");
  Model pretrained(5), model(2);
  save(pretrained, path);
  const Tensor before = model.backbone.weight.clone();
  expect_error([&] { load(model, path, {.strict = false}); }, "  head.weight: shape [5, 3], the model has [2, 3]");
  EXPECT_TRUE(same_bits(model.backbone.weight, before)) << "nothing has been changed";
  const auto without_head = [](const std::string& name) { return name.starts_with("head.") ? "" : name; };
  const LoadResult result = load(model, path, {.strict = false, .rename = without_head});
  EXPECT_EQ(result.missing, (Names{"head.weight", "head.bias"}));
  EXPECT_EQ(result.left, (Names{"head.weight", "head.bias"}));
  EXPECT_TRUE(same_bits(model.backbone.weight, pretrained.backbone.weight));
}

TEST(Load, Renames) {
  const std::string path = temporary("rename");
  Linear fc(4, 3), got(4, 3);
  save_safetensors(path, {{"net.w", fc.weight.detach()}, {"net.b", fc.bias.detach()}}, {{"layout", "norma"}});
  const LoadResult result = load(got, path, {.prefix = "net.", .rename = {{"w", "weight"}, {"b", "bias"}}});
  EXPECT_TRUE(same_bits(got.weight, fc.weight) && same_bits(got.bias, fc.bias));
  EXPECT_EQ(result.loaded, (Names{"net.w", "net.b"}));
  load(got, path, {.rename = [](const std::string& name) { return name == "net.w" ? "weight" : "bias"; }});
  expect_error([&] { load(got, path, {.rename = [](const std::string&) { return "weight"; }}); },
               fmt::format("[load '{}'] both 'net.w' and 'net.b' become 'weight'", path));
  expect_error(
      [&] {
        load(got, path, {.prefix = "net.", .rename = {{"w", "weight"}}});
      },
      "does not fit the model:\n  missing: bias [3]\n  unknown: b [3]");
  expect_error([&] { load(got, path, {.rename = std::function<std::string(const std::string&)>()}); }, "[load '");
}

TEST(Load, PartsOfWhatPyTorchWrote) {
  const std::string path = std::string(NORMA_GOLDEN_DIR) + "/torch_cnn.safetensors";
  const auto make = [](int64_t classes) {
    return Sequential(Conv2d(1, 4, 3, {.padding = 1}), BatchNorm(4), ReLU(), MaxPool2d(2),
                      Conv2d(4, 6, 3, {.padding = 1}), BatchNorm(6), ReLU(), MaxPool2d(2), Flatten(),
                      Linear(6 * 3 * 2, 5), ReLU(), Linear(5, classes));
  };
  const StateOptions torch{.layout = Layout::torch, .input = {12, 8, 1}};
  Sequential whole = make(3), other = make(7);
  load(whole, path, torch);
  StateOptions loose = torch;
  loose.strict = false;
  expect_error([&] { load(other, path, loose); }, "11.weight: shape [3, 5], the model has [7, 5]");
  loose.rename = {{"11.weight", ""}, {"11.bias", ""}};
  const LoadResult result = load(other, path, loose);
  EXPECT_EQ(result.missing, (Names{"11.weight", "11.bias"}));
  const NamedTensors a = whole.state_dict(), b = other.state_dict();
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(!a[i].first.starts_with("11."), bool{same_bits(a[i].second, b[i].second)}) << a[i].first;
}

TEST(Load, OneModelOfACheckpointOfSeveral) {
  const std::string path = temporary("several");
  Linear a(4, 3), b(4, 3), got(4, 3);
  SGD optimizer(a);
  save_checkpoint(path, {{{"a", a}, {"b", b}}, optimizer}, {});
  const LoadResult result = load(got, path, {.prefix = "b/"});
  EXPECT_TRUE(same_bits(got.weight, b.weight));
  EXPECT_EQ(result.left, (Names{"a/weight", "a/bias"})) << "of the models, not of the run";
}

}  // namespace
}  // namespace norma::nn
