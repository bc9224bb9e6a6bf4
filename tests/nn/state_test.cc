// Saving and loading models: norma's own layout, PyTorch's, and files that do not fit.
#include "norma/nn/state.h"

#include <filesystem>

#include "norma/nn/layers.h"
#include "norma/nn/sequential.h"
#include "norma/ops/elementwise/binary.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

const std::string kTorchCnn = std::string(NORMA_GOLDEN_DIR) + "/torch_cnn.safetensors";
const StateOptions kTorch{.layout = Layout::torch, .input = {12, 8, 1}};

std::string temporary(const std::string& name) {
  return (std::filesystem::path(testing::TempDir()) / ("norma_state_" + name + ".safetensors")).string();
}

// The model of torch_cnn.safetensors.
Sequential cnn() {
  return Sequential(Conv2d(1, 4, 3, {.padding = 1}), BatchNorm(4), ReLU(), MaxPool2d(2),
                    Conv2d(4, 6, 3, {.padding = 1}), BatchNorm(6), ReLU(), MaxPool2d(2), Flatten(),
                    Linear(6 * 3 * 2, 5), ReLU(), Linear(5, 3));
}

NamedTensors copies(Module& model) {
  NamedTensors result;
  for (const auto& [name, x] : model.state_dict()) result.emplace_back(name, x.clone());
  return result;
}

void expect_same(const NamedTensors& a, const NamedTensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].first, b[i].first);
    EXPECT_TRUE(same_bits(a[i].second, b[i].second)) << a[i].first;
  }
}

TEST(State, RoundTripKeepsEveryBit) {
  Sequential a = cnn(), b = cnn();
  const std::string path = temporary("round");
  save(a, path);
  load(b, path);
  expect_same(a.state_dict(), b.state_dict());
}

TEST(State, ReadsWhatPyTorchWrote) {
  Sequential net = cnn();
  load(net, kTorchCnn, kTorch);
  net.eval();
  const TensorFile io = load_safetensors(std::string(NORMA_GOLDEN_DIR) + "/torch_cnn_io.safetensors");
  EXPECT_TRUE(close(net(*io.find("x")), *io.find("logits"), 1e-5));
}

TEST(State, WritesWhatPyTorchWould) {
  Sequential net = cnn();
  load(net, kTorchCnn, kTorch);
  const std::string path = temporary("torch");
  save(net, path, kTorch);
  const TensorFile got = load_safetensors(path), want = load_safetensors(kTorchCnn);
  EXPECT_EQ(got.tensors.size(), want.tensors.size());
  for (const auto& [name, x] : want.tensors) {
    ASSERT_NE(got.find(name), nullptr) << name;
    EXPECT_TRUE(same_bits(*got.find(name), x)) << name;
  }
}

// Functional flatten, through ops that keep the features' order, and back into an image; frozen weights; train mode.
struct Autoencoder : Module {
  Conv2d conv{2, 3, {2, 1}};
  Linear in{3 * 2 * 4, 5, {.bias = false}}, out{5, 3 * 2 * 2};
  ConvTranspose2d up{2, 3, {3, 2}};
  Dropout drop;
  Norm bn = BatchNorm(3);
  NORMA_VISIT(conv, in, out, up, drop, bn)
  Tensor forward(const Tensor& x) override {
    const Tensor features = drop(sigmoid(reshape(bn(conv(x)), {x.dim(0), -1})));
    return up(tanh(reshape(relu(out(in(add(features, features)))), {x.dim(0), 3, 2, 2})));
  }
};

// The features of `axis` in the order [C, H, W].
Tensor channels_first(const Tensor& x, int axis, int64_t h, int64_t w, int64_t c) {
  std::vector<Tensor> order;
  Tensor y = empty_like(x);
  for (int64_t i = 0; i < h * w * c; ++i) {
    const int64_t channel = i / (h * w), pixel = i % (h * w), from = pixel * c + channel;
    view::slice(y, axis, i, i + 1).copy_from(view::slice(x, axis, from, from + 1));
  }
  return y;
}

TEST(State, FindsTheLinearsOnEitherSideOfAnImage) {
  Autoencoder net;
  net.in.weight.set_requires_grad(false);
  net.bn.eval();
  const NamedTensors before = copies(net);
  const Generator::State random = default_generator().state();
  const StateOptions options{.layout = Layout::torch, .input = {3, 4, 2}};
  const std::string path = temporary("autoencoder");
  save(net, path, options);

  expect_same(net.state_dict(), before);
  EXPECT_TRUE(net.is_training() && net.drop.is_training() && !net.bn.is_training());
  EXPECT_FALSE(net.in.weight.requires_grad());
  EXPECT_EQ(default_generator().state(), random);

  const TensorFile file = load_safetensors(path);
  EXPECT_TRUE(same_bits(*file.find("conv.weight"), view::permute(net.conv.weight, {0, 3, 1, 2})));
  EXPECT_EQ(file.find("up.weight")->shape(), (Shape{2, 3, 3, 2}));
  EXPECT_TRUE(same_bits(*file.find("in.weight"), channels_first(net.in.weight, 1, 2, 4, 3)));
  EXPECT_TRUE(same_bits(*file.find("out.weight"), channels_first(net.out.weight, 0, 3, 2, 2)));
  EXPECT_TRUE(same_bits(*file.find("out.bias"), channels_first(net.out.bias, 0, 3, 2, 2)));
  EXPECT_EQ(file.find("bn.running_var")->dtype(), f32);

  Autoencoder other;
  load(other, path, options);
  expect_same(other.state_dict(), before);
}

TEST(State, TheLastTensorIsTurnedToo) {
  const StateOptions options{.layout = Layout::torch, .input = {5, 4, 2}};
  Sequential a(Conv2d(2, 3, 2, {}, {.bias = false})), b(Conv2d(2, 3, 2, {}, {.bias = false}));
  const std::string path = temporary("last");
  save(a, path, options);
  load(b, path, options);
  expect_same(b.state_dict(), a.state_dict());
}

TEST(State, RefusesToGuessTheOrder) {
  Sequential net = cnn();
  const std::string path = temporary("guess");
  expect_error([&] { save(net, path, {.layout = Layout::torch}); }, "[state] Layout::torch wants StateOptions::input");
  expect_error([&] { load(net, kTorchCnn, {.layout = Layout::torch}); },
               "[state] Layout::torch wants StateOptions::input");
  Sequential flat(Flatten(), Linear(12, 2));
  expect_error([&] { save(flat, path, {.layout = Layout::torch}); }, "[state] Layout::torch wants StateOptions::input");
  expect_error(
      [&] {
        const NoGrad unrecorded;
        save(net, path, kTorch);
      },
      "under NoGrad");
  Sequential vectors(Linear(3, 2), Linear(2, 1)), images(Conv2d(1, 2, 3), GlobalAvgPool());
  save(vectors, path, {.layout = Layout::torch});
  save(images, path, {.layout = Layout::torch});

  // Which of an image's features are a group is another thing in the other order.
  Sequential norm(Flatten(), GroupNorm(2, 12), Linear(12, 2));
  expect_error(
      [&] {
        save(norm, path, {.layout = Layout::torch, .input = {2, 2, 3}});
      },
      "[state] Layout::torch cannot tell how PyTorch orders parameter '1.weight': op 'norm'");
  save(norm, path, {.layout = Layout::torch, .input = {4, 3, 1}});  // one channel: both orders are the same
  struct Cut : Module {
    Linear fc{4, 2};
    NORMA_VISIT(fc)
    Tensor forward(const Tensor& x) override { return fc(slice(flatten(x), 1, 0, 4)); }
  } cut;
  expect_error(
      [&] {
        save(cut, path, {.layout = Layout::torch, .input = {2, 2, 3}});
      },
      "[state] Layout::torch cannot tell how PyTorch orders parameter 'fc.weight': op 'linear'");
}

TEST(State, TurnsWhatANormHasForEachFeatureOfAnImage) {
  const StateOptions options{.layout = Layout::torch, .input = {2, 4, 3}};
  const std::string path = temporary("flat_norm");
  for (const bool affine : {true, false}) {
    for (const NormSettings& settings :
         {NormSettings{.affine = affine}, NormSettings{.grouping = features(), .affine = affine},
          NormSettings{.affine = affine, .domains = {.count = 2}}}) {
      Sequential net(Flatten(), Norm(24, settings), ReLU(), Linear(24, 5));
      for (auto& [name, x] : net.state_dict())
        if (x.is_floating()) x.copy_from(add(rand_like(x), 0.5));
      const NamedTensors before = copies(net);
      if (settings.domains.count > 0) set_domains(net, tensor<int64_t>({1}));
      save(net, path, options);
      const TensorFile file = load_safetensors(path);
      for (const auto& [name, x] : before)
        if (name.starts_with("1.") && x.rank() > 0 && x.shape().back() == 24) {
          EXPECT_TRUE(close(*file.find(name), channels_first(x, x.rank() - 1, 2, 4, 3).to(f32))) << name;
        }
      EXPECT_TRUE(same_bits(*file.find("3.weight"),
                            channels_first(net.state_dict()[net.state_dict().size() - 2].second, 1, 2, 4, 3)));
      Sequential other(Flatten(), Norm(24, settings), ReLU(), Linear(24, 5));
      if (settings.domains.count > 0) set_domains(other, tensor<int64_t>({1}));
      load(other, path, options);
      for (size_t i = 0; i < before.size(); ++i)
        EXPECT_TRUE(close(other.state_dict()[i].second, before[i].second, 1e-6)) << before[i].first;
    }
  }
}

TEST(State, IsToldTheOrderOfConcatenatedImages) {
  struct Two : Module {
    Conv2d conv{2, 3, 1};
    Linear head{2 * 2 * 2 + 5 + 3 * 4, 4};
    NORMA_VISIT(conv, head)
    Tensor forward(const Tensor& x) override {
      const Tensor a = slice(slice(x, 1, 0, 2), 2, 0, 2), more = reshape(slice(flatten(x), 1, 0, 5), {x.dim(0), 5});
      return head(concat({flatten(a), more, flatten(slice(conv(x), 1, 0, 1))}, 1));
    }
  } net, other;
  StateOptions options{
      .layout = Layout::torch, .input = {3, 4, 2}, .features = {{"head.weight", {{2, 2, 2}, {5}, {1, 4, 3}}}}};
  const std::string path = temporary("two");
  save(net, path, options);
  const Tensor w = net.head.weight;
  EXPECT_TRUE(same_bits(*load_safetensors(path).find("head.weight"),
                        concat({channels_first(slice(w, 1, 0, 8), 1, 2, 2, 2), slice(w, 1, 8, 13),
                                channels_first(slice(w, 1, 13, 25), 1, 1, 4, 3)},
                               1)));
  load(other, path, options);
  expect_same(other.state_dict(), net.state_dict());
  options.features = {{"head.weight", {{2, 2, 2}, {5}}}};
  expect_error([&] { save(net, path, options); }, "StateOptions::features: 13 of [4, 25] in all");
  options.features = {{"tail.weight", {{2, 2, 2}}}};
  expect_error([&] { save(net, path, options); }, "StateOptions::features names what is no parameter");
}

TEST(State, ListsAllThatDoesNotFitAndChangesNothing) {
  Sequential small(Linear(3, 2), BatchNorm(2)), other(Linear(3, 4), Linear(4, 2));
  const std::string path = temporary("misfit");
  save(other, path);
  const NamedTensors before = copies(small);
  const std::string want = fmt::format(
      "[load '{}'] does not fit the model:\n"
      "  0.weight: shape [4, 3], the model has [2, 3]\n"
      "  0.bias: shape [4], the model has [2]\n"
      "  1.weight: shape [2, 4], the model has [2]\n"
      "  missing: 1.running_mean [2]\n"
      "  missing: 1.running_var [2]\n"
      "  missing: 1.num_batches_tracked []",
      path);
  expect_error([&] { load(small, path); }, want);
  expect_same(small.state_dict(), before);

  save_safetensors(path, {{"weight", ones({2, 3})}, {"bias", ones({2}, i64)}, {"more", ones({1})}},
                   {{"layout", "norma"}});
  Linear fc(3, 2);
  const Tensor weight = fc.weight.clone();
  expect_error([&] { load(fc, path); }, "  bias: i64, the model has f32\n  unknown: more [1]");
  EXPECT_TRUE(same_bits(fc.weight, weight));

  Sequential net = cnn();
  const NamedTensors was = copies(net);
  save_safetensors(path, {{"0.weight", ones({4, 3, 3, 1})}});
  expect_error([&] { load(net, path, kTorch); }, "  0.weight: shape [4, 3, 3, 1], the model has [4, 1, 3, 3]");
  expect_same(net.state_dict(), was);
}

TEST(State, ConvertsBetweenFloatingTypes) {
  Linear a(3, 2), b(3, 2);
  const std::string path = temporary("floating");
  save(a, path);
  b.to(f64);
  load(b, path);
  EXPECT_TRUE(same_bits(b.weight, a.weight.to(f64)));
}

TEST(State, WillNotTakeOneLayoutForTheOther) {
  Sequential net = cnn();
  const std::string path = temporary("layout");
  save(net, path);
  expect_error([&] { load(net, path, kTorch); }, "the file is in norma's own layout, not in PyTorch's");
  expect_error([&] { load(net, kTorchCnn); }, "if PyTorch wrote it: {.layout = Layout::torch}");
}

TEST(State, WritesNothingIntoWhatATapeHasSaved) {
  Linear fc(3, 2);
  const std::string path = temporary("pinned");
  save(fc, path);
  Tensor x = ones({1, 3});
  x.set_requires_grad();
  Tape tape;
  const Tensor y = fc(x);
  expect_error([&] { load(fc, path); }, "  weight: saved by PackedWeights or a pending tape entry ('linear')");
}

// A tied parameter is saved under both names; a file in which they differ is of an untied model.
TEST(State, TiedParametersTakeOneValue) {
  struct Pair : Module {
    Linear a{2, 2}, b{2, 2};
    NORMA_VISIT(a, b)
  } apart, tied;
  tied.b.weight = tied.a.weight;
  const std::string path = temporary("tied");
  save(apart, path);
  const NamedTensors before = copies(tied);
  expect_error([&] { load(tied, path); }, "\n  b.weight: tied to a.weight in the model, of another value here");
  expect_same(tied.state_dict(), before);
  tied.a.weight.fill(NAN);
  save(tied, path);
  load(tied, path);
  load(apart, path);
  EXPECT_TRUE(same_bits(apart.a.weight, apart.b.weight));
}

}  // namespace
}  // namespace norma::nn
