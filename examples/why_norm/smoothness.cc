// Santurkar et al. (2018, section 3): how far the gradient can be trusted. Now and then in a training, the loss and the
// gradient of the batch are computed along the gradient, at half, one, two and four times the step that is taken. Three
// measures of one look: by how much the loss varies on that way, by how much the gradient changes, and the latter by
// the length of the way, the largest each.
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

struct Look {
  double loss, gradient, smoothness;
};

Look look(nn::Module& model, const data::Batch& batch, double lr) {
  std::vector<Tensor> parameters;
  for (const Tensor& p : model.parameters()) parameters.push_back(p.detach());
  const std::vector<Tensor> here = copies(parameters);
  const Gradient g = gradient(model, batch);
  double low = g.loss, high = g.loss;
  Look result{0, 0, 0};
  for (const double factor : {0.5, 1., 2., 4.}) {
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i].copy_from(here[i] - factor * lr * g.parts[i]);
    const Gradient there = gradient(model, batch);
    low = std::min(low, there.loss), high = std::max(high, there.loss);
    const double change = distance(g.parts, there.parts);
    result.gradient = std::max(result.gradient, change);
    result.smoothness = std::max(result.smoothness, change / std::max(factor * lr * length(g.parts), 1e-30));
  }
  restore(parameters, here);
  result.loss = high - low;
  return result;
}

Result run(Lab& lab) {
  const int64_t looks = 20;
  Result result;
  for (const Squash squash : {Squash::sigmoid, Squash::relu}) {
    const Recipe base{.epochs = lab.choose<int64_t>(3, 5),
                      .batch = 64,
                      .lr = squash == Squash::sigmoid ? 0.5 : 0.1,
                      .constant = true};
    const int64_t every = std::max<int64_t>(1, steps(lab.train, base) / looks);
    const char* measures[] = {"loss", "gradient", "per length"};
    Table table{fmt::format("Change along the gradient, {}", text(squash)), "measure", "mean over the training"};
    table.bars = table.log_y = true;
    for (const uint64_t seed : lab.all_seeds())
      for (const auto& [norm, name] : {std::pair("none", "no norm"), std::pair("bn", "batch norm")}) {
        Run net(lab, seed, mlp(lab, {.norm = norm, .squash = squash}), kPlain);
        Look sum{0, 0, 0};
        int64_t count = 0;
        Recipe recipe = base;
        recipe.before = [&](Run& now, const data::Batch& batch) {
          if (now.step % every != 0) return;
          const Look l = look(now.model, batch, base.lr);
          sum.loss += l.loss, sum.gradient += l.gradient, sum.smoothness += l.smoothness;
          ++count;
        };
        train(lab, net, lab.train, recipe);
        const auto mean_of = [&](double value) { return value / static_cast<double>(count); };
        table.add(measures[0], name, mean_of(sum.loss));
        table.add(measures[1], name, mean_of(sum.gradient));
        table.add(measures[2], name, mean_of(sum.smoothness));
      }
    for (const char* measure : measures)
      result.parts.push_back(
          exceeds(fmt::format("{}: more change along the gradient without a norm ({})", text(squash), measure),
                  decades(table.at(measure, "no norm")), decades(table.at(measure, "batch norm")), 0.05, "decades"));
    result.tables.push_back(table);
  }
  return result;
}

}  // namespace

const Experiment kSmoothness{"smoothness", "Santurkar et al. 2018, section 3", "How far the gradient can be trusted",
                             "With batch norm the loss is smoother: along the gradient the loss varies less, and the "
                             "gradient changes less.",
                             run};

}  // namespace examples::why_norm
