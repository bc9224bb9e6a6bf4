// Finds a data set in MNIST's format, or draws one, so that the examples run out of the box.
#pragma once

#include <string>

#include "norma/nn/data/dataset.h"

namespace examples {

struct Data {
  norma::data::ImageDataset train, test;
  std::string origin;    // to be shown: "fashion-mnist in /usr/share/datasets/fashion-mnist"
  bool mirrors = false;  // a picture's mirror image may be learned from too: of a boot, not of a digit
};

// From `folder` if one is given. Else from the first of these that holds a data set: $NORMA_DATA itself, or its
// subfolders fashion-mnist and mnist; /usr/share/datasets/fashion-mnist (of Debian's package dataset-fashion-mnist).
// Else, or where `synthetic`, drawn digits: 20,000 and 2,000 of them. Of both parts at most the first `limit` pictures.
Data find_mnist(const std::string& folder, bool synthetic, int64_t limit = INT64_MAX);

}  // namespace examples
