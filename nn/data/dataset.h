// ImageDataset: labelled pictures in memory, as bytes. What norma::data does with them: read them from files or draw
// them (idx.h, digits.h), vary them (transforms.h), serve them in batches (loader.h).
#pragma once

#include <string>
#include <vector>

#include "norma/core/tensor.h"

namespace norma::data {

struct ImageDataset {
  std::string name;
  Tensor images;  // u8 [N, H, W, C]
  Tensor labels;  // i64 [N], each in [0, classes())
  std::vector<std::string> class_names;

  int64_t size() const { return images.dim(0); }
  int64_t classes() const { return static_cast<int64_t>(class_names.size()); }
  ImageDataset first(int64_t count) const;  // the first `count` samples (a view), or all if there are fewer
  void validate() const;                    // throws unless it is as described above, with at least one sample
};

// Reads `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` (or `t10k-...`) from a folder; each may end in `.gz`.
// The classes are named "0" to "9", or as Fashion-MNIST's if the path says "fashion" in any case, unless names are
// given. Errors: a file that is missing or damaged (see idx.h), other numbers of pictures and labels, a label that has
// no class.
ImageDataset load_mnist_folder(const std::string& folder, bool train, std::vector<std::string> class_names = {});

// Mean and standard deviation of each channel, of pixels scaled to [0, 1].
struct ChannelStats {
  std::vector<double> mean, deviation;
};
ChannelStats channel_stats(const Tensor& images);  // u8 [N, H, W, C]; a constant channel gets a deviation of 1

}  // namespace norma::data
