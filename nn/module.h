// Module: a piece of a model, with its parameters, its buffers and the modules it is made of; PyTorch's nn.Module. It
// says which tensors there are and what they are called: no autograd (autograd/tape.h), no files (state.h).
//
//   struct Net : nn::Module {
//     nn::Conv2d conv{1, 32, 3, {.padding = 1}};
//     nn::Linear fc{32 * 28 * 28, 10};
//     NORMA_VISIT(conv, fc)                                     // gives "conv.weight", "conv.bias", "fc.weight", ...
//     Tensor forward(const Tensor& x) override { return fc(flatten(relu(conv(x)))); }
//   };
//
// A module of several inputs has an operator() of its own instead of forward (see Module::Running).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "norma/autograd/tape.h"
#include "norma/core/random.h"
#include "norma/core/serialize.h"
#include "norma/ops/elementwise/in_place.h"

namespace norma::nn {

class Module;

// A place in memory that is known while an object is there; whatever it is copied or moved from, it is a new one.
struct Place {
  Place();
  Place(const Place&) : Place() {}
  Place& operator=(const Place&) = default;
  ~Place();
};
// What Parameter and Buffer are: tensors whose places are known, so that one is found which a module has as a member
// but does not list.
struct Member : Tensor, Place {
  Member() = default;
  explicit Member(Tensor value) : Tensor(std::move(value)) {}
};

// A tensor that is trained, and one that is saved and moved with the model but not trained. Both are handles, as every
// Tensor is: a copy is the same tensor, and a parameter that two members hold is tied. An undefined one is absent, like
// the bias of a layer without one.
// `p = x` with a Tensor overwrites p (ops/elementwise/in_place.h): x's values go into the memory that p has, so that
// whoever holds it, a tied layer or an optimizer, sees them, and whether p requires a gradient stays. An undefined p
// becomes a clone of x. `p = q` with another Parameter ties the two: p becomes a handle of q's tensor.
struct Parameter : Member {
  Parameter() = default;
  explicit Parameter(const Tensor& value) : Member(value.detach()) { set_requires_grad(); }
  Parameter& operator=(const Tensor& x) {
    return defined() ? overwrite(*this, x), *this : *this = Parameter(x.clone());
  }
};
struct Buffer : Member {
  Buffer() = default;
  explicit Buffer(const Tensor& value) : Member(value.detach()) {}
  Buffer& operator=(const Tensor& x) { return defined() ? overwrite(*this, x), *this : *this = Buffer(x.clone()); }
};

// What visit() fills in: the members of one module, each under its name. A member is a Parameter, a Buffer or a Module;
// a pointer of any kind or an optional to one of these, passed over where it is empty; or a vector of such, whose
// elements are named "blocks.0", "blocks.1", ...
class Visitor {
 public:
  // names: "conv1, bn1_", as many as members; blanks and final underscores are dropped.
  template <class... M>
  void members(std::string_view names, M&... members) {
    (member(next(names), members), ...);
  }

  template <class M>
  void member(const std::string& name, M& m) {
    if constexpr (std::is_base_of_v<Parameter, M>) parameters.emplace_back(name, &m);
    else if constexpr (std::is_base_of_v<Buffer, M>) buffers.emplace_back(name, &m);
    else if constexpr (std::is_base_of_v<Module, M>) children.emplace_back(name, &m), ends[&m] = &m + 1;
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
  // Where the memory of a module ends, as far as its type is known here: what lies in it is to be listed.
  std::map<const Module*, const void*> ends;

 private:
  static std::string next(std::string_view& names);  // takes the first name away
};

// Stands in the class body and lists the members, under their own names. What it leaves out is neither trained, nor
// saved, nor moved; so a Parameter or Buffer in a member that is left out is an error, when the tensors are listed,
// unless it is one that is listed elsewhere, too. What is to be left out is held by a pointer. A class derived from a
// model with members writes visit() itself:
//   void visit(Visitor& visitor) override { Base::visit(visitor); visitor.members("head", head); }
#define NORMA_VISIT(...)                               \
  void visit(::norma::nn::Visitor& visitor) override { \
    visitor.ends[this] = this + 1;                     \
    visitor.members(#__VA_ARGS__, __VA_ARGS__);        \
  }

// Moved, never copied: a copy would share its tensors with the original, and train it silently.
class Module {
 public:
  Module() = default;
  Module(Module&& other) noexcept : training_(other.training_) {}
  Module& operator=(Module&& other) noexcept { return training_ = other.training_, *this; }
  virtual ~Module() = default;

  virtual void visit(Visitor&) {}
  virtual Tensor forward(const Tensor& x);  // throws, unless overridden
  // forward(x), and then the Observers of this thread. Error: forward returns an undefined tensor.
  Tensor operator()(const Tensor& x);

  // While it lives, this thread runs the module. Errors, the tape, its profile and its trace then name the module by
  // its path in the outermost one that runs, as of its first run there: "blocks.3.conv1". The outermost itself, and one
  // that is not listed in it, have their type for a name. operator()(x) makes one; an operator() of several inputs may
  // begin with it:   const Running here(*this);
  class Running {
   public:
    explicit Running(Module& module);

   private:
    static inline constinit thread_local Module* outermost_ = nullptr;
    const Scoped<const char*> path_{running_module, running_module};
    const Scoped<Module*> root_;
  };

  // Names are paths, "features.0.weight"; the order is that of the lists of members, a module's own before those of the
  // modules in it. A tied parameter comes once, under its first name. Handles, not copies. Error: a member that holds
  // tensors and is not listed, see NORMA_VISIT.
  NamedTensors named_parameters();
  NamedTensors named_buffers();
  std::vector<Tensor> parameters();
  // Parameters and buffers, named as PyTorch does; tied parameters under each of their names.
  NamedTensors state_dict();
  void zero_grad() {  // the gradients become undefined
    for (const Tensor& p : parameters()) p.set_grad({});
  }

  // Calls f for this module, whose path is given, and for those below it, each before its children.
  void for_each(const std::function<void(const std::string& path, Module& module)>& f, const std::string& path = "");

  void train(bool on = true) {  // with all modules below
    for_each([on](const std::string&, Module& module) { module.training_ = on; });
  }
  void eval() { train(false); }
  bool is_training() const { return training_; }

  // Replaces each tensor that is on another device, or of another dtype, by a converted copy, its gradient with it. An
  // optimizer that was made before still holds the old tensors. Errors: a device that is not there; a dtype other than
  // f32 and f64.
  void to(Device device);
  void to(DType dtype);  // parameters only: a buffer's dtype is its own, as f64 for running_mean

  virtual std::string type() const;  // the class, "Conv2d"; to be shown, not to decide by

 private:
  friend class EvalMode;
  static inline std::atomic<uint32_t> serials_{0};
  // Of this object alone, unlike an address: what is known of a module is not taken for that of a later one.
  const uint32_t serial_ = ++serials_;
  bool training_ = true;
};

// While it lives, calls `after` behind each Module::operator()(x) of this thread, with what the module took and gave; a
// module comes after those inside it. PyTorch's forward hooks, for all modules at once. What a layer does in the pass
// of another is not seen; so where an Observer looks on, Norm and Sequential run layers one by one.
class Observer {
 public:
  using Callback = std::function<void(Module& module, const Tensor& x, const Tensor& y)>;
  explicit Observer(Callback after) : after_(std::move(after)) {
    check(after_ != nullptr, "Observer", "an empty function");
  }
  static bool any() { return innermost_ != nullptr; }  // whether this thread has one

 private:
  friend class Module;
  static inline constinit thread_local Observer* innermost_ = nullptr;
  Callback after_;
  const Scoped<Observer*> here_{innermost_, this};
};

// Evaluation mode while it lives. Afterwards each module has its former mode again, and the default generator its
// former state, so that an evaluation leaves no trace in the training around it.
class EvalMode {
 public:
  explicit EvalMode(Module& model) {
    model.for_each([this](const std::string&, Module& m) { modes_.try_emplace(&m, m.training_, false); });
  }

 private:
  std::map<const Module*, Scoped<bool>> modes_;  // one of each, if it stands in several places
  const Scoped<Generator> generator_{default_generator(), default_generator()};
};

}  // namespace norma::nn
