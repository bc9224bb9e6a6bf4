// What a trained classifier says to a data set.
#pragma once

#include <norma/norma.h>

#include "examples/common/confusion.h"

namespace examples {

struct Evaluation {
  ConfusionTable table{{}};
  double loss = 0;  // the mean cross-entropy
};

// x [N, H, W, C], its columns in the reverse order.
norma::Tensor mirrored(const norma::Tensor& x);

// In evaluation mode, over one epoch of the loader; if that serves a worker's share, all workers call this, and each
// gets what all have found. The loader's data set is an ImageDataset. flips: the mean of the logits of each picture and
// of its mirror image.
Evaluation evaluate(norma::nn::Module& model, norma::data::DataLoader& loader, norma::Device device,
                    bool flips = false);

}  // namespace examples
