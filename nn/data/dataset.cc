#include "norma/nn/data/dataset.h"

#include <cmath>
#include <numeric>

#include "norma/ops/shape/concat.h"
#include "norma/ops/shape/index.h"

namespace norma::data {

Fields Dataset::gather(std::span<const int64_t> indices) const {
  std::vector<std::vector<Tensor>> rows;  // of each field, of each sample
  for (const int64_t index : indices) {
    const Fields sample = get(index);
    if (rows.empty()) rows.resize(sample.size());
    check(rows.size() == sample.size(), "dataset", "samples of {} and of {} fields", rows.size(), sample.size());
    for (size_t k = 0; k < rows.size(); ++k) rows[k].push_back(sample[k]);
  }
  Fields batch;
  for (const auto& of_field : rows) batch.push_back(stack(of_field));
  return batch;
}

TensorDataset::TensorDataset(Fields tensors) : fields(std::move(tensors)) {
  check(!fields.empty(), "TensorDataset", "there are no tensors");
  for (Tensor& x : fields) {
    check(x.rank() >= 1 && x.dim(0) == fields[0].dim(0), "TensorDataset",
          "a tensor {} beside {}: want [N, ...], an entry for each sample", x.shape(), fields[0].shape());
    x = x.to(cpu_device).contiguous();
  }
}

Fields TensorDataset::get(int64_t index) const {
  Fields result;
  for (const Tensor& x : fields) result.push_back(x[index]);
  return result;
}

Fields TensorDataset::gather(std::span<const int64_t> indices) const {
  Fields batch;
  const Tensor rows = tensor(indices, {std::ssize(indices)});
  cpu::check_index("dataset", rows, 0, size());  // none counts from the end
  for (const Tensor& x : fields) batch.push_back(index_select(x, 0, rows));
  return batch;
}

void ImageDataset::validate() const {
  const std::string op = fmt::format("dataset '{}'", name);
  check_images(op, images);
  check(labels.dtype() == i64 && labels.shape() == Shape{size()}, op, "labels {} ({}) of images {}", labels.shape(),
        labels.dtype(), images.shape());
  cpu::check_index(fmt::format("{}, labels", op).c_str(), labels.contiguous(), 0, classes());
}

void check_images(std::string_view op, const Tensor& images) {
  check(images.dtype() == u8 && images.rank() == 4 && images.numel() > 0, op, "wants u8 [N, H, W, C], not {} ({})",
        images.shape(), images.dtype());
}

ChannelStats channel_stats(const Tensor& images) {
  check_images("channel_stats", images);
  const Tensor pixels = images.contiguous();
  const int64_t channels = images.dim(3);
  std::vector<std::array<int64_t, 256>> counts(channels);  // of each value: exact, and one pass
  const uint8_t* pixel = pixels.data<uint8_t>();
  for (int64_t n = pixels.numel() / channels; n > 0; --n)
    for (auto& count : counts) ++count[*pixel++];
  return stats_of(counts);
}

ChannelStats stats_of(std::span<const std::array<int64_t, 256>> counts) {
  ChannelStats stats;
  for (const auto& count : counts) {
    const double n = static_cast<double>(std::accumulate(count.begin(), count.end(), int64_t{0}));
    double mean = 0, squares = 0;
    for (int byte = 0; byte < 256; ++byte) mean += static_cast<double>(count[byte]) * byte;
    mean /= n;
    for (int byte = 0; byte < 256; ++byte) squares += static_cast<double>(count[byte]) * (byte - mean) * (byte - mean);
    stats.mean.push_back(mean / 255);
    stats.deviation.push_back(squares > 0 ? std::sqrt(squares / n) / 255 : 1);
  }
  return stats;
}

}  // namespace norma::data
