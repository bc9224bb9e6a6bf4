// The networks that train_step and latency time, by the names that bench/peers/torch_step.py knows them by, too.
#pragma once

#include <norma/norma.h>

#include "bench/noise.h"
#include "examples/cifar/models.h"
#include "examples/mnist/model.h"

namespace bench {

inline const std::vector<std::string> kNetworks = {"resnet20", "resnet18", "mnist_cnn"};

// [H, W, C] of the pictures that a network takes.
inline Shape image_of(const std::string& network) {
  return network == "mnist_cnn" ? Shape{28, 28, 1} : Shape{32, 32, 3};
}

// One of kNetworks, with batch norm: the resnets are those of examples/cifar, mnist_cnn is that of examples/mnist.
inline std::unique_ptr<nn::Module> make_network(const std::string& name) {
  if (name != "mnist_cnn")
    return examples::make_model(name, kClasses, 3, {.layer = [](int64_t c) { return nn::BatchNorm(c); }});
  auto cnn = std::make_unique<examples::SmallCnn>(image_of(name), kClasses);
  cnn->drop.eval();  // no dropout: its random numbers are not those of another framework
  return cnn;
}

// Weights in PyTorch's layout, as files for the programs in bench/peers have them.
inline nn::StateOptions torch_layout(const Shape& image) { return {.layout = nn::Layout::torch, .input = image}; }

}  // namespace bench
