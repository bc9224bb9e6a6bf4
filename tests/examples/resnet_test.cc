// The residual networks of examples/common/resnet.h.
#include "examples/common/resnet.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using examples::ResidualBlock;
using examples::ResNet;

int64_t count(nn::Module& model) {
  int64_t n = 0;
  for (const Tensor& p : model.parameters()) n += p.numel();
  return n;
}

// 269,722 and 853,018 are those of the paper's nets, without projections; these have 16*32 + 32*64 weights more, and
// 2 * (32 + 64) for their norms.
TEST(ResNet, HasThePapersParametersAndThoseOfItsProjections) {
  ResNet small(20, 10), large(56, 10);
  EXPECT_EQ(count(small), 269722 + 2752);
  EXPECT_EQ(count(large), 853018 + 2752);
  small.eval();
  EXPECT_EQ(small(zeros({2, 32, 32, 3})).shape(), Shape({2, 10}));
  expect_error([] { ResNet(18, 10); }, "[ResNet] a depth of 18: want 6 n + 2, such as 20 or 56");
}

TEST(ResNet, BlockIsWhatItsOpsSay) {
  manual_seed(1);
  Generator generator(2);
  for (int64_t stride : {1, 2}) {
    ResidualBlock block(4, stride == 1 ? 4 : 6, stride, examples::make_batch_norm);
    block.to(f64);
    const auto bn = [](const Tensor& x, const nn::Norm& n) { return norm(x, whole(), {}, n.weight, n.bias); };
    for (nn::Norm* n : {&block.norm1, &block.norm2}) generator.fill_normal(n->weight);
    const Tensor x = randn({3, 7, 5, 4}, generator, f64);
    Tensor shortcut = x;
    if (stride == 2) shortcut = bn(conv2d(x, block.project->weight, {}, {.stride = 2}), *block.project_norm);
    Tensor y = relu(bn(conv2d(x, block.conv1.weight, {}, {.stride = stride, .padding = 1}), block.norm1));
    y = relu(bn(conv2d(y, block.conv2.weight, {}, {.padding = 1}), block.norm2) + shortcut);
    EXPECT_LT(max(abs(block(x) - y)).item(), 1e-12);
  }
}

TEST(ResNet, TakesAnyNorm) {
  ResNet model(8, 5, [](int64_t channels, const Activation& activation) {
    nn::Norm norm = nn::GroupNorm(4, channels);
    norm.activation = activation;
    return norm;
  });
  const Tensor x = rand({2, 8, 8, 3});
  EXPECT_LT(max(abs(view::slice(model(x), 0, 0, 1) - model(view::slice(x, 0, 0, 1)))).item(), 1e-6);  // alone or not
}

}  // namespace
}  // namespace norma
