// Parameter groups: which parameters a selector takes, which setting wins, clipping by group, what a checkpoint says.
#include <filesystem>

#include "norma/nn/checkpoint.h"
#include "norma/nn/layers.h"
#include "norma/nn/optim/adam.h"
#include "norma/nn/optim/muon.h"
#include "norma/nn/optim/sgd.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

struct Net : Module {
  Linear body{3, 3}, head{3, 2};
  Norm norm = BatchNorm(3);
  NORMA_VISIT(body, norm, head)
  void set_grads(double value) {
    for (const Tensor& p : parameters()) p.set_grad(full(p.shape(), value));
  }
};

std::vector<std::string> names(const Parameters& parameters) {
  std::vector<std::string> result;
  for (const auto& [name, _] : parameters.named) result.push_back(name);
  return result;
}
using Names = std::vector<std::string>;

TEST(ParameterGroups, SelectorsTakeGlobsAndPredicates) {
  Net net;
  const Parameters all(net);
  EXPECT_EQ(names(all.matching("head.*")), (Names{"head.weight", "head.bias"}));
  EXPECT_EQ(names(all.matching("*.bias")), (Names{"body.bias", "norm.bias", "head.bias"}));
  EXPECT_EQ(names(all.matching("[bn]o??.weight")), (Names{"body.weight", "norm.weight"}));
  EXPECT_EQ(names(all.matching(std::string("*"))), names(all));
  EXPECT_EQ(names(all.matching(is_norm_or_bias)), (Names{"body.bias", "norm.weight", "norm.bias", "head.bias"}));
  EXPECT_EQ(names(all.matching([](const std::string& name, const Tensor& p) { return p.dim(0) == 2 && name != "x"; })),
            (Names{"head.weight", "head.bias"}));
  EXPECT_TRUE(all.matching([](const std::string&, const Tensor&) { return false; }).named.empty());
  expect_error([&] { all.matching("head"); }, "[Parameters] 'head' matches none of 6 parameters: the first is 'body.w");
  expect_error([&] { all.matching(""); }, "[Parameters] '' matches none");
  bool (*none)(const std::string&, const Tensor&) = nullptr;
  expect_error([&] { all.matching(none); }, "[Parameters] an empty function selects parameters");
  expect_error([] { Parameters(NamedTensors{}).matching("*"); }, "'*' matches none of 0 parameters");
}

// What one step of SGD changes each parameter by, from ones, with gradients of 1.
std::map<std::string, double> changes(const ParameterGroups& groups) {
  Net net;
  for (const Tensor& p : net.parameters()) p.fill(1);
  net.set_grads(1);
  SGD(net, {.lr = 0.5, .weight_decay = 1, .groups = groups}).step();
  std::map<std::string, double> result;
  for (const auto& [name, p] : net.named_parameters()) {
    const auto values = p.to_vector<double>();
    EXPECT_EQ(values, std::vector<double>(values.size(), values[0])) << name;
    result[name] = 1 - values[0];
  }
  return result;
}

TEST(ParameterGroups, EachSettingIsThatOfTheLastGroupThatGivesIt) {
  auto plain = changes({});
  for (const auto& [name, change] : plain) EXPECT_EQ(change, 1) << name;
  auto one = changes({{"head.*", {.lr_scale = 0.5}}, {is_norm_or_bias, {.weight_decay = 0}}});
  EXPECT_EQ(one["body.weight"], 1);
  EXPECT_EQ(one["body.bias"], 0.5);
  EXPECT_EQ(one["head.weight"], 0.5);
  EXPECT_EQ(one["head.bias"], 0.25);  // both groups
  auto several = changes(
      {{"*", {.lr_scale = 0, .weight_decay = 3}}, {"head.*", {.weight_decay = 5}}, {"*.bias", {.lr_scale = 0.125}}});
  EXPECT_EQ(several["body.weight"], 0);
  EXPECT_EQ(several["norm.bias"], 0.25);
  EXPECT_EQ(several["head.bias"], 0.375);
  EXPECT_EQ(changes({{"head.*", {}}}), plain);
}

TEST(ParameterGroups, ScaleWhateverRateIsSet) {
  Net net;
  SGD optimizer(net, {.lr = 7, .groups = {{"head.*", {.lr_scale = 10}}}});
  for (const Tensor& p : net.parameters()) p.fill(1);
  net.set_grads(1);
  optimizer.set_lr(0.03125);
  optimizer.step();
  EXPECT_EQ(optimizer.lr(), 0.03125);
  EXPECT_EQ(net.body.weight.at({0, 0}), 1 - 0.03125);
  EXPECT_EQ(net.head.weight.at({0, 0}), 1 - 0.3125);
}

// A group that holds all is as if the optimizer had the setting itself.
template <class Optim, class Options>
void expect_group_of_all(const Options& options) {
  std::vector<std::vector<Tensor>> results;
  for (bool group : {false, true}) {
    manual_seed(3);
    Net net;
    Options own = options;
    if (group) own.groups = {{"*", {.lr_scale = 0.5, .weight_decay = 0.125}}};
    else own.lr *= 0.5, own.weight_decay = 0.125;
    Optim optimizer(net, own);
    Generator g(5);
    for (int k = 0; k < 4; ++k) {
      for (const Tensor& p : net.parameters()) p.set_grad(randn(p.shape(), g));
      optimizer.step();
    }
    results.push_back(net.parameters());
  }
  for (size_t i = 0; i < results[0].size(); ++i) EXPECT_TRUE(same_bits(results[0][i], results[1][i])) << i;
}

TEST(ParameterGroups, AreForEveryOptimizer) {
  expect_group_of_all<SGD>(SGDOptions{.lr = 0.25, .momentum = 0.9});
  expect_group_of_all<Adam>(AdamOptions{.lr = 0.25});
  expect_group_of_all<AdamW>(AdamOptions{.lr = 0.25});
  expect_group_of_all<Muon>(MuonOptions{.lr = 0.25, .rest_scale = 0.5});
}

TEST(ParameterGroups, RejectNonsense) {
  Net net;
  const auto with = [&](const ParameterGroups& groups) { return [&net, groups] { SGD(net, {.groups = groups}); }; };
  expect_error(with({{"heads.*", {.lr_scale = 2}}}),
               "[SGD] 'heads.*' matches none of 6 parameters: the first is 'body");
  expect_error(with({{"head.*", {.lr_scale = -1}}}), "[SGD] 'head.*': lr_scale -1: want at least 0, finite");
  expect_error(with({{"head.*", {.lr_scale = INFINITY}}}), "[SGD] 'head.*': lr_scale inf");
  expect_error(with({{is_norm_or_bias, {.weight_decay = NAN}}}), "[SGD] a predicate: weight_decay nan");
  SGD huge(net, {.lr = 1e300, .groups = {{"head.*", {.lr_scale = 1e300}}}});
  net.set_grads(1);
  const Tensor before = net.body.weight.clone();
  expect_error([&] { huge.step(); }, "[SGD] a learning rate of inf");
  EXPECT_TRUE(same_bits(net.body.weight, before));
}

TEST(ParameterGroups, ClipByGroup) {
  Net net;
  SGD optimizer(net);
  net.set_grads(2);
  EXPECT_EQ(clip_grad_norm(optimizer.parameters().matching("head.weight"), 1), std::sqrt(6 * 4.));
  EXPECT_TRUE(close(net.head.weight.grad(), full({2, 3}, 1 / std::sqrt(6.))));
  EXPECT_EQ(net.head.bias.grad().at({0}), 2);
  clip_grad_value(optimizer.parameters().matching("body.*"), 1);
  EXPECT_EQ(net.body.bias.grad().at({0}), 1);
  EXPECT_EQ(net.norm.bias.grad().at({0}), 2);
}

TEST(ParameterGroups, ACheckpointKeepsThemByName) {
  const std::string path = (std::filesystem::path(testing::TempDir()) / "norma_groups.safetensors").string();
  Net net;
  SGD with(net, {.groups = {{"head.*", {.lr_scale = 10}}, {is_norm_or_bias, {.weight_decay = 0}}}}), without(net);
  EXPECT_EQ(with.groups(), "'head.*' of 2, lr_scale 10; a predicate of 4, weight_decay 0");
  EXPECT_EQ(without.groups(), "");
  save_checkpoint(path, {net, with}, {.step = 3});
  EXPECT_EQ(load_checkpoint(path, {net, with}).step, 3);
  net.body.weight.fill(3);
  const std::string error = fmt::format(
      "[load_checkpoint '{}'] was made with other options:\n  groups of optimizer/: ''head.*' of 2, lr_scale 10; a "
      "predicate of 4, weight_decay 0', now ''",
      path);
  expect_error([&] { load_checkpoint(path, {net, without}); }, error);
  EXPECT_EQ(net.body.weight.at({0, 0}), 3);
  // A file of before there were groups says nothing of them.
  TensorFile file = load_safetensors(path);
  EXPECT_EQ(file.metadata.erase("groups of optimizer/"), 1u);
  save_safetensors(path, file.tensors, file.metadata);
  EXPECT_EQ(load_checkpoint(path, {net, without}).step, 3);
  EXPECT_EQ(load_checkpoint(path, {net, with}).step, 3);
}

}  // namespace
}  // namespace norma::nn
