// What reaches the sigmoids while a network learns: the distribution of each layer's inputs to its activation, over the
// steps of a training, without a norm and with batch norm. The network of Ioffe & Szegedy's section 4.1 (figure 1).
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

constexpr double kStep = 0.5, kLimit = 6;  // of the picture's bins; what lies outside counts as at the limit
constexpr double kSaturated = 3;           // from here on the slope of a sigmoid is below a fifth of its largest

double share_saturated(const Tensor& x) { return 100 * mean(gt(abs(x), kSaturated).to(f64)).item(); }

void add_histogram(Table& table, int64_t step, const Tensor& x) {
  const auto bins = static_cast<int64_t>(2 * kLimit / kStep) + 1;
  std::vector<double> shares(static_cast<size_t>(bins));
  const std::vector<double> values = x.to_vector<double>();
  for (const double v : values)
    shares[static_cast<size_t>(std::lround((std::clamp(v, -kLimit, kLimit) + kLimit) / kStep))] += 1;
  for (int64_t b = 0; b < bins; ++b)
    table.add(step, fmt::format("{:g}", -kLimit + kStep * static_cast<double>(b)),
              100 * shares[static_cast<size_t>(b)] / static_cast<double>(values.size()));
}

Result run(Lab& lab) {
  const Recipe base{.epochs = lab.choose<int64_t>(6, 10), .batch = 64, .lr = 0.5, .constant = true};
  const int64_t all = steps(lab.train, base), every = std::max<int64_t>(1, all / 40);
  const data::Batch probe = first(lab, lab.test, 512);
  const std::vector<std::pair<std::string, std::string>> norms = {{"none", "no norm"}, {"bn", "batch norm"}};
  Result result;
  Table moved{"How far a unit's mean wanders", "layer", "deviations"},
      flat{"Saturated at the end", "layer", "% of inputs"};
  for (const auto& [norm, name] : norms)
    for (int layer = 1; layer <= 3; ++layer)
      result.tables.push_back({.title = fmt::format("{}, layer {}", name, layer),
                               .rows = "step",
                               .unit = "input of the sigmoid",
                               .heat = true});
  for (const uint64_t seed : lab.all_seeds())
    for (size_t k = 0; k < norms.size(); ++k) {
      Run net(lab, seed, mlp(lab, {.norm = norms[k].first}), kPlain);
      std::vector<std::vector<Units>> history(3);  // layer by layer
      const auto look = [&](Run& now, const data::Batch&) {
        if (now.step % every != 0) return;
        const std::vector<Tensor> inputs = activation_inputs(now.model, probe.images);
        for (size_t i = 0; i < inputs.size(); ++i) {
          history[i].push_back(units(inputs[i]));
          if (seed == 1) add_histogram(result.tables[3 * k + i], now.step, inputs[i]);
        }
      };
      net.model.train();
      look(net, {});
      Recipe recipe = base;
      recipe.after = look;
      train(lab, net, lab.train, recipe);

      const std::vector<Tensor> inputs = activation_inputs(net.model, probe.images);
      for (int layer = 1; layer <= 3; ++layer) {
        moved.add(layer, norms[k].second, wandering(history[static_cast<size_t>(layer - 1)]));
        flat.add(layer, norms[k].second, share_saturated(inputs[static_cast<size_t>(layer - 1)]));
      }
    }
  result.parts = {exceeds("in the last hidden layer, the units' means wander farther without a norm",
                          moved.at(3, "no norm"), moved.at(3, "batch norm"), 0.1, "deviations"),
                  exceeds("there, more of the sigmoids are saturated without a norm", flat.at(3, "no norm"),
                          flat.at(3, "batch norm"), 1)};
  result.tables.insert(result.tables.begin() + 3, moved);  // each at the end of a row of the figure
  result.tables.push_back(flat);
  return result;
}

}  // namespace

const Experiment kActivations{
    "activations", "Ioffe & Szegedy 2015, section 4.1", "What reaches the activations",
    "Batch norm keeps the distribution of a deep layer's inputs to its sigmoids in place while the network learns, and "
    "away from where they are flat.",
    run};

}  // namespace examples::why_norm
