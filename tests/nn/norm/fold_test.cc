// Norms folded into the layers before them: the same outputs, and what must be left alone.
#include "norma/nn/layers.h"
#include "norma/nn/norm/population.h"
#include "norma/nn/sequential.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

// Random parameters and populations; f64.
void stir(Module& model) {
  Generator generator(5);
  model.to(f64);
  for (const auto& [name, p] : model.named_parameters()) generator.fill_uniform(p, -1, 1);
  for (const auto& [name, b] : model.named_buffers())
    if (b.is_floating()) generator.fill_uniform(b, 0.5, 2);
}

TEST(Fold, OutputsStayTheSame) {
  const Activation leaky = Activation::leaky_relu(0.1);
  Norm by_group = BatchNorm(6, {.affine = false});
  by_group.grouping.channels = Channels::groups(3);
  by_group.reset_population();
  Norm frozen = FrozenBatchNorm(10), renorm = BatchRenorm(6);
  renorm.max_pool = 2;
  frozen.evaluation = EvalStatistics::mini_batch;  // constants are constants
  Sequential net(Conv2d(3, 8, 3, {.padding = 1}, {.bias = false}), BatchNorm(8, {.eps = 1e-2, .activation = leaky}),
                 Conv2d(8, 6, 3, {.stride = 2, .groups = 2}), std::move(by_group), ReLU(), Conv2d(6, 6, 1),
                 std::move(renorm), Flatten(), Linear(6, 10), std::move(frozen), Linear(10, 4, {.bias = false}),
                 BatchNorm(4));
  stir(net);
  const size_t entries = net.state_dict().size();
  net.eval();
  for (const DType dtype : {f64, f32}) {
    net.to(dtype);
    const Tensor x = random({4, 7, 7, 3}).to(dtype), want = net(x);
    const Folded folded = fold_norm(net, view::slice(x, 0, 0, 1));  // one sample is enough
    EXPECT_EQ(folded.count, dtype == f64 ? 5 : 0);
    EXPECT_TRUE(folded.left.empty());
    EXPECT_TRUE(close(net(x), want, dtype == f64 ? 1e-12 : 1e-6));
    EXPECT_EQ(net.state_dict().size(), entries + 2);  // biases for those that had none
  }
  for_each_norm(net, [](const std::string&, Norm& n) { EXPECT_EQ(n.type(), "Identity"); });
}

// What is left of the norm is its activation, to the bit; also when it is taken for a norm again, as by a program that
// loads the weights into the model as it was.
TEST(Fold, TheNormIsTheIdentity) {
  for (double eps : {1e-5, 1e-3, 0.1, 1e-12}) {
    Sequential net(Linear(5, 4), BatchNorm(4, {.eps = eps, .activation = Activation::relu()}));
    stir(net);
    net.eval();
    ASSERT_EQ(fold_norm(net, random({1, 5})).count, 1);
    auto& norm = dynamic_cast<Norm&>(net[1]);
    const Tensor x = random({9, 4}), skip = random({9, 4}, 8);
    EXPECT_TRUE(same_bits(norm(x), relu(x)));
    EXPECT_TRUE(same_bits(norm(x, skip), relu(x + skip)));
    norm.identity = false;
    EXPECT_TRUE(same_bits(norm(x), relu(x)));
    norm.to(f32);
    EXPECT_TRUE(same_bits(norm(x.to(f32)), relu(x.to(f32))));
  }
}

TEST(Fold, InFloat32) {
  Sequential net(Conv2d(3, 16, 3), BatchNorm(16, {.activation = Activation::relu()}), Conv2d(16, 16, 3), BatchNorm(16));
  stir(net);
  net.to(f32);
  net.eval();
  const Tensor x = random({4, 9, 9, 3}).to(f32), want = net(x);
  EXPECT_EQ(fold_norm(net, x).count, 2);
  EXPECT_TRUE(close(net(x), want, 1e-6));
}

struct Residual : Module {
  Conv2d conv{3, 3, 1};
  Norm norm = BatchNorm(3, {.activation = Activation::relu()});
  NORMA_VISIT(conv, norm)
  Tensor forward(const Tensor& x) override { return norm(conv(x), x); }
};

TEST(Fold, ResidualsAreKeptAndParametersNeedNoGradient) {
  Residual net;
  stir(net);
  net.conv.weight.set_requires_grad(false);
  net.eval();
  const Tensor x = random({2, 4, 4, 3}), want = net(x);
  EXPECT_EQ(fold_norm(net, x).count, 1);
  EXPECT_FALSE(net.conv.weight.requires_grad());
  EXPECT_TRUE(close(net(x), want));
}

// Each of its norms has a reason to stay.
struct Awkward : Module {
  Conv2d a{2, 2, 1}, b{2, 2, 1}, c{2, 2, 1}, d{2, 2, 1}, e{2, 2, 1}, f{2, 2, 1};
  Norm group = GroupNorm(2, 2), elsewhere = BatchNorm(2), twice = BatchNorm(2), shared1 = BatchNorm(2),
       shared2 = BatchNorm(2), first = BatchNorm(2), mini = BatchNorm(2), standard = BatchNorm(2),
       domains = DomainNorm(2, {.count = 2}), good = BatchNorm(2), unused = BatchNorm(2), tied = BatchNorm(2);
  Conv2d tie{2, 2, 1}, tie2{2, 2, 1};
  NORMA_VISIT(a, b, c, d, e, f, group, elsewhere, twice, shared1, shared2, first, mini, standard, domains, good, unused,
              tied, tie, tie2)
  Tensor forward(const Tensor& x) override {
    Tensor y = group(a(first(x)));
    const Tensor inner = b(y);
    y = elsewhere(inner) + inner;
    y = shared2(c(shared1(c(y))));
    y = mini(d(twice(twice(y))));
    y = domains(standard(e(y)));
    return good(f(tied(tie(y))));
  }
};

TEST(Fold, LeavesWhatItCannotFoldAndSaysWhy) {
  Awkward net;
  net.e.standardized = true;
  net.mini.evaluation = EvalStatistics::mini_batch;
  net.tie2.weight = net.tie.weight;
  stir(net);
  net.domains.ids = tensor<int64_t>({0, 1});
  net.eval();
  const Tensor x = random({2, 4, 4, 2}), want = net(x);
  const Folded folded = fold_norm(net, x);
  EXPECT_EQ(folded.count, 1);
  EXPECT_TRUE(net.good.identity);
  EXPECT_TRUE(close(net(x), want));
  std::map<std::string, std::string> left;
  for (const std::string& text : folded.left) left[text.substr(0, text.find(':'))] = text.substr(text.find(':') + 2);
  const std::string fixed = "has no single population",
                    once = "is not called once, behind a Conv2d or Linear with its own weight",
                    more = "the layer before it, or a parameter of that, is used more than once";
  EXPECT_EQ(left, (std::map<std::string, std::string>{{"group", fixed},
                                                      {"mini", fixed},
                                                      {"domains", fixed},
                                                      {"elsewhere", "its input goes elsewhere too"},
                                                      {"twice", once},
                                                      {"first", once},
                                                      {"unused", once},
                                                      {"standard", once},
                                                      {"shared1", more},
                                                      {"shared2", more},
                                                      {"tied", more}}));
}

TEST(Fold, RefusesWhatIsPendingOnATape) {
  Residual net;
  const Tensor x = random({2, 4, 4, 3}).to(f32);
  {
    Tape tape;
    const Tensor y = net(x);
    const Tensor before = net.conv.weight.clone();
    expect_error([&] { fold_norm(net, x); }, "[fold_norm] a parameter of");
    EXPECT_TRUE(same_bits(net.conv.weight, before));
  }
  const NoGrad none;
  expect_error([&] { fold_norm(net, x); }, "[fold_norm] records a forward pass");
}

}  // namespace
}  // namespace norma::nn
