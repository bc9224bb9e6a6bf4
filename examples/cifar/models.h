// The networks that cifar trains: the residual ones of common/resnet.h, ResNet-18 with a stem for small pictures,
// VGG-11, and airbench's; each with any norm, and by name.
#pragma once

#include <memory>

#include "examples/cifar/airbench.h"
#include "examples/common/norm_options.h"
#include "examples/common/resnet.h"

namespace examples {

// ResNet-18 of He et al. (2016), section 4.1, for pictures of 32 x 32 pixels: its first convolution is 3 x 3 with a
// stride of 1, and no pooling follows it.
struct ResNet18 : ResidualNet {
  ResNet18(int64_t classes, const MakeActivatedNorm& make_norm, int64_t colours)
      : ResidualNet({64, 128, 256, 512}, 2, classes, make_norm, colours) {}
};

// VGG-11 of Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015), with
// a norm behind each convolution and one Linear in place of three.
struct Vgg11 : norma::nn::Module {
  Vgg11(int64_t classes, const MakeActivatedNorm& make_norm, int64_t colours) : fc(512, classes) {
    int64_t in = colours;
    for (const auto& [out, pools] : std::initializer_list<std::pair<int64_t, bool>>{{64, true},
                                                                                    {128, true},
                                                                                    {256, false},
                                                                                    {256, true},
                                                                                    {512, false},
                                                                                    {512, true},
                                                                                    {512, false},
                                                                                    {512, true}}) {
      norma::nn::Norm norm = make_norm(out, norma::Activation::relu());
      if (pools) norm.max_pool = 2;
      convs.emplace_back(in, out, 3, norma::Conv2dOptions{.padding = 1}, norma::nn::BiasOption{norm.identity});
      norms.push_back(std::move(norm));
      in = out;
    }
  }

  std::vector<norma::nn::Conv2d> convs;
  std::vector<norma::nn::Norm> norms;
  norma::nn::Linear fc;
  NORMA_VISIT(convs, norms, fc)

  Tensor forward(const Tensor& x) override {  // [N, H, W, colours], H and W >= 32 -> [N, classes]
    norma::check(x.dim(1) >= 32 && x.dim(2) >= 32, "Vgg11", "halves pictures five times, {} want 32 x 32 pixels",
                 x.shape());
    Tensor y = x;
    for (size_t i = 0; i < convs.size(); ++i) y = norms[i](convs[i], y);
    return fc(global_avg_pool(y));
  }
};

inline const std::vector<std::string> kModels = {"resnet20", "resnet32", "resnet44",   "resnet56",  "resnet110",
                                                 "resnet18", "vgg11",    "airbench93", "airbench94"};

// One of kModels. Weights of convolutions are drawn as for ReLU (He et al. 2015), other than airbench's, which has its
// own; the filters of its stem are still to be set (whitening_filters).
inline std::unique_ptr<norma::nn::Module> make_model(const std::string& name, int64_t classes, int64_t colours,
                                                     const NormChoice& choice) {
  const MakeActivatedNorm make_norm = [&](int64_t channels, const norma::Activation& activation) {
    norma::nn::Norm norm = choice.layer(channels);
    norm.activation = activation;
    return norm;
  };
  std::unique_ptr<norma::nn::Module> model;
  using Widths = std::array<int64_t, 3>;
  if (name == "airbench93") model = std::make_unique<Airbench>(Widths{64, 128, 128}, classes, choice.layer, colours);
  else if (name == "airbench94")
    model = std::make_unique<Airbench>(Widths{64, 256, 256}, classes, choice.layer, colours);
  else if (name == "vgg11") model = std::make_unique<Vgg11>(classes, make_norm, colours);
  else if (name == "resnet18") model = std::make_unique<ResNet18>(classes, make_norm, colours);
  else model = std::make_unique<ResNet>(std::stoll(name.substr(6)), classes, make_norm, colours);
  const bool draws = dynamic_cast<Airbench*>(model.get()) == nullptr;
  model->for_each([&](const std::string& path, norma::nn::Module& module) {
    auto* conv = dynamic_cast<norma::nn::Conv2d*>(&module);
    if (!conv) return;
    if (draws) norma::nn::init::kaiming_normal(conv->weight);
    conv->standardized = choice.standardized && path != "whiten";
  });
  return model;
}

}  // namespace examples
