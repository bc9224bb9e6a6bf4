#include "norma/nn/sequential.h"

#include <typeinfo>

#include "norma/nn/layers.h"

namespace norma::nn {
// Layer i as an M, if there is one and it is no class derived from M, which might do something else.
template <class M>
static M* just(const std::vector<std::unique_ptr<Module>>& layers, size_t i) {
  return i < layers.size() && typeid(*layers[i]) == typeid(M) ? static_cast<M*>(layers[i].get()) : nullptr;
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (size_t i = 0; i < layers_.size();) {
    Conv2d* conv = just<Conv2d>(layers_, i);
    size_t next = conv ? i + 1 : i;
    Norm* norm = just<Norm>(layers_, next++);
    if (!norm || norm->max_pool || Observer::any()) {
      y = (*layers_[i++])(y);
      continue;
    }
    Activation f = norm->activation;
    if (f.kind == Activation::Kind::none) {
      if (just<ReLU>(layers_, next)) f = Activation::relu();
      const auto* leaky = just<LeakyReLU>(layers_, next);
      if (leaky && std::isfinite(leaky->slope)) f = Activation::leaky_relu(leaky->slope);  // else it throws, by itself
      if (f.kind != Activation::Kind::none) ++next;
    }
    std::optional<Pair> window;
    if (const auto* pool = just<MaxPool2d>(layers_, next)) {
      const Pool2dOptions& o = pool->options;
      if (o.stride.value_or(o.kernel) == o.kernel && o.padding == 0 && o.dilation == 1 && !o.ceil_mode)
        window = o.kernel, ++next;
    }
    y = norm->forward(conv, {y}, {}, f, window)[0];
    i = next;
  }
  return y;
}

}  // namespace norma::nn
