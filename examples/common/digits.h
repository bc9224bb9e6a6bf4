// Drawn digits: a labelled data set without any file, for trying things out and for tests. Strokes of the ten digits,
// bent, turned, scaled, shifted, and overlaid with noise. Not a model of handwriting: MNIST is harder to a person and
// easier to a network.
#pragma once

#include "norma/nn/data/dataset.h"

namespace examples {

// `count` >= 1 pictures u8 [count, 28, 28, 1], white on black. Sample i depends on (seed, i) only.
norma::data::ImageDataset draw_digits(int64_t count, uint64_t seed);

}  // namespace examples
