// Dataset: samples that are asked for by number, each a list of fields: a picture and its label; a sentence and its
// length. transforms.h varies pictures, loader.h serves samples in batches; reading files is norma::datasets's business
// or the program's. A data set of one's own has two functions:
//
//   struct Scans : data::Dataset {
//     int64_t size() const override { return 1000; }
//     data::Fields get(int64_t index) const override { return {scan(index), mask(index)}; }
//   };
#pragma once

#include <span>
#include <string>
#include <vector>

#include "norma/core/tensor.h"

namespace norma::data {

// The fields of a sample, or of a batch of samples: tensors of any dtype on the CPU. Pictures are u8 [H, W, C] of a
// sample, u8 [B, H, W, C] of a batch, and come first.
using Fields = std::vector<Tensor>;

// Mean and standard deviation of each channel, of pixels scaled to [0, 1]: pictures are normalized by them.
struct ChannelStats {
  std::vector<double> mean, deviation;
};
ChannelStats channel_stats(const Tensor& images);  // u8 [N, H, W, C]; a constant channel gets a deviation of 1
// The same, from how often each channel has each value.
ChannelStats stats_of(std::span<const std::array<int64_t, 256>> counts);

struct Dataset {
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  // The fields of sample `index` in [0, size()): always the same. A loader's threads call it at the same time.
  virtual Fields get(int64_t index) const = 0;
  // The fields of a batch of these samples, each [B, ...]. Here: what get() returns, stacked. Overridden where there is
  // a faster way, or to put samples together whose shapes differ: padded, say.
  virtual Fields gather(std::span<const int64_t> indices) const;
  // What pictures are normalized by in training, unless the loader is told otherwise.
  virtual ChannelStats statistics() const { fail("dataset", "has no statistics: give LoaderOptions::normalize"); }
  virtual void validate() const {}  // throws what is wrong; a loader asks when it is made
};

// Tensors in memory, each [N, ...]: sample i is the i-th entry of each. Errors: no tensor, or of different N.
struct TensorDataset : Dataset {
  Fields fields;  // contiguous, on the CPU

  explicit TensorDataset(Fields tensors);
  int64_t size() const override { return fields[0].dim(0); }
  Fields get(int64_t index) const override;
  Fields gather(std::span<const int64_t> indices) const override;
  ChannelStats statistics() const override { return channel_stats(fields[0]); }
};

// Labelled pictures in memory: samples of a picture u8 [H, W, C] and a label i64 [].
struct ImageDataset : Dataset {
  std::string name;
  Tensor images;  // u8 [N, H, W, C]
  Tensor labels;  // i64 [N], each in [0, classes())
  std::vector<std::string> class_names;

  ImageDataset() = default;
  ImageDataset(std::string called, const Tensor& x, const Tensor& y, std::vector<std::string> names)
      : name(std::move(called)), images(x.contiguous()), labels(y.contiguous()), class_names(std::move(names)) {}
  int64_t size() const override { return images.dim(0); }
  Fields get(int64_t index) const override { return tensors().get(index); }
  Fields gather(std::span<const int64_t> indices) const override { return tensors().gather(indices); }
  TensorDataset tensors() const { return TensorDataset({images, labels}); }
  ChannelStats statistics() const override { return channel_stats(images); }
  int64_t classes() const { return std::ssize(class_names); }
  // The first `count` samples, or all if there are fewer; a view. Error: a count below 1.
  ImageDataset first(int64_t count) const {
    check(count >= 1, "dataset", "the first {} samples of '{}': want at least 1", count, name);
    const int64_t n = std::min(count, size());
    return {name, view::slice(images, 0, 0, n), view::slice(labels, 0, 0, n), class_names};
  }
  void validate() const override;  // throws unless all is as described above, with at least one sample
};

// Throws in the name of `op` unless images are u8 [N, H, W, C], none of these 0.
void check_images(std::string_view op, const Tensor& images);

}  // namespace norma::data
