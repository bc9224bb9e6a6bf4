// The residual networks of He et al., "Deep Residual Learning for Image Recognition" (2016), section 4.2: those for
// small pictures, of depth 6 n + 2 (20, 32, 44, 56, 110), with projections where the paper's CIFAR nets pad.
#pragma once

#include <norma/norma.h>

#include <optional>

namespace examples {

using norma::Tensor;

// The norm for so many channels, with an activation behind it. Any will do that takes [N, H, W, C].
using MakeActivatedNorm = std::function<norma::nn::Norm(int64_t channels, const norma::Activation& activation)>;

inline norma::nn::Norm make_batch_norm(int64_t channels, const norma::Activation& activation) {
  return norma::nn::BatchNorm(channels, {.activation = activation});
}

// relu(norm2(conv2(relu(norm1(conv1(x))))) + x), where x is projected if the shape changes; the addition and both
// activations are part of the norms, and in evaluation the norms of the convolutions.
struct ResidualBlock : norma::nn::Module {
  ResidualBlock(int64_t in, int64_t out, int64_t stride, const MakeActivatedNorm& norm)
      : conv1(in, out, 3, {.stride = stride, .padding = 1}, {.bias = false}),
        norm1(norm(out, norma::Activation::relu())),
        conv2(out, out, 3, {.padding = 1}, {.bias = false}),
        norm2(norm(out, norma::Activation::relu())) {
    if (in == out && stride == 1) return;
    project.emplace(in, out, 1, norma::Conv2dOptions{.stride = stride}, norma::nn::BiasOption{false});
    project_norm.emplace(norm(out, {}));
  }

  norma::nn::Conv2d conv1;
  norma::nn::Norm norm1;
  norma::nn::Conv2d conv2;
  norma::nn::Norm norm2;
  std::optional<norma::nn::Conv2d> project;
  std::optional<norma::nn::Norm> project_norm;
  NORMA_VISIT(conv1, norm1, conv2, norm2, project, project_norm)

  Tensor forward(const Tensor& x) override {  // [N, H, W, in] -> [N, H / stride, W / stride, out]
    const Tensor shortcut = project ? (*project_norm)(*project, x) : x;
    return norm2(conv2, norm1(conv1, x), shortcut);
  }
};

// A convolution, stages of residual blocks, the mean over the picture, a Linear. Each stage but the first halves the
// picture. widths: the channels of each stage; blocks_each: its blocks.
struct ResidualNet : norma::nn::Module {
  ResidualNet(const std::vector<int64_t>& widths, int64_t blocks_each, int64_t classes,
              const MakeActivatedNorm& make_norm, int64_t colours)
      : conv(colours, widths[0], 3, {.padding = 1}, {.bias = false}),
        norm(make_norm(widths[0], norma::Activation::relu())),
        fc(widths.back(), classes) {
    int64_t in = widths[0];
    for (int64_t out : widths)
      for (int64_t i = 0; i < blocks_each; ++i, in = out) blocks.emplace_back(in, out, in < out ? 2 : 1, make_norm);
  }

  norma::nn::Conv2d conv;
  norma::nn::Norm norm;
  std::vector<ResidualBlock> blocks;
  norma::nn::Linear fc;
  NORMA_VISIT(conv, norm, blocks, fc)

  Tensor forward(const Tensor& x) override {  // [N, H, W, colours] -> [N, classes]
    Tensor y = norm(conv, x);
    for (ResidualBlock& block : blocks) y = block(y);
    return fc(global_avg_pool(y));
  }
};

// Section 4.2 of the paper. Weights of convolutions are drawn as for ReLU (He et al. 2015).
struct ResNet : ResidualNet {
  ResNet(int64_t depth, int64_t classes, const MakeActivatedNorm& make_norm = make_batch_norm, int64_t colours = 3)
      : ResidualNet({16, 32, 64}, blocks_of(depth), classes, make_norm, colours) {
    for_each([](const std::string&, Module& module) {
      if (auto* c = dynamic_cast<norma::nn::Conv2d*>(&module)) norma::nn::init::kaiming_normal(c->weight);
    });
  }
  static int64_t blocks_of(int64_t depth) {  // in each of the three stages
    norma::check(depth >= 8 && depth % 6 == 2, "ResNet", "a depth of {}: want 6 n + 2, such as 20 or 56", depth);
    return (depth - 2) / 6;
  }
};

}  // namespace examples
