// ImageDataset: labelled pictures in memory, as bytes. transforms.h varies them, loader.h serves them in batches;
// reading them from files is the program's business (examples/common has readers of two formats).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "norma/core/tensor.h"

namespace norma::data {

struct ImageDataset {
  std::string name;
  Tensor images;  // u8 [N, H, W, C]
  Tensor labels;  // i64 [N], each in [0, classes())
  std::vector<std::string> class_names;

  int64_t size() const { return images.dim(0); }
  int64_t classes() const { return std::ssize(class_names); }
  // The first `count` samples, or all if there are fewer; a view. Error: a count below 1.
  ImageDataset first(int64_t count) const {
    check(count >= 1, "dataset", "the first {} samples of '{}': want at least 1", count, name);
    const int64_t n = std::min(count, size());
    return {name, view::slice(images, 0, 0, n), view::slice(labels, 0, 0, n), class_names};
  }
  void validate() const;  // throws unless all is as described above, with at least one sample
};

// Throws in the name of `op` unless images are u8 [N, H, W, C], none of these 0.
void check_images(std::string_view op, const Tensor& images);

// Mean and standard deviation of each channel, of pixels scaled to [0, 1].
struct ChannelStats {
  std::vector<double> mean, deviation;
};
ChannelStats channel_stats(const Tensor& images);  // u8 [N, H, W, C]; a constant channel gets a deviation of 1

}  // namespace norma::data
