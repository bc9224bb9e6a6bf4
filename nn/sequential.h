// Sequential: modules one after the other, named "0", "1", ...
//
// Where a Norm stands among them, its neighbours go into its pass, with the same results: a ReLU or LeakyReLU behind it
// (if it has no activation of its own), then a MaxPool2d whose windows lie side by side, and in evaluation a Conv2d
// before it. With an Observer about, each layer runs by itself.
#pragma once

#include "norma/nn/module.h"

namespace norma::nn {

// A function of one tensor as a module, without parameters. Error: an empty function.
struct Lambda : Module {
  explicit Lambda(std::function<Tensor(const Tensor&)> f) : function(std::move(f)) {
    check(function != nullptr, "Lambda", "an empty function");
  }
  Tensor forward(const Tensor& x) override { return function(x); }
  std::function<Tensor(const Tensor&)> function;
};

class Sequential : public Module {
 public:
  // Sequential net(Conv2d(1, 8, 3), ReLU(), [](const Tensor& x) { return square(x); }, ...). Owns the modules: one that
  // is a variable has to be moved in. A function becomes a Lambda.
  template <class... M>
  requires((std::is_base_of_v<Module, M> || std::is_invocable_r_v<Tensor, M&, const Tensor&>)&&...)  //
      explicit Sequential(M... modules) {
    (add(std::move(modules)), ...);
  }

  Lambda& add(std::function<Tensor(const Tensor&)> function) { return add(Lambda(std::move(function))); }
  template <std::derived_from<Module> M>
  M& add(M module) {
    layers_.push_back(std::make_unique<M>(std::move(module)));
    auto& layer = static_cast<M&>(*layers_.back());
    ends_.push_back(&layer + 1);
    return layer;
  }

  size_t size() const { return layers_.size(); }
  Module& operator[](size_t i) {
    check(i < layers_.size(), "Sequential", "no module {} among {}", i, layers_.size());
    return *layers_[i];
  }

  void visit(Visitor& visitor) override {
    for (size_t i = 0; i < layers_.size(); ++i) {
      visitor.member(std::to_string(i), layers_[i]);
      visitor.ends[layers_[i].get()] = ends_[i];
    }
  }
  Tensor forward(const Tensor& x) override;

 private:
  std::vector<std::unique_ptr<Module>> layers_;
  std::vector<const void*> ends_;  // of their memory
};

}  // namespace norma::nn
