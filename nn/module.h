// Module: a piece of a model, with its parameters, its buffers and the modules it is made of.
//
//   struct Net : nn::Module {
//     nn::Conv2d conv{1, 32, 3, {.padding = 1}};
//     nn::Linear fc{32 * 28 * 28, 10};
//     NORMA_VISIT(conv, fc)                                     // each member once; the names are those of the text
//     Tensor forward(const Tensor& x) override { return fc(flatten(relu(conv(x)))); }
//   };
//
// A module of several inputs has an operator() of its own instead of forward.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "norma/autograd/tape.h"
#include "norma/core/random.h"
#include "norma/core/serialize.h"

namespace norma::nn {

class Module;

// A tensor that is trained, and one that is merely kept. Handles, as every Tensor: a copy is the same tensor, and a
// parameter that stands in two places is tied. An undefined one is absent.
struct Parameter : Tensor {
  Parameter() = default;
  explicit Parameter(const Tensor& value) : Tensor(value.detach()) { set_requires_grad(); }
};
struct Buffer : Tensor {
  Buffer() = default;
  explicit Buffer(const Tensor& value) : Tensor(value.detach()) {}
};

// Receives a module's own members. Besides those two and modules: pointers (of any kind) and optionals, passed over
// where they are empty, and vectors, whose elements are named "blocks.0", "blocks.1", ...
class Visitor {
 public:
  template <class... M>
  void members(std::string_view names, M&... members) {  // names: "conv1, bn1_", blanks and final underscores dropped
    (member(next(names), members), ...);
  }

  template <class M>
  void member(const std::string& name, M& m) {
    if constexpr (std::is_base_of_v<Parameter, M>) parameters.emplace_back(name, &m);
    else if constexpr (std::is_base_of_v<Buffer, M>) buffers.emplace_back(name, &m);
    else if constexpr (std::is_base_of_v<Module, M>) children.emplace_back(name, &m);
    else if constexpr (requires { m[m.size()]; }) {
      for (size_t i = 0; i < m.size(); ++i) member(fmt::format("{}.{}", name, i), m[i]);
    } else {
      static_assert(
          requires { *m, static_cast<bool>(m); }, "visit() takes Parameter, Buffer, Module, or those inside");
      if (m) member(name, *m);
    }
  }

  std::vector<std::pair<std::string, Parameter*>> parameters;
  std::vector<std::pair<std::string, Buffer*>> buffers;
  std::vector<std::pair<std::string, Module*>> children;

 private:
  static std::string next(std::string_view& names);
};

// For the class body. What it does not list is neither trained, nor saved, nor moved. A class derived from a model
// writes visit() itself:  { Base::visit(visitor); visitor.members("head", head); }
#define NORMA_VISIT(...) \
  void visit(::norma::nn::Visitor& visitor) override { visitor.members(#__VA_ARGS__, __VA_ARGS__); }

// Moved, never copied: a copy would share its tensors with the original, and train it silently.
class Module {
 public:
  Module() = default;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  virtual ~Module() = default;

  virtual void visit(Visitor&) {}
  virtual Tensor forward(const Tensor& x);  // throws, unless overridden
  Tensor operator()(const Tensor& x);       // forward, of which observers are told

  // Names are paths, "features.0.weight"; the order is that of the declarations. A tied parameter comes once.
  NamedTensors named_parameters();
  NamedTensors named_buffers();
  std::vector<Tensor> parameters();
  // Parameters and buffers, named as PyTorch does; handles, not copies. Tied parameters under each of their names.
  NamedTensors state_dict();
  void zero_grad();

  // Calls f for this module, whose path is "", and for those below it, each before its children.
  void for_each(const std::function<void(const std::string& path, Module& module)>& f);

  void train(bool on = true);  // with all modules below
  void eval() { train(false); }
  bool is_training() const { return training_; }

  // Replaces what is not there yet by a copy, the gradients with it. An optimizer made before holds the old tensors.
  void to(Device device);
  void to(DType dtype);  // f32 or f64; parameters only: buffers have a dtype for a reason of their own

  virtual std::string type() const;  // "Conv2d"; for tables, not for decisions

 private:
  friend class EvalMode;
  bool training_ = true;
};

// Calls `after` when a module's operator() has run on this thread; a module comes after those inside it.
class Observer {
 public:
  using Callback = std::function<void(Module& module, const Tensor& x, const Tensor& y)>;
  explicit Observer(Callback after);
  ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;
  static bool any();  // whether this thread has one

 private:
  friend class Module;
  Callback after_;
  Observer* outer_;
};

// Evaluation mode for a scope. Afterwards each module has its own mode again, and the default generator its state.
class EvalMode {
 public:
  explicit EvalMode(Module& model);
  ~EvalMode();
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> modes_;
  Generator::State generator_ = default_generator().state();
};

}  // namespace norma::nn
