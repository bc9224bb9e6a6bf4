#include "norma/nn/data/dataset.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>

#include "norma/nn/data/idx.h"

namespace norma::data {
namespace {

std::string find_file(const std::string& folder, const std::string& name) {
  for (const char* ending : {"", ".gz"}) {
    const std::filesystem::path path = std::filesystem::path(folder) / (name + ending);
    if (std::filesystem::is_regular_file(path)) return path.string();
  }
  fail("load_mnist_folder", "no '{}' or '{}.gz' in '{}'", name, name, folder);
}

std::vector<std::string> default_names(std::string folder) {
  std::transform(folder.begin(), folder.end(), folder.begin(), [](unsigned char c) { return std::tolower(c); });
  if (folder.find("fashion") == std::string::npos) return {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  return {"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"};
}

}  // namespace

ImageDataset ImageDataset::first(int64_t count) const {
  check(count >= 1, "dataset", "the first {} samples of '{}': want at least 1", count, name);
  const int64_t n = std::min(count, size());
  return {name, view::slice(images, 0, 0, n), view::slice(labels, 0, 0, n), class_names};
}

void ImageDataset::validate() const {
  check(images.dtype() == u8 && images.rank() == 4 && images.numel() > 0, "dataset",
        "'{}': images {} ({}), wanted is u8 [N, H, W, C]", name, images.shape(), images.dtype());
  check(labels.dtype() == i64 && labels.shape() == Shape{size()}, "dataset", "'{}': labels {} ({}) of images {}", name,
        labels.shape(), labels.dtype(), images.shape());
  const std::vector<int64_t> values = labels.to_vector<int64_t>();
  for (size_t i = 0; i < values.size(); ++i)
    check(values[i] >= 0 && values[i] < classes(), "dataset", "'{}': label {} of sample {}, there are {} classes", name,
          values[i], i, classes());
}

ImageDataset load_mnist_folder(const std::string& folder, bool train, std::vector<std::string> class_names) {
  const std::string prefix = train ? "train" : "t10k";
  const std::string images_file = find_file(folder, prefix + "-images-idx3-ubyte");
  const std::string labels_file = find_file(folder, prefix + "-labels-idx1-ubyte");
  const Tensor images = load_idx(images_file, 3), labels = load_idx(labels_file, 1);
  check(images.dim(0) == labels.dim(0), "load_mnist_folder",
        "{} pictures in '{}', {} labels in '{}' (offset 4 of each)", images.dim(0), images_file, labels.dim(0),
        labels_file);
  if (class_names.empty()) class_names = default_names(folder);
  const uint8_t* label = labels.data<uint8_t>();
  for (int64_t i = 0; i < labels.numel(); ++i)
    check(label[i] < class_names.size(), "load_mnist_folder", "'{}': label {} at offset {}, there are {} classes",
          labels_file, label[i], 8 + i, class_names.size());
  const std::filesystem::path path = std::filesystem::path(folder).lexically_normal();
  return {(path.has_filename() ? path : path.parent_path()).filename().string(),
          view::reshape(images, {images.dim(0), images.dim(1), images.dim(2), 1}), labels.to(i64), class_names};
}

ChannelStats channel_stats(const Tensor& images) {
  check(images.dtype() == u8 && images.rank() == 4 && images.numel() > 0, "channel_stats",
        "wants u8 [N, H, W, C], not {} ({})", images.shape(), images.dtype());
  const Tensor pixels = images.contiguous();
  const int64_t channels = images.dim(3), n = images.numel() / channels;
  std::vector<std::array<int64_t, 256>> counts(static_cast<size_t>(channels));  // of each value: exact, and one pass
  const uint8_t* pixel = pixels.data<uint8_t>();
  for (int64_t i = 0; i < n; ++i)
    for (auto& count : counts) ++count[*pixel++];
  ChannelStats stats;
  for (const auto& count : counts) {
    double mean = 0, square = 0;
    for (size_t v = 0; v < 256; ++v) mean += static_cast<double>(count[v]) * static_cast<double>(v);
    mean /= static_cast<double>(n);
    for (size_t v = 0; v < 256; ++v)
      square += static_cast<double>(count[v]) * (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean);
    stats.mean.push_back(mean / 255);
    stats.deviation.push_back(square > 0 ? std::sqrt(square / static_cast<double>(n)) / 255 : 1);
  }
  return stats;
}

}  // namespace norma::data
