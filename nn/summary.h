// summary: a model as a table of its modules, as text.
#pragma once

#include "norma/nn/module.h"

namespace norma::nn {

// Path, type, output shape and parameters of each module, and their totals. `input` is the shape of a batch,
// [N, H, W, C]. Runs one forward pass, of zeros in evaluation mode, which leaves no trace. A module that the pass did
// not call by its operator()(x) has no output shape; one that was called several times, its last. Tied parameters are
// counted in each place, but once in the totals.
std::string summary(Module& model, const Shape& input);

}  // namespace norma::nn
