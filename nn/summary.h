// summary: a model as a table of its modules, as text.
#pragma once

#include "norma/nn/module.h"

namespace norma::nn {

// Path, type, output shape and parameters of each module, and their totals. `pass` runs the model on an example:
//   summary(model, [&] { model(ids, mask); })
// in evaluation mode and unrecorded, which leaves no trace. A module that the pass did not call by its operator()(x)
// has no output shape; one that was called several times, its last. Tied parameters are counted in each place, but once
// in the totals. Error: an empty function.
std::string summary(Module& model, const std::function<void()>& pass);
// Of a pass over zeros of this shape, [N, H, W, C], of the dtype and on the device of the parameters.
std::string summary(Module& model, const Shape& input);
// Of model(inputs...), tensors of any dtypes.
std::string summary(auto& model, const std::derived_from<Tensor> auto&... inputs) {
  return summary(model, std::function<void()>([&] { model(inputs...); }));
}

}  // namespace norma::nn
