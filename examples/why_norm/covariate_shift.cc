// Internal covariate shift, in both definitions. Ioffe & Szegedy's: how far a step moves the distribution of what an
// activation receives. Santurkar et al.'s (2018, definition 2.1): how much the gradient of a layer changes when the
// layers below it have made their step, which they measure by the cosine of the two gradients.
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

constexpr int64_t kHidden = 3;

// The parameters, layer by layer: a linear layer's, then those of its norm.
struct Layers {
  explicit Layers(nn::Sequential& model) {
    for (const auto& [_, value] : model.named_parameters()) {
      if (value.rank() == 2) begin.push_back(values.size());  // a linear layer's weight
      values.push_back(value.detach());
    }
    begin.push_back(values.size());
  }
  std::vector<Tensor> values;
  std::vector<size_t> begin;  // of each layer, the number of its first; and how many there are in all
};

Result run(Lab& lab) {
  const Recipe base{.epochs = lab.choose<int64_t>(3, 6), .batch = 64, .lr = 0.5, .constant = true};
  const int64_t all = steps(lab.train, base), every = std::max<int64_t>(1, all / lab.choose(20, 40));
  const data::Batch probe = first(lab, lab.test, 512);
  Table moved{"A step moves a unit's mean by", "layer", "deviations"},
      kept{"The gradient, before and after the layers below have moved", "layer", "cosine"};
  moved.log_y = true;
  for (const uint64_t seed : lab.all_seeds())
    for (const auto& [norm, name] : {std::pair("none", "no norm"), std::pair("bn", "batch norm")}) {
      Run net(lab, seed, mlp(lab, {.norm = norm, .depth = kHidden}), kPlain);
      const Layers layers(net.model);
      std::vector<Units> before;
      std::vector<Tensor> former;
      Gradient then;
      Values distance_sum(kHidden), cosine_sum(kHidden + 1);
      int64_t looks = 0;
      Recipe recipe = base;
      recipe.before = [&](Run& now, const data::Batch& batch) {
        if (now.step % every != 0) return;
        then = gradient(now.model, batch);
        former = copies(layers.values);
        before.clear();
        for (const Tensor& x : activation_inputs(now.model, probe.images)) before.push_back(units(x));
      };
      recipe.after = [&](Run& now, const data::Batch& batch) {
        if ((now.step - 1) % every != 0) return;
        ++looks;
        const std::vector<Tensor> inputs = activation_inputs(now.model, probe.images);
        for (size_t i = 0; i < inputs.size(); ++i) distance_sum[i] += movement(before[i], units(inputs[i]));
        // Layer by layer from the last: those from l on as they were, those below as they are now.
        const std::vector<Tensor> latter = copies(layers.values);
        for (size_t l = kHidden; l > 0; --l) {
          const auto part = [&](const std::vector<Tensor>& tensors) {
            return std::span(tensors).subspan(layers.begin[l], layers.begin[l + 1] - layers.begin[l]);
          };
          for (size_t i = layers.begin[l]; i < layers.begin[l + 1]; ++i) layers.values[i].copy_from(former[i]);
          const Gradient moved_below = gradient(now.model, batch);
          const std::span<const Tensor> g = part(then.parts), h = part(moved_below.parts);
          cosine_sum[l] += dot(g, h) / std::max(length(g) * length(h), 1e-30);
        }
        restore(layers.values, latter);
      };
      train(lab, net, lab.train, recipe);
      for (int64_t layer = 1; layer <= kHidden; ++layer)
        moved.add(layer, name, distance_sum[static_cast<size_t>(layer - 1)] / static_cast<double>(looks));
      for (int64_t layer = 1; layer <= kHidden; ++layer)
        kept.add(layer + 1, name, cosine_sum[static_cast<size_t>(layer)] / static_cast<double>(looks));
    }
  return {{moved, kept},
          {exceeds("in the last hidden layer, a step moves the units' means farther without a norm",
                   decades(moved.at(kHidden, "no norm")), decades(moved.at(kHidden, "batch norm")), 0.05, "decades"),
           exceeds("there, the gradient stays closer to what it was with batch norm", kept.at(kHidden, "batch norm"),
                   kept.at(kHidden, "no norm"), 0.02, "of a cosine")}};
}

}  // namespace

const Experiment kCovariateShift{
    "covariate_shift", "Ioffe & Szegedy 2015, section 2; Santurkar et al. 2018, section 2.2",
    "Internal covariate shift",
    "Batch norm reduces internal covariate shift: what a layer receives moves less in each step, and so the layer's "
    "gradient is less outdated by what the layers below it do.",
    run};

}  // namespace examples::why_norm
