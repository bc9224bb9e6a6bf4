#include "norma/nn/data/dataset.h"

#include <cmath>

namespace norma::data {

void ImageDataset::validate() const {
  const std::string op = fmt::format("dataset '{}'", name);
  check_images(op, images);
  check(labels.dtype() == i64 && labels.shape() == Shape{size()}, op, "labels {} ({}) of images {}", labels.shape(),
        labels.dtype(), images.shape());
  const std::vector<int64_t> values = labels.to_vector<int64_t>();
  for (size_t i = 0; i < values.size(); ++i)
    check(values[i] >= 0 && values[i] < classes(), op, "label {} of sample {}, there are {} classes", values[i], i,
          classes());
}

void check_images(std::string_view op, const Tensor& images) {
  check(images.dtype() == u8 && images.rank() == 4 && images.numel() > 0, op, "wants u8 [N, H, W, C], not {} ({})",
        images.shape(), images.dtype());
}

ChannelStats channel_stats(const Tensor& images) {
  check_images("channel_stats", images);
  const Tensor pixels = images.contiguous();
  const int64_t channels = images.dim(3), n = images.numel() / channels;
  std::vector<std::array<int64_t, 256>> counts(channels);  // of each value: exact, and one pass
  const uint8_t* pixel = pixels.data<uint8_t>();
  for (int64_t i = 0; i < n; ++i)
    for (auto& count : counts) ++count[*pixel++];
  ChannelStats stats;
  for (const auto& count : counts) {
    double mean = 0, squares = 0;
    for (int byte = 0; byte < 256; ++byte) mean += static_cast<double>(count[byte]) * byte;
    mean /= static_cast<double>(n);
    for (int byte = 0; byte < 256; ++byte) squares += static_cast<double>(count[byte]) * (byte - mean) * (byte - mean);
    stats.mean.push_back(mean / 255);
    stats.deviation.push_back(squares > 0 ? std::sqrt(squares / static_cast<double>(n)) / 255 : 1);
  }
  return stats;
}

}  // namespace norma::data
