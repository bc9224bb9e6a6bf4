// gradcheck: compares the gradients that backward computes with central differences. Part of the public API, for those
// who write ops of their own.
//
// What makes it able to fail: the upstream gradient is random (under a plain sum the gradient of softmax or of a
// normalization is zero whatever the code does); fresh memory is poisoned with NaN; the sweep runs twice, once into no
// gradient and once into random ones that it must add to, there with an upstream gradient that is not contiguous;
// each input is once the only one that requires a gradient; f must give the same bits each time.
#pragma once

#include "norma/core/tensor.h"

namespace norma {

struct GradcheckOptions {
  double step = 1e-5;      // of the central differences, times max(1, |x|)
  double relative = 1e-6;  // allowed: |analytic - numeric| <= absolute + relative * max(|analytic|, |numeric|)
  double absolute = 1e-8;
  uint64_t seed = 1;
  int64_t max_elements = 256;  // inputs with more are checked along random directions instead of element by element
  int directions = 6;
  // Values near which f has no derivative, e.g. 0 for relu: inputs nearer than `margin` are moved away first.
  std::vector<double> kinks{};
  double margin = 1e-3;
};

struct GradcheckResult {
  bool ok = true;
  double worst = 0;     // the largest error found, as a multiple of what is allowed
  std::string message;  // of the first failure: which input, which index, both values
  explicit operator bool() const { return ok; }
};

// `f` is called many times with tensors of the shapes of `inputs`. Inputs of dtype f64 are differentiated, others are
// passed on as they are; f32 inputs are an error (differences in f32 prove nothing).
GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options = {});

}  // namespace norma
