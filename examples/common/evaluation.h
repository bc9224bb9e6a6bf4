// What a trained classifier says to a data set.
#pragma once

#include <norma/norma.h>

#include "examples/common/confusion.h"

namespace examples {

struct Evaluation {
  ConfusionTable table{{}};
  double loss = 0;             // the mean cross-entropy
  double single_accuracy = 0;  // by the first view alone: by the picture as it is
};

// x [N, H, W, C], its columns in the reverse order.
norma::Tensor mirrored(const norma::Tensor& x);
// x [N, H, W, C], H and W > |by|, shifted by so many pixels along both axes; what is missing is reflected.
norma::Tensor shifted(const norma::Tensor& x, int64_t by);

// In evaluation mode, over one epoch of the loader; if that serves a worker's share, all workers call this, and each
// gets what all have found. The loader's data set is an ImageDataset. views: the logits are those of the picture (1);
// the mean over it and its mirror image (2); the mean of this and of the same of the picture shifted by a pixel up and
// left, or down and right, what is missing reflected (6, with weights of 1/4 and 1/8: Jordan 2024, section 3.5).
Evaluation evaluate(norma::nn::Module& model, norma::data::DataLoader& loader, norma::Device device, int64_t views = 1);

}  // namespace examples
