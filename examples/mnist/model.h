// The network that mnist trains and infer uses.
#pragma once

#include <norma/norma.h>

namespace examples {

using norma::Tensor;

struct SmallCnn : norma::nn::Module {
  using MakeNorm = std::function<norma::nn::Norm(int64_t channels)>;

  // `image`: the shape [H, W, C] of a picture, 4 x 4 pixels or more. norm: default batch norm; standardized: the
  // weights of the convolutions are.
  SmallCnn(const norma::Shape& image, int64_t classes, const MakeNorm& norm = {}, bool standardized = false)
      : conv1(image[2], 32, 3, {.padding = 1}, {.bias = false}),
        norm1(norm ? norm(32) : norma::nn::BatchNorm(32)),
        norm2(norm ? norm(64) : norma::nn::BatchNorm(64)),
        fc1(features(image), 128),
        fc2(128, classes) {
    norm1.activation = norm2.activation = norma::Activation::relu();
    norm1.max_pool = norm2.max_pool = 2;
    conv1.standardized = conv2.standardized = standardized;
  }

  static int64_t features(const norma::Shape& image) {
    norma::check(image[0] >= 4 && image[1] >= 4, "SmallCnn",
                 "pictures {} are too small: it halves them twice, which wants 4 x 4 pixels", image);
    return 64 * (image[0] / 4) * (image[1] / 4);
  }

  norma::nn::Conv2d conv1;
  norma::nn::Norm norm1;
  norma::nn::Conv2d conv2{32, 64, 3, {.padding = 1}, {.bias = false}};
  norma::nn::Norm norm2;
  norma::nn::Linear fc1;
  norma::nn::Dropout drop{0.25};
  norma::nn::Linear fc2;
  NORMA_VISIT(conv1, norm1, conv2, norm2, fc1, drop, fc2)

  Tensor forward(const Tensor& x) override {  // [N, H, W, C]
    Tensor y = norm1(conv1, x);               // [N, H/2, W/2, 32]
    y = norm2(conv2, y);                      // [N, H/4, W/4, 64]
    return fc2(drop(relu(fc1(flatten(y)))));  // [N, classes]
  }
};

}  // namespace examples
