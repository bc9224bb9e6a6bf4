// Optimizer: what SGD, Adam and AdamW share: the parameters, the learning rate, and the state by parameter.
//
//   Adam optimizer(model, {.lr = 1e-3});
//   optimizer.zero_grad();  ...  tape.backward(loss);  optimizer.step();
#pragma once

#include <functional>

#include "norma/nn/module.h"

namespace norma::nn {

// Which parameters the weight decay is applied to; none given means all of them.
using Decays = std::function<bool(const std::string& name, const Tensor& parameter)>;
// Leaves out biases and the scales and shifts of norms.
inline bool decay_matrices(const std::string&, const Tensor& parameter) { return parameter.rank() >= 2; }

// A module's parameters, or a list of one's own. Optimizers and limits want each element in it once: no tensor twice,
// and no two that share memory.
struct Parameters {
  Parameters(Module& module) : named(module.named_parameters()) {}
  Parameters(NamedTensors list) : named(std::move(list)) {}
  void check_distinct(std::string_view op) const;  // throws, naming both, and where one is undefined
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

  double lr() const { return *lr_.data<double>(); }
  void set_lr(double lr);

  // The learning rate, "lr", and for each parameter its count of steps and its running averages: "fc.weight/step",
  // "fc.weight/velocity". The tensors themselves, not copies. load_state wants exactly these names and shapes, and
  // numbers that can have been; it lists all that do not fit and then changes nothing.
  NamedTensors state() const;
  void load_state(const NamedTensors& state);
  // Throws in the name of `op` where the rate is one that set_lr refuses, or a count of steps negative.
  static void check_state(std::string_view op, const NamedTensors& state);

 protected:
  struct Slot {
    std::string name;
    Tensor parameter;
    double weight_decay;
    Tensor steps;                    // i64 []
    std::array<Tensor, 2> averages;  // like the parameter, zero at first; undefined beyond those that are named
  };
  // Named are the running averages that a parameter has, at most two.
  Optimizer(const char* name, Parameters parameters, double lr, double weight_decay, const Decays& decays,
            std::vector<const char*> averages);
  // What a step updates: those that have a gradient. Steps count from 1; averages[k] are the k-th of all parameters,
  // undefined where the optimizer has fewer.
  struct Batch {
    PoolVector<Tensor> parameters, grads, averages[2];
    PoolVector<double> weight_decays;
    PoolVector<int64_t*> steps;
  };
  virtual void update(const Batch& batch) = 0;

 private:
  const char* name_;
  Parameters parameters_;
  Tensor lr_;  // f64 []
  std::vector<const char*> averages_;
  std::vector<Slot> slots_;
};

// Limits on gradients, between backward and step(). They take optimizer.parameters(); a model would do, but its list is
// then made anew in each call.

// Scales all gradients by max_norm / (norm + 1e-6), as PyTorch, where their common Euclidean norm is larger than
// max_norm > 0 (Pascanu et al., "On the difficulty of training recurrent neural networks", 2013); else they stay as
// they are, to the bit. Returns the norm as it was, of f32 and f64 alike. A gradient that holds an infinity or a NaN
// has no direction: then the norm is infinite or NaN, and all stay as they are. (Finite gradients whose norm is too
// large for a double are scaled, and the norm is infinite.)
double clip_grad_norm(const Parameters& parameters, double max_norm);

// Clamps every element to [-limit, limit], limit > 0; a NaN stays one.
void clip_grad_value(const Parameters& parameters, double limit);

}  // namespace norma::nn
