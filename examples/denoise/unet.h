// The network of denoise: a small U-Net (Ronneberger et al. 2015) built of the blocks of HINet (Chen et al., "HINet:
// half instance normalization network for image restoration", 2021). As there, a norm stands in the blocks of the
// encoder, behind their first convolution, and nowhere else; and what comes out is added to the picture that went in.
#pragma once

#include <norma/norma.h>

#include "examples/common/norm_options.h"

namespace examples {

using norma::Tensor;

// leaky_relu(conv2(leaky_relu(norm(conv1(x))))) + shortcut(x)
struct UNetBlock : norma::nn::Module {
  UNetBlock(int64_t in, int64_t out, norma::nn::Norm norm_of_out, bool standardized = false)
      : conv1(in, out, 3, {.padding = 1}),
        norm(std::move(norm_of_out)),
        conv2(out, out, 3, {.padding = 1}),
        shortcut(in, out, 1) {
    norm.activation = norma::Activation::leaky_relu(kSlope);
    conv1.standardized = standardized;
  }

  static constexpr double kSlope = 0.2;
  norma::nn::Conv2d conv1;
  norma::nn::Norm norm;
  norma::nn::Conv2d conv2, shortcut;
  NORMA_VISIT(conv1, norm, conv2, shortcut)

  Tensor forward(const Tensor& x) override {  // [N, H, W, in] -> [N, H, W, out]
    return leaky_relu(conv2(norm(conv1, x)), kSlope) + shortcut(x);
  }
};

struct UNet : norma::nn::Module {
  static constexpr int64_t kLevels = 3;  // the picture, its half, its quarter

  // colours: channels of a picture; width: of the network at full size, twice as many at each further level.
  UNet(int64_t colours, const NormChoice& norm, int64_t width = 16)
      : first(colours, width, 3, {.padding = 1}), last(width, colours, 3, {.padding = 1}) {
    for (int64_t level = 0, in = width, out = width; level < kLevels; ++level, in = out, out *= 2) {
      encode.emplace_back(in, out, norm.layer(out), norm.standardized);
      if (level + 1 == kLevels) break;
      down.emplace_back(out, out, 4, norma::Conv2dOptions{.stride = 2, .padding = 1}, norma::nn::BiasOption{false});
      up.emplace_back(2 * out, out, 2, norma::ConvTranspose2dOptions{.stride = 2});
      decode.emplace_back(2 * out, out, norma::nn::Norm(out, {.identity = true}));
    }
  }

  norma::nn::Conv2d first;
  std::vector<UNetBlock> encode;               // of each level
  std::vector<norma::nn::Conv2d> down;         // from each level but the last to the next
  std::vector<norma::nn::ConvTranspose2d> up;  // and back
  std::vector<UNetBlock> decode;
  norma::nn::Conv2d last;
  NORMA_VISIT(first, encode, down, up, decode, last)

  // [N, H, W, colours] -> its shape. Sizes that do not halve evenly are filled up with zeros on the way.
  Tensor forward(const Tensor& x) override {
    constexpr int64_t multiple = int64_t{1} << (kLevels - 1);
    const int64_t h = x.dim(1), w = x.dim(2), below = -h & (multiple - 1), right = -w & (multiple - 1);
    Tensor y = first(below + right > 0 ? norma::pad(x, {{0, 0}, {0, below}, {0, right}, {0, 0}}) : x);
    std::vector<Tensor> skips;
    for (size_t level = 0; level < encode.size(); ++level) {
      y = encode[level](y);
      if (level == down.size()) break;
      skips.push_back(y);
      y = down[level](y);
    }
    for (size_t level = up.size(); level-- > 0;) y = decode[level](norma::concat({up[level](y), skips[level]}, 3));
    y = last(y);
    if (below + right > 0) y = slice(slice(y, 1, 0, h), 2, 0, w);
    return x + y;
  }
};

}  // namespace examples
