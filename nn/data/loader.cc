#include "norma/nn/data/loader.h"

#include <cstring>
#include <numeric>
#include <utility>

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
  order_.resize(static_cast<size_t>(dataset_.size()));
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

void DataLoader::advance(Position& at) const {
  if (++at.batch == batches()) at = {at.epoch + 1, 0};
}

std::optional<Batch> DataLoader::next() {
  if (position_.batch == batches()) {
    position_ = {position_.epoch + 1, 0};
    return {};
  }
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
    making_ = position.batch == batches() ? Position{position.epoch + 1, 0} : position;
    ++jumps_;
    queue_.clear();
    error_ = nullptr;
  }
  wanted_.notify_one();
}

void DataLoader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wanted_.wait(lock,
                 [&] { return stopping_ || (!error_ && static_cast<int64_t>(queue_.size()) < options_.prefetch); });
    if (stopping_) return;
    const Position at = making_;
    const int64_t jumps = jumps_;
    advance(making_);
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
    for (size_t i = options_.shuffle ? order_.size() : 1; i > 1; --i)
      std::swap(order_[i - 1], order_[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
    order_epoch_ = at.epoch;
  }
  const int64_t begin = at.batch * options_.batch, n = std::min(options_.batch, dataset_.size() - begin);
  const Shape shape = dataset_.images.shape().with(0, n);
  const size_t image_bytes = static_cast<size_t>(shape.numel() / n);
  const Tensor images(shape, u8);
  Batch batch{{}, Tensor({n}, i64), Tensor({n}, i64)};
  const std::span samples(order_.data() + begin, static_cast<size_t>(n));
  for (size_t i = 0; i < samples.size(); ++i) {
    const size_t sample = static_cast<size_t>(samples[i]);
    std::memcpy(images.mutable_data<uint8_t>() + i * image_bytes,
                dataset_.images.data<uint8_t>() + sample * image_bytes, image_bytes);
    batch.labels.mutable_data<int64_t>()[i] = dataset_.labels.data<int64_t>()[sample];
    batch.indices.mutable_data<int64_t>()[i] = samples[i];
  }
  const SampleKeys keys{options_.seed, at.epoch, samples};
  batch.images = to_float(apply_transforms(options_.transforms, images, keys), *options_.normalize);
  Backend& there = backend(options_.device);
  return [images = there.upload(batch.images), labels = there.upload(batch.labels), indices = batch.indices] {
    return Batch{images(), labels(), indices};
  };
}

}  // namespace norma::data
