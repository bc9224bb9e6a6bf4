// Santurkar et al. (2018, section 2.1): batch norm, and behind it noise that moves the distribution of every unit in
// every step. If batch norm helped by keeping distributions in place, this would undo it.
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

Result run(Lab& lab) {
  struct Case {
    const char *name, *norm;
    bool noise;
  };
  const Recipe base{.epochs = lab.choose<int64_t>(3, 5), .batch = 64, .lr = 0.5, .constant = true};
  const int64_t every = std::max<int64_t>(1, steps(lab.train, base) / lab.choose(20, 40));
  const data::Batch probe = first(lab, lab.test, 512);
  Table moved{"A step moves a unit's mean, last hidden layer", "batch norm or none", "deviations"},
      errors{"and what is learned", "batch norm or none", "test error, %"};
  moved.bars = errors.bars = moved.log_y = true;
  for (const uint64_t seed : lab.all_seeds())
    for (const auto& [name, norm, noise] :
         {Case{"no norm", "none", false}, Case{"batch norm", "bn", false}, Case{"with noise", "bn", true}}) {
      const Mlp options{.norm = norm, .noise = noise};
      Run net(lab, seed, mlp(lab, options), kPlain);
      Units then;
      double sum = 0;
      int64_t looks = 0;
      Recipe recipe = base;
      const auto look = [&] { return units(activation_inputs(net.model, probe.images).back()); };
      recipe.before = [&](Run& now, const data::Batch&) {
        draw_noise(now, static_cast<uint64_t>(now.step), options.width);
        if (now.step % every == 0) then = look();
      };
      recipe.after = [&](Run& now, const data::Batch&) {
        if ((now.step - 1) % every != 0) return;
        draw_noise(now, static_cast<uint64_t>(now.step), options.width);  // that of the next step
        sum += movement(then, look());
        ++looks;
      };
      train(lab, net, lab.train, recipe);
      moved.add(name, "movement", sum / static_cast<double>(looks));
      estimate(lab, net.model, lab.train, seed);
      errors.add(name, "error", error(lab, net.model, lab.test));
    }
  return {
      {moved, errors},
      {exceeds("with noise, a step moves the units' means farther than without a norm",
               decades(moved.at("with noise", "movement")), decades(moved.at("no norm", "movement")), 0.05, "decades"),
       exceeds("yet with noise the error is below that without a norm", errors.at("no norm", "error"),
               errors.at("with noise", "error"))}};
}

}  // namespace

const Experiment kNoise{"noise", "Santurkar et al. 2018, section 2.1", "Batch norm whose output is shaken",
                        "Batch norm trains better than no norm even where noise behind it makes distributions move "
                        "more than they do without "
                        "a norm.",
                        run};

}  // namespace examples::why_norm
