// Which optimizer trains which parameters of a network, and at which learning rate.
#pragma once

#include <norma/norma.h>

#include <CLI/CLI.hpp>

#include "examples/cifar/filter_muon.h"
#include "examples/common/program.h"

namespace examples {

struct RuleOptions {
  double lr = 0.2, momentum = 0.9, weight_decay = 5e-4;
  bool nesterov = true;
  std::string schedule = "onecycle";  // onecycle, cosine, step, triangle, linear
  std::string decay = "weights";      // what weight decay is of: weights (not of norms and biases), all
  std::string optimizer = "sgd";      // sgd, muon: of filters by Muon, of the rest by SGD
  double muon_lr = 0.24, muon_momentum = 0.6;
  // Of norms and biases, and of the bias of airbench's stem, how many times lr. The weight decay in a step, which is
  // lr weight_decay, is of all the same.
  double bias_lr = 1, stem_lr = 1;
  double stem_epochs = 3;  // for which the bias of airbench's stem is trained; its filters never are

  void add_to(CLI::App& app) {  // all but --lr, which other trainers have, too
    app.add_option("--schedule", schedule,
                   "of the learning rate: onecycle, cosine, step (as He et al.), triangle (as airbench94), linear")
        ->check(CLI::IsMember({"onecycle", "cosine", "step", "triangle", "linear"}));
    app.add_option("--momentum", momentum, "of SGD")->check(CLI::Range(0.0, 0.9999));
    app.add_option("--nesterov", nesterov, "whether SGD's momentum is Nesterov's");
    app.add_option("--weight-decay", weight_decay, "of what --decay says")->check(at_least(0));
    app.add_option("--decay", decay, "what decays: weights (not norms and biases), all")
        ->check(CLI::IsMember({"weights", "all"}));
    app.add_option("--bias-lr", bias_lr,
                   "learning rate of norms and biases, as a multiple of --lr; their decay in a step stays the same")
        ->check(at_least(0));
    app.add_option("--optimizer", optimizer, "sgd, or muon: Muon for filters, SGD for the rest")
        ->check(CLI::IsMember({"sgd", "muon"}));
    app.add_option("--muon-lr", muon_lr, "learning rate of Muon")->check(at_least(0));
    app.add_option("--muon-momentum", muon_momentum, "of Muon")->check(CLI::Range(0.0, 0.9999));
    app.add_option("--stem-lr", stem_lr, "airbench: as --bias-lr, of the stem's bias")->check(at_least(0));
    app.add_option("--stem-epochs", stem_epochs, "airbench: epochs for which the stem's bias is trained")
        ->check(at_least(0));
  }
};

// The learning rate of each of so many steps, lr at most.
inline std::function<double(int64_t step)> make_schedule(const std::string& name, double lr, int64_t steps) {
  const double all = static_cast<double>(steps);
  if (name == "onecycle") return norma::nn::OneCycleLR{.max_lr = lr, .steps = steps, .up = 0.2};
  if (name == "cosine") return norma::nn::CosineLR{.lr = lr, .steps = steps};
  if (name == "linear") return [=](int64_t step) { return lr * (1 - static_cast<double>(step) / all); };
  if (name == "triangle") {
    // As airbench94: from a fifth of it up to it in 23 % of the steps, and down to 7 %.
    const double top = std::floor(0.23 * all);
    return [=](int64_t step) {
      const double at = static_cast<double>(step);
      return lr * (at < top ? 0.2 + 0.8 * at / top : 1 - 0.93 * (at - top) / (all - top));
    };
  }
  // As He et al. (2016): a tenth of it from one half on, a hundredth from three quarters on.
  return [=](int64_t step) { return lr * (4 * step >= 3 * steps ? 0.01 : 2 * step >= steps ? 0.1 : 1); };
}

// An optimizer, its parameters, and how long they are trained.
struct Rule {
  std::string name;  // in checkpoints: empty where it is the only one
  std::unique_ptr<norma::nn::Optimizer> optimizer;
  std::function<double(int64_t step)> lr;
  int64_t steps;  // after which its parameters stay as they are
};

// All rules for a model: one of SGD, and where there is something for them, "filters" and "stem". Parameters that
// require no gradient are in none.
class Rules {
 public:
  // steps: of the whole training, of which an epoch has steps_of_epoch.
  Rules(norma::nn::Module& model, const RuleOptions& o, int64_t steps, int64_t steps_of_epoch) {
    using namespace norma;
    NamedTensors filters, stem, rest;
    for (const auto& [name, p] : model.named_parameters()) {
      if (!p.requires_grad()) continue;
      (name == "whiten.bias" ? stem : p.rank() == 4 && o.optimizer == "muon" ? filters : rest).emplace_back(name, p);
    }
    // Of those that are trained at `times` the rate. The product of rate and decay is the same for all.
    const auto group = [&](double times) {
      nn::GroupOptions result{.weight_decay = o.decay == "all" && times > 0 ? o.weight_decay / times : 0};
      if (times != 1) result.lr_scale = times;
      return result;
    };
    const auto sgd = [&](const NamedTensors& parameters, const nn::ParameterGroups& groups) {
      return std::make_unique<nn::SGD>(parameters, nn::SGDOptions{.lr = o.lr,
                                                                  .momentum = o.momentum,
                                                                  .nesterov = o.nesterov && o.momentum > 0,
                                                                  .weight_decay = o.weight_decay,
                                                                  .groups = groups});
    };
    const bool alone = filters.empty() && stem.empty();
    rules_.push_back({alone ? "" : "sgd", sgd(rest, {{nn::is_norm_or_bias, group(o.bias_lr)}}),
                      make_schedule(o.schedule, o.lr, steps), steps});
    if (!filters.empty())
      rules_.push_back(
          {"filters",
           std::make_unique<FilterMuon>(filters, FilterMuonOptions{.lr = o.muon_lr, .momentum = o.muon_momentum}),
           make_schedule(o.schedule, o.muon_lr, steps), steps});
    if (stem.empty()) return;
    const int64_t end = std::min(
        steps, static_cast<int64_t>(std::ceil(std::min(o.stem_epochs * static_cast<double>(steps_of_epoch), 1e15))));
    // A linear schedule ends where the stem's training does, as in airbench's version with Muon; any other is the
    // schedule of all.
    rules_.push_back({"stem", sgd(stem, {{"*", group(o.stem_lr)}}),
                      make_schedule(o.schedule, o.lr, o.schedule == "linear" ? end : steps), end});
  }

  // For a checkpoint; the first is that of SGD.
  norma::nn::Named<norma::nn::Optimizer> optimizers() const {
    norma::nn::Named<norma::nn::Optimizer> all;
    for (const Rule& rule : rules_) all.emplace_back(rule.name, *rule.optimizer);
    return all;
  }

  // Before the forward pass of step `step`, from 0: sets the rates, and lets go of what is trained no more.
  void begin(int64_t step) {
    for (const Rule& rule : rules_) {
      rule.optimizer->zero_grad();
      if (step < rule.steps) rule.optimizer->set_lr(rule.lr(step));
      else
        for (auto [_, p] : rule.optimizer->parameters().named) p.set_requires_grad(false);
    }
  }
  // Behind the backward pass. Of several workers, each names itself.
  void end(int64_t step, norma::nn::Worker* me = nullptr) {
    for (const Rule& rule : rules_) {
      if (step >= rule.steps) continue;
      if (me) norma::nn::average_gradients(*me, *rule.optimizer);
      rule.optimizer->step();
    }
  }

 private:
  std::vector<Rule> rules_;
};

}  // namespace examples
