// Zhu et al., "Transformers without normalization" (2025): gamma tanh(alpha x) + beta, which has no statistics, in the
// place of the layer norms of a transformer, costs nothing; in the place of the batch norms of a convolutional network
// it does. A small vision transformer on patches of 7 x 7 pixels, trained by AdamW as transformers are, and the
// laboratory's network, which with DyT is trained at two learning rates.
#include "examples/newer_norms/experiments.h"

namespace examples::newer_norms {
namespace {

constexpr int64_t kFeatures = 48, kHeads = 4, kDepth = 3, kPatch = 7;

// [N, H, W, C] -> [N, tokens, features]: patches, with a learned vector for each position.
struct Patches : nn::Module {
  explicit Patches(const Shape& image)
      : conv(image[2], kFeatures, kPatch, {.stride = kPatch}),
        positions(randn({image[0] / kPatch * (image[1] / kPatch), kFeatures}) * 0.02) {}
  Tensor forward(const Tensor& x) override { return reshape(conv(x), {x.dim(0), -1, kFeatures}) + positions; }

  nn::Conv2d conv;
  nn::Parameter positions;
  NORMA_VISIT(conv, positions)
};

// A block of a transformer, with the norms before what they belong to.
struct Block : nn::Module {
  explicit Block(const MakeNorm& norm)
      : norm1(norm(kFeatures)),
        norm2(norm(kFeatures)),
        attention(kFeatures, kHeads),
        up(kFeatures, 2 * kFeatures),
        down(2 * kFeatures, kFeatures) {}
  Tensor forward(const Tensor& x) override {
    const Tensor y = x + attention(norm1(x));
    return y + down(gelu(up(norm2(y))));
  }

  nn::Norm norm1, norm2;
  nn::MultiheadAttention attention;
  nn::Linear up, down;
  NORMA_VISIT(norm1, norm2, attention, up, down)
};

struct MeanOfTokens : nn::Module {
  Tensor forward(const Tensor& x) override { return mean(x, {1}); }
};

nn::Sequential transformer(const Lab& lab, const MakeNorm& norm) {
  nn::Sequential net;
  net.add(Patches(lab.train.images.shape().without(0)));
  for (int64_t i = 0; i < kDepth; ++i) net.add(Block(norm));
  net.add(norm(kFeatures));
  net.add(MeanOfTokens());
  net.add(nn::Linear(kFeatures, lab.train.classes()));
  return net;
}

Result run(Lab& lab) {
  const char *cnn = "convolutional network", *vit = "transformer", *usual = "its usual norm", *tanh = "DyT",
             *slow = "DyT, at a fifth of the rate";
  Table errors{"Without statistics", "network", "test error, %"};
  errors.bars = true;
  const MakeNorm dyt = [](int64_t features) { return nn::DynamicTanh(features); };
  const MakeOptimizer adamw = [](nn::Module& model) {
    const nn::AdamOptions options{.weight_decay = 0.05, .groups = {{nn::is_norm_or_bias, {.weight_decay = 0}}}};
    return std::make_unique<nn::AdamW>(model, options);
  };
  for (const uint64_t seed : lab.all_seeds()) {
    nn::Sequential& ordinary = lab.ordinary(seed).model;
    estimate(lab, ordinary, lab.train, seed);
    errors.add(cnn, usual, error(lab, ordinary, lab.test));
    for (const char* rate : {tanh, slow}) {
      Run net(lab, seed, dyt);
      Recipe recipe = lab.recipe();
      recipe.lr *= rate == slow ? 0.2 : 1;
      train(lab, net, lab.train, recipe);
      errors.add(cnn, rate, error(lab, net.model, lab.test));
    }
    for (const bool has_norm : {true, false}) {
      const MakeNorm norm = has_norm ? [](int64_t features) { return nn::LayerNorm(features); } : dyt;
      Run net(
          lab, seed, [&] { return transformer(lab, norm); }, adamw);
      Recipe recipe = lab.recipe();
      recipe.lr = 1e-3;
      train(lab, net, lab.train, recipe);
      errors.add(vit, has_norm ? usual : tanh, error(lab, net.model, lab.test));
    }
  }
  Values better = errors.at(cnn, tanh);
  for (size_t i = 0; i < better.size(); ++i) better[i] = std::min(better[i], errors.at(cnn, slow)[i]);
  return {
      {errors},
      {no_worse("in the transformer, DyT is no worse than layer norm", errors.at(vit, tanh), errors.at(vit, usual), 1),
       exceeds("in the convolutional network, DyT at the better rate is worse than batch norm", better,
               errors.at(cnn, usual))}};
}

}  // namespace

const Experiment kDynamicTanh{
    "dynamic_tanh", "Zhu et al. 2025", "Tanh in the place of a norm",
    "DyT in the place of layer norm costs nothing in a small vision transformer; in the place "
    "of batch norm in a convolutional network it does.",
    run};

}  // namespace examples::newer_norms
