// Limits on gradients, between backward and the optimizer's step. They take optimizer.parameters(); a model would do,
// but its list is then made anew in each call.
#pragma once

#include "norma/nn/optim/optimizer.h"

namespace norma::nn {

// Scales all gradients by max_norm / norm where their common Euclidean norm is larger than max_norm > 0 (Pascanu et
// al., "On the difficulty of training recurrent neural networks", 2013). Returns the norm as it was; where that is not
// finite, the gradients stay as they are.
double clip_grad_norm(const Parameters& parameters, double max_norm);

// Clamps every element to [-limit, limit], limit > 0.
void clip_grad_value(const Parameters& parameters, double limit);

}  // namespace norma::nn
