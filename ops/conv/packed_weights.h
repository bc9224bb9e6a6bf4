// Weights in the form in which the CPU's convolutions multiply, kept from one call to the next: for inference with
// small batches, where making it is a good part of the time. It is not a cache that watches the weights: while it
// lives, nobody can write into them.
#pragma once

#include <map>
#include <mutex>

#include "norma/autograd/op.h"

namespace norma {

// While it lives, conv2d and conv2d_norm on the CPU, in f32, pack each of these weights once for each form that they
// want it in (another batch size may want another), and keep that: 1 to 4 times the weight's memory for each. The
// results have the same bits. Any number of threads may run the model meanwhile; to write into the weights is an error,
// as for what a tape has saved. Of weights that are strided, of another dtype or on another device, and where a model
// makes its weights anew in each call (weight standardization), nothing is kept.
//
//     net.eval();
//     const PackedWeights packed(net.parameters());
//     for (const Tensor& picture : pictures) show(net(picture));
class PackedWeights {
 public:
  explicit PackedWeights(const std::vector<Tensor>& weights);
  ~PackedWeights();
  PackedWeights& operator=(PackedWeights&&) = delete;  // neither moved nor copied
  int64_t bytes() const;                               // of memory that the forms kept so far have

  // For kernels: the `size` floats that pack(to) writes, kept where a PackedWeights holds the weight. A form is a
  // weight, by the address of its elements, and all that what is written depends on besides.
  using Form = std::pair<const float*, std::array<int64_t, 7>>;
  static Tensor find(const Form& form, int64_t size, const std::function<void(float*)>& pack);

 private:
  std::map<const float*, Saved> weights_;
  std::map<Form, Tensor> forms_;
};

}  // namespace norma
