// Optimizer: what SGD, Adam and the others share: the parameters, their groups, the learning rate, and the state by
// parameter.
//
//   Adam optimizer(model, {.lr = 1e-3});
//   optimizer.zero_grad();  ...  tape.backward(loss);  optimizer.step();
#pragma once

#include <concepts>
#include <functional>
#include <optional>

#include "norma/nn/module.h"
#include "norma/ops/optim/optim.h"

namespace norma::nn {

// Some of the parameters: those whose name a glob matches, as "head.*" or "*.bias" (* stands for any characters, dots
// too, ? for one, [ab] for one of these), or those that a predicate of name and parameter takes.
struct Selector {
  Selector(std::string text);
  Selector(const char* text) : Selector(std::string(text)) {}
  Selector(std::predicate<const std::string&, const Tensor&> auto predicate) : takes(std::move(predicate)) {}
  std::function<bool(const std::string& name, const Tensor& parameter)> takes;
  std::string words = "a predicate";  // or "'head.*'"
};
// Those of fewer than two axes: biases, and the scales and shifts of norms.
inline bool is_norm_or_bias(const std::string&, const Tensor& parameter) { return parameter.rank() < 2; }

// What an optimizer does otherwise for some of its parameters. Where several groups take a parameter, each setting is
// that of the last one that gives it:
//   SGD(model, {.lr = 0.1, .groups = {{"head.*", {.lr_scale = 10}}, {is_norm_or_bias, {.weight_decay = 0}}}})
struct GroupOptions {
  // The first multiplies the learning rate, that of set_lr too; the second replaces the optimizer's. At least 0.
  std::optional<double> lr_scale{}, weight_decay{};
};
// A glob that matches nothing is an error; a predicate may take nothing.
using ParameterGroups = std::vector<std::pair<Selector, GroupOptions>>;

// A module's parameters, or a list of one's own. Optimizers and limits want each element in it once: no tensor twice,
// and no two that share memory.
struct Parameters {
  Parameters(Module& module) : named(module.named_parameters()) {}
  Parameters(NamedTensors list) : named(std::move(list)) {}
  void check_distinct(std::string_view op) const;  // throws, naming both, and where one is undefined
  // Those that the selector takes, in their order. Errors: a glob that matches none; an empty function.
  Parameters matching(const Selector& which, std::string_view op = "Parameters") const;
  NamedTensors named;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(Optimizer&&) = default;  // not copied: a copy would share the state
  Optimizer& operator=(Optimizer&&) = default;

  // One update from the gradients that are there; parameters without one are passed over. Errors, before anything is
  // written: no parameter has a gradient; a parameter that a pending tape entry has saved; a learning rate that set_lr
  // would refuse.
  void step();
  void zero_grad();
  const Parameters& parameters() const { return parameters_; }  // as clip_grad_norm takes them

  // What they do otherwise, in words: "'head.*' of 2, lr_scale 10; a predicate of 3, weight_decay 0". A checkpoint
  // keeps it, and a run with other words cannot go on from there. load_state keeps the groups that this optimizer has.
  const std::string& groups() const { return groups_; }

  // Lookahead (Zhang et al., "Lookahead optimizer: k steps forward, 1 step back", 2019), of any optimizer: behind every
  // k-th step of a parameter p, slow += alpha (p - slow) and p = slow, where slow is at first what p is now: weights
  // are loaded before. k is at least 1, alpha in (0, 1]. The state has "slow" for each parameter from here on.
  void look_ahead(int64_t k = 5, double alpha = 0.5);

  double lr() const { return *lr_.data<double>(); }
  void set_lr(double lr);

  // The learning rate, "lr", and for each parameter its count of steps and its running averages: "fc.weight/step",
  // "fc.weight/velocity". The tensors themselves, not copies. load_state wants exactly these names and shapes, and
  // numbers that can have been; it lists all that do not fit and then changes nothing.
  NamedTensors state() const;
  void load_state(const NamedTensors& state);
  // Throws in the name of `op` where the rate is one that set_lr refuses, or a count of steps negative, of what has a
  // name that begins so.
  static void check_state(std::string_view op, const NamedTensors& state, std::string_view prefix = "");

 protected:
  struct Slot {
    std::string name;
    Tensor parameter;
    double weight_decay, lr_scale;
    Tensor steps;                                            // i64 []
    std::vector<std::pair<const char*, Tensor>> averages{};  // like the parameter, zero at first; at most two
    Tensor slow{};                                           // of look_ahead(); else undefined
  };
  // Named are the running averages that a parameter has, at most two.
  Optimizer(const char* name, Parameters parameters, double lr, double weight_decay, const ParameterGroups& groups,
            const std::vector<const char*>& averages);
  virtual void update(std::span<const ParameterStep> steps) = 0;  // of the parameters that have a gradient
  std::vector<Slot> slots_;                                       // of each parameter

 private:
  const char* name_;
  std::string groups_;
  int64_t k_ = 0;  // and alpha: of look_ahead()
  double alpha_ = 0;
  Parameters parameters_;
  Tensor lr_;  // f64 []
};

// Limits on gradients, between backward and step(). They take optimizer.parameters(), or some of these, as in
// clip_grad_norm(optimizer.parameters().matching("head.*"), 1); a model would do, but its list is then made anew in
// each call.

// Scales all gradients by max_norm / (norm + 1e-6), as PyTorch, where their common Euclidean norm is larger than
// max_norm > 0 (Pascanu et al., "On the difficulty of training recurrent neural networks", 2013); else they stay as
// they are, to the bit. Returns the norm as it was, of f32 and f64 alike. A gradient that holds an infinity or a NaN
// has no direction: then the norm is infinite or NaN, and all stay as they are. (Finite gradients whose norm is too
// large for a double are scaled, and the norm is infinite.)
double clip_grad_norm(const Parameters& parameters, double max_norm);

// Clamps every element to [-limit, limit], limit > 0; a NaN stays one.
void clip_grad_value(const Parameters& parameters, double limit);

}  // namespace norma::nn
