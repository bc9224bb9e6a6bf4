#include "norma/nn/data/loader.h"

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
  seek({});
}

std::optional<Batch> DataLoader::next() {
  if (position_.batch == batches()) {
    position_ = {position_.epoch + 1, 0};
    return {};
  }
  std::unique_lock lock(mutex_);
  if (!thread_.joinable()) queue_ = {make(position_)};
  ready_.wait(lock, [&] { return !queue_.empty(); });
  Batch batch = queue_.front()();  // where this throws, it stays for the next call
  queue_.pop_front();
  wanted_.notify_one();
  ++position_.batch;
  return batch;
}

void DataLoader::seek(Position position) {
  check(position.epoch >= 0 && position.epoch < 1 << 23 && position.batch >= 0 && position.batch <= batches(), "loader",
        "cannot seek epoch {}, batch {}: there are {} batches", position.epoch, position.batch, batches());
  thread_ = {};  // ends, once the batch is made that it is at
  queue_.clear();
  position_ = position;
  if (options_.prefetch > 0)
    thread_ = std::jthread([this, position](const std::stop_token& stop) { work(stop, position); });
}

void DataLoader::work(const std::stop_token& stop, Position at) {
  for (std::unique_lock lock(mutex_);; ++at.batch) {
    wanted_.wait(lock, stop, [&] { return std::ssize(queue_) < std::min(options_.prefetch, batches() + 1); });
    if (stop.stop_requested()) return;
    lock.unlock();
    if (at.batch == batches()) at = {at.epoch + 1, 0};
    Made made;
    try {
      made = make(at);
    } catch (...) {
      made = [error = std::current_exception()]() -> Batch { std::rethrow_exception(error); };
    }
    lock.lock();
    queue_.push_back(std::move(made));
    ready_.notify_one();
  }
}

DataLoader::Made DataLoader::make(Position at) {
  const int64_t all = dataset_.size();
  if (std::exchange(order_epoch_, at.epoch) != at.epoch) {
    Generator random(options_.seed, ~static_cast<uint64_t>(at.epoch));  // no sample's stream (see SampleKeys)
    order_ = options_.shuffle ? tensor(random.permutation(all), {all}) : arange(all);
  }
  const int64_t first = at.batch * options_.batch;
  const auto [begin, end] = options_.worker.of(std::min(options_.batch, all - first));
  const int64_t n = std::max<int64_t>(end - begin, 1);  // an empty share is made of one sample, for its shape
  const Tensor indices = view::slice(order_, 0, first + begin, first + begin + n).clone();
  const Tensor labels = index_select(dataset_.labels, 0, indices);
  const std::span samples(indices.data<int64_t>(), static_cast<size_t>(n));
  const Tensor images(dataset_.images.shape().with(0, n), u8);  // not by index_select: it would take the pool's threads
  const int64_t pixels = images.numel() / n;
  for (int64_t i = 0; i < n; ++i)
    std::copy_n(dataset_.images.data<uint8_t>() + samples[i] * pixels, pixels,
                images.mutable_data<uint8_t>() + i * pixels);
  const SampleKeys keys{options_.seed, at.epoch, samples};
  Backend& there = backend(options_.device);
  const auto upload = [&, count = end - begin](const Tensor& x) {
    return there.upload(count == n ? x : view::slice(x, 0, 0, count).clone());
  };
  const int64_t workers = options_.worker.worker ? options_.worker.worker->size() : 1;
  const double weight =
      static_cast<double>((end - begin) * workers) / static_cast<double>(std::min(options_.batch, all - first));
  return [images = upload(to_float(apply_transforms(options_.transforms, images, keys), *options_.normalize)),
          labels = upload(labels), indices = view::slice(indices, 0, 0, end - begin), weight] {
    return Batch{images(), labels(), indices, weight};
  };
}

}  // namespace norma::data
