// The same pictures in other units: from 0 to 1, from 10 to 100, and with mean 0 and variance 1, as everywhere else on
// this bench. The first layer's weights begin alike, so without a norm its sums grow with its inputs.
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

Result run(Lab& lab) {
  struct Inputs {
    const char* name;
    std::optional<std::pair<double, double>> range;
  };
  const Inputs all[] = {{"mean 0, variance 1", {}}, {"[0, 1]", std::pair(0., 1.)}, {"[10, 100]", std::pair(10., 100.)}};
  const std::vector<double> rates = {0.5, 0.05, 0.005};
  Table errors{"The inputs' scale", "inputs", "test error, %"};
  errors.bars = true;
  for (const uint64_t seed : lab.all_seeds())
    for (const Inputs& inputs : all) {
      const auto measure = [&](const std::string& norm, double lr) {
        Run net(lab, seed, mlp(lab, {.norm = norm, .range = inputs.range}), kPlain);
        train(lab, net, lab.train, {.epochs = 3, .batch = 64, .lr = lr, .constant = true});
        estimate(lab, net.model, lab.train, seed);
        return error(lab, net.model, lab.test);
      };
      Values none;
      for (const double lr : rates) none.push_back(measure("none", lr));
      errors.add(inputs.name, "no norm", none[0]);
      errors.add(inputs.name, "no norm, the best of three rates", std::ranges::min(none));
      errors.add(inputs.name, "batch norm", measure("bn", rates[0]));
      errors.add(inputs.name, "layer norm", measure("ln", rates[0]));
    }
  const auto at = [&](const char* inputs, const char* name) { return errors.at(inputs, name); };
  return {
      {errors},
      {exceeds("without a norm, [10, 100] is worse than [0, 1]", at("[10, 100]", "no norm"), at("[0, 1]", "no norm")),
       exceeds("and so it is at the best of three rates", at("[10, 100]", "no norm, the best of three rates"),
               at("[0, 1]", "no norm, the best of three rates")),
       no_worse("with batch norm, [10, 100] is no worse than [0, 1]", at("[10, 100]", "batch norm"),
                at("[0, 1]", "batch norm"), 1),
       no_worse("with layer norm, [10, 100] is no worse than [0, 1]", at("[10, 100]", "layer norm"),
                at("[0, 1]", "layer norm"), 1)}};
}

}  // namespace

const Experiment kInputScale{"input_scale", "LeCun et al. 1998, \"Efficient BackProp\", section 4.3",
                             "The scale of the inputs",
                             "Without a norm, the scale and the offset of the inputs decide whether a network trains; "
                             "with one, they do not matter.",
                             run};

}  // namespace examples::why_norm
