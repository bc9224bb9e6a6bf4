// ImageDataset: labelled pictures in memory, as bytes. norma::data varies them (transforms.h) and serves them in
// batches (loader.h); where they come from is the program's business.
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

// Mean and standard deviation of each channel, of pixels scaled to [0, 1].
struct ChannelStats {
  std::vector<double> mean, deviation;
};
ChannelStats channel_stats(const Tensor& images);  // u8 [N, H, W, C]; a constant channel gets a deviation of 1

}  // namespace norma::data
