// The playground's network: hidden layers, each a convolution or a linear map, a norm and an activation, and a linear
// layer of as many outputs as there are classes. Its layers stand apart, rather than in a Sequential, so that what
// reaches each activation can be looked at while a step runs.
#pragma once

#include "examples/playground/settings.h"
#include "norma/nn/layers.h"

namespace examples::playground {

struct Hidden : nn::Module {
  Hidden(std::unique_ptr<nn::WeightedLayer> map, int64_t channels, Activate f)
      : weights(std::move(map)), norm(channels), activation(f) {}
  std::unique_ptr<nn::WeightedLayer> weights;
  nn::Norm norm;
  Activate activation;
  NORMA_VISIT(weights, norm)
};

// What one hidden layer makes of a batch: the norm's input, and the activation's.
struct Look {
  Tensor received, normalized;
};

struct Network : nn::Module {
  // `sample`: the shape of one. Weights begin as He (ReLU) or Glorot (sigmoid, tanh) have it, biases as 0, whatever the
  // norm is: networks of one seed start alike.
  Network(const Settings& settings, const Shape& sample, int64_t classes);

  Tensor forward(const Tensor& x) override { return forward(x, nullptr); }
  // Also notes what each hidden layer makes, for a tape to watch.
  Tensor forward(const Tensor& x, std::vector<Look>* looks);

  // Gives all norms these settings, in the middle of a training if need be. gamma and beta begin anew, as 1 and 0,
  // where there are others than before; then true is returned, since an optimizer holds the old ones. Throws
  // norma::Error, before anything is changed, where the settings do not go together.
  bool apply(const Settings& settings);

  std::vector<std::unique_ptr<Hidden>> hidden;
  std::optional<nn::Linear> head;
  NORMA_VISIT(hidden, head)
};

// The settings of a norm of so many channels.
nn::NormSettings norm_settings(const Settings& settings, int64_t channels);

}  // namespace examples::playground
