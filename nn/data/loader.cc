#include "norma/nn/data/loader.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "norma/ops/shape/index.h"

namespace norma::data {

DataLoader::DataLoader(ImageDataset dataset, LoaderOptions options)
    : dataset_{dataset.name, dataset.images.contiguous(), dataset.labels.contiguous(), dataset.class_names},
      options_(std::move(options)) {
  dataset_.validate();
  check(options_.batch >= 1 && options_.prefetch >= 0, "loader", "batch {}, prefetch {}: out of range", options_.batch,
        options_.prefetch);
  backend(options_.device);  // throws here, not in the thread, where there is no such device
  check(batches() >= 1, "loader", "drop_last leaves no batch: {} samples in batches of {}", dataset_.size(),
        options_.batch);
  if (!options_.normalize) options_.normalize = channel_stats(dataset_.images);
  order_.resize(dataset_.size());
  if (options_.prefetch > 0) thread_ = std::thread([this] { work(); });
}

DataLoader::~DataLoader() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_one();
  thread_.join();
}

int64_t DataLoader::batches() const {
  return (dataset_.size() + (options_.drop_last ? 0 : options_.batch - 1)) / options_.batch;
}

bool DataLoader::begins_next_epoch(Position& at) const {
  if (at.batch < batches()) return false;
  at = {at.epoch + 1, 0};
  return true;
}

std::optional<Batch> DataLoader::next() {
  if (begins_next_epoch(position_)) return {};
  Batch batch;
  if (thread_.joinable()) {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return !queue_.empty() || error_; });
    if (queue_.empty()) std::rethrow_exception(error_);
    const std::function<Batch()> made = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    batch = made();
    wanted_.notify_one();
  } else {
    batch = make(position_)();
  }
  ++position_.batch;
  return batch;
}

void DataLoader::seek(Position position) {
  check(position.epoch >= 0 && position.batch >= 0 && position.batch <= batches(), "loader",
        "cannot seek epoch {}, batch {}: there are {} batches", position.epoch, position.batch, batches());
  position_ = position;
  {
    std::lock_guard lock(mutex_);
    making_ = position;
    ++jumps_;
    queue_.clear();
    error_ = nullptr;
  }
  wanted_.notify_one();
}

void DataLoader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wanted_.wait(lock, [&] { return stopping_ || (!error_ && std::ssize(queue_) < options_.prefetch); });
    if (stopping_) return;
    begins_next_epoch(making_);
    const Position at = making_;
    const int64_t jumps = jumps_;
    ++making_.batch;
    lock.unlock();
    std::function<Batch()> batch;
    std::exception_ptr error;
    try {
      batch = make(at);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (jumps != jumps_) continue;
    if (error) error_ = error;
    else queue_.push_back(std::move(batch));
    ready_.notify_one();
  }
}

std::function<Batch()> DataLoader::make(Position at) {
  if (order_epoch_ != at.epoch) {
    std::iota(order_.begin(), order_.end(), 0);
    Generator random(options_.seed, ~static_cast<uint64_t>(at.epoch));  // no sample's stream (see SampleKeys)
    if (options_.shuffle) random.shuffle(order_);
    order_epoch_ = at.epoch;
  }
  const int64_t begin = at.batch * options_.batch, n = std::min(options_.batch, dataset_.size() - begin);
  const std::span<const int64_t> samples(order_.data() + begin, static_cast<size_t>(n));
  const Tensor indices = tensor(samples, {n}), labels = index_select(dataset_.labels, 0, indices);
  const Tensor images(dataset_.images.shape().with(0, n), u8);  // not by index_select: it would take the pool's threads
  const int64_t pixels = images.numel() / n;
  for (int64_t i = 0; i < n; ++i)
    std::copy_n(dataset_.images.data<uint8_t>() + samples[i] * pixels, pixels,
                images.mutable_data<uint8_t>() + i * pixels);
  const SampleKeys keys{options_.seed, at.epoch, samples};
  Backend& there = backend(options_.device);
  return [images = there.upload(to_float(apply_transforms(options_.transforms, images, keys), *options_.normalize)),
          labels = there.upload(labels), indices] {
    return Batch{images(), labels(), indices};
  };
}

}  // namespace norma::data
