// Section 3.1: what the population is estimated by. The moving average is made of batches that earlier weights saw; at
// a large SGD batch there are few steps, each of them a long one, and the average describes networks that no longer
// exist. One run a seed; every few steps it is evaluated twice, by the moving average of the training and by precise
// statistics.
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

// How far a curve goes up where it should go down: the mean rise from one point to the next.
double jaggedness(const std::vector<double>& curve) {
  double rise = 0;
  for (size_t i = 1; i < curve.size(); ++i) rise += std::max(0.0, curve[i] - curve[i - 1]);
  return curve.size() < 2 ? 0 : rise / static_cast<double>(curve.size() - 1);
}

Result run(Lab& lab) {
  Table curves{"Batch norm at an SGD batch of 1024", "step", "test error, %"};
  std::map<std::string, Values> early, jagged, final;  // by the kind of statistics
  for (const uint64_t seed : lab.all_seeds()) {
    Run net(lab, seed, [](int64_t channels) { return nn::BatchNorm(channels); });
    Recipe recipe{.epochs = lab.choose<int64_t>(20, 15), .batch = 1024, .lr = 0.4};
    const int64_t all = steps(lab.train, recipe), every = std::max<int64_t>(1, all / 40);
    std::map<std::string, std::vector<double>> curve;
    recipe.after = [&](Run& r, const data::Batch&) {
      if (r.step % every != 0) return;
      const Snapshot before(r);
      curve["moving average"].push_back(error(lab, r.model, lab.test));
      estimate(lab, r.model, lab.train, seed);
      curve["precise"].push_back(error(lab, r.model, lab.test));
      before.restore(r);
    };
    train(lab, net, lab.train, recipe);
    for (const char* kind : {"moving average", "precise"}) {
      const std::vector<double>& c = curve[kind];
      for (size_t i = 0; i < c.size(); ++i) curves.add(static_cast<int64_t>(i + 1) * every, kind, c[i]);
      const std::vector<double> first_half(c.begin(), c.begin() + std::max<int64_t>(1, std::ssize(c) / 2));
      early[kind].push_back(mean(first_half));
      jagged[kind].push_back(jaggedness(first_half));
      final[kind].push_back(c.back());
    }
  }
  return {{curves},
          {exceeds("in the first half, the moving average's error is above that of precise statistics",
                   early["moving average"], early["precise"]),
           exceeds("in the first half, it rises by more from one evaluation to the next", jagged["moving average"],
                   jagged["precise"], 0.1),
           no_worse("at the end, precise statistics are no worse", final["precise"], final["moving average"], 0.5)}};
}

}  // namespace

const Experiment kPopulation{"population", "section 3.1", "Moving average or precise statistics",
                             "At a large SGD batch the moving average lags: evaluated by it, the network looks worse "
                             "than it is, and its curve is "
                             "jagged, early in training. By precise statistics it is smooth, and no worse at the end.",
                             run};

}  // namespace examples
