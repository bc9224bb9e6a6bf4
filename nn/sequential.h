// Sequential: modules one after the other, named "0", "1", ... A Norm takes a ReLU or LeakyReLU behind it, and then a
// MaxPool2d by its own size, into its pass, and a Conv2d before it in evaluation the norm: with the same results, and
// unless an Observer wants to see each of them.
#pragma once

#include <memory>

#include "norma/nn/module.h"

namespace norma::nn {

class Sequential : public Module {
 public:
  // Sequential net(Conv2d(1, 8, 3), ReLU(), ...): takes the modules over; one that has a name must be moved in.
  template <class... M>
  requires(std::is_base_of_v<Module, M>&&...) explicit Sequential(M... modules) { (add(std::move(modules)), ...); }

  template <class M>
  M& add(M module) {
    layers_.push_back(std::make_unique<M>(std::move(module)));
    return static_cast<M&>(*layers_.back());
  }

  size_t size() const { return layers_.size(); }
  Module& operator[](size_t i) {
    check(i < layers_.size(), "Sequential", "no module {} among {}", i, layers_.size());
    return *layers_[i];
  }

  void visit(Visitor& visitor) override {
    for (size_t i = 0; i < layers_.size(); ++i) visitor.member(std::to_string(i), layers_[i]);
  }
  Tensor forward(const Tensor& x) override {
    Tensor y = x;
    for (size_t i = 0; i < layers_.size();) i += run(i, y);
    return y;
  }

 private:
  // Runs layer `first`, and those behind it that go in the same pass; returns how many these are.
  size_t run(size_t first, Tensor& y);

  std::vector<std::unique_ptr<Module>> layers_;
};

}  // namespace norma::nn
