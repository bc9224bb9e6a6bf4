// The network of Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (2024), https://arxiv.org/abs/2404.00498,
// with its initial weights: a stem that whitens small patches of the pictures, and convolutions that begin as the
// identity.
#pragma once

#include <norma/norma.h>

#include "examples/cifar/eigen.h"

namespace examples {

using norma::Tensor;

// Filters that whiten patches of size x size pixels: the eigenvectors of the patches' second moments, each divided by
// sqrt(eigenvalue + eps); behind them the same with the opposite sign, since an activation follows. Over the pictures
// that they are made from, the outputs of the first half are uncorrelated, with a mean square of nearly 1. (From tysam,
// hlb-CIFAR10, 2023, after Page, "How to train your ResNet", 2019.)
// images: u8 [N, H, W, C], of which the first 5,000 count -> [2 size size C, size, size, C].
inline Tensor whitening_filters(const Tensor& images, const norma::data::ChannelStats& stats, int64_t size = 2,
                                double eps = 5e-4) {
  const Tensor first = norma::view::slice(images, 0, 0, std::min<int64_t>(images.dim(0), 5000)).contiguous();
  const Tensor x = norma::data::to_float(first, stats);
  const int64_t height = x.dim(1), width = x.dim(2), channels = x.dim(3), row = size * channels, n = size * row;
  norma::check(x.dim(0) >= 1 && height >= size && width >= size, "whitening_filters", "patches of {} x {} pixels of {}",
               size, size, x.shape());
  std::vector<double> moments(static_cast<size_t>(n * n), 0), patch(static_cast<size_t>(n));
  const float* pixels = x.data<float>();
  for (int64_t i = 0; i < x.dim(0); ++i)
    for (int64_t h = 0; h + size <= height; ++h)
      for (int64_t w = 0; w + size <= width; ++w) {
        for (int64_t k = 0; k < size; ++k)
          std::copy_n(pixels + ((i * height + h + k) * width + w) * channels, row, patch.begin() + k * row);
        for (size_t a = 0; a < patch.size(); ++a)
          for (size_t b = 0; b <= a; ++b) moments[a * patch.size() + b] += patch[a] * patch[b];
      }
  const double count = static_cast<double>(x.dim(0) * (height - size + 1) * (width - size + 1));
  for (size_t a = 0; a < patch.size(); ++a)
    for (size_t b = 0; b <= a; ++b)
      moments[b * patch.size() + a] = moments[a * patch.size() + b] = moments[a * patch.size() + b] / count;

  const Eigen eigen = symmetric_eigen(std::move(moments), n);
  const Tensor filters({2 * n, size, size, channels});
  float* f = filters.mutable_data<float>();
  for (int64_t k = 0; k < n; ++k)
    for (int64_t j = 0; j < n; ++j) {
      const double scale = 1 / std::sqrt(std::max(eigen.values[static_cast<size_t>(k)], 0.0) + eps);
      f[k * n + j] = static_cast<float>(eigen.vectors[static_cast<size_t>(k * n + j)] * scale);
      f[(n + k) * n + j] = -f[k * n + j];
    }
  return filters;
}

// Makes the first filters the identity: filter c passes channel c on. weight: [out, KH, KW, in]; where out > in the
// filters from `in` on stay as they are. (Zagoruyko and Komodakis, "DiracNets", 2017.)
inline void begin_as_identity(const Tensor& weight) {
  const int64_t out = weight.dim(0), height = weight.dim(1), width = weight.dim(2), in = weight.dim(3);
  float* w = weight.mutable_data<float>();
  for (int64_t o = 0; o < std::min(out, in); ++o) {
    float* filter = w + o * height * width * in;
    std::fill_n(filter, height * width * in, 0.0F);
    filter[(height / 2 * width + width / 2) * in + o] = 1;
  }
}

// A norm for so many channels, without an activation.
using MakePlainNorm = std::function<norma::nn::Norm(int64_t channels)>;

// gelu(norm2(conv2(gelu(norm1(max_pool(conv1(x)))))))
struct AirbenchGroup : norma::nn::Module {
  AirbenchGroup(int64_t in, int64_t out, const MakePlainNorm& make_norm)
      : norm1(make_norm(out)),
        norm2(make_norm(out)),
        conv1(in, out, 3, {.padding = 1}, {.bias = norm1.identity}),
        conv2(out, out, 3, {.padding = 1}, {.bias = norm1.identity}) {
    for (norma::nn::Conv2d* conv : {&conv1, &conv2}) begin_as_identity(conv->weight);
    for (norma::nn::Norm* norm : {&norm1, &norm2}) {
      norm->eps = 1e-12;
      if (norm->weight.defined()) norm->weight.set_requires_grad(false);  // it stays 1
    }
  }
  norma::nn::Norm norm1, norm2;
  norma::nn::Conv2d conv1, conv2;
  NORMA_VISIT(conv1, norm1, conv2, norm2)

  Tensor forward(const Tensor& x) override {  // [N, H, W, in] -> [N, H / 2, W / 2, out]
    return gelu(norm2(conv2, gelu(norm1(max_pool2d(conv1(x), {.kernel = 2})))));
  }
};

// A stem whose filters are frozen, three groups, a max-pool over what is left of the picture (3 x 3), a Linear without
// a bias; the logits are divided by 9. widths: the channels of the groups.
struct Airbench : norma::nn::Module {
  Airbench(std::array<int64_t, 3> widths, int64_t classes, const MakePlainNorm& make_norm, int64_t colours)
      : whiten(colours, 8 * colours, 2),
        groups(make_groups(8 * colours, widths, make_norm)),
        fc(widths[2], classes, {.bias = false}) {
    whiten.weight.set_requires_grad(false);
    whiten.bias.fill(0);
  }
  norma::nn::Conv2d whiten;
  std::vector<AirbenchGroup> groups;
  norma::nn::Linear fc;
  NORMA_VISIT(whiten, groups, fc)

  Tensor forward(const Tensor& x) override {  // [N, 32, 32, colours] -> [N, classes]
    Tensor y = gelu(whiten(x));
    for (AirbenchGroup& group : groups) y = group(y);
    y = max_pool2d(y, {.kernel = 3});
    norma::check(y.dim(1) == 1 && y.dim(2) == 1, "Airbench", "{}: want pictures of about 32 x 32 pixels", x.shape());
    return fc(flatten(y)) * (1.0 / 9);
  }

 private:
  static std::vector<AirbenchGroup> make_groups(int64_t in, std::array<int64_t, 3> widths,
                                                const MakePlainNorm& make_norm) {
    std::vector<AirbenchGroup> made;
    for (const int64_t out : widths) made.emplace_back(in, out, make_norm), in = out;
    return made;
  }
};

}  // namespace examples
