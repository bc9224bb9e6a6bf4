#include "norma/nn/data/loader.h"

#include <cmath>

namespace norma::data {

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, LoaderOptions options)
    : dataset_(std::move(dataset)), options_(std::move(options)) {
  check(dataset_ && options_.batch >= 1 && options_.prefetch >= 0 && options_.threads >= 1 && options_.threads <= 1024,
        "loader", "batch {}, prefetch {}, threads {}: out of range", options_.batch, options_.prefetch,
        options_.threads);
  dataset_->validate();
  backend(options_.device);  // throws here, not in a thread, where there is no such device
  samples_ = options_.sampler ? std::ssize(options_.sampler(0)) : dataset_->size();
  check(samples_ > 0 && batches() >= 1, "loader", "{} leaves no batch: {} samples in batches of {}",
        options_.drop_last ? "drop_last" : "an epoch", samples_, options_.batch);
  std::optional<ChannelStats>& stats = options_.normalize;
  const Fields sample = dataset_->get(0);
  pictures_ = !sample.empty() && sample[0].dtype() == u8 && sample[0].rank() == 3;
  check(pictures_ || (options_.transforms.empty() && (!stats || stats->mean.empty())), "loader",
        "only pictures, u8 [H, W, C] in field 0 of a sample, are transformed and normalized");
  check(!pictures_ || stats || options_.shuffle || options_.sampler, "loader",
        "how are pictures normalized? As in training: .normalize = train.normalization(). By their own: statistics()");
  if (pictures_ && !stats) stats = dataset_->statistics();
  seek({});
}

std::optional<Batch> DataLoader::next() {
  if (position_.batch == batches()) {
    position_ = {position_.epoch + 1, 0};
    return {};
  }
  std::unique_lock lock(mutex_);
  if (threads_.empty()) queue_ = {make(position_)};
  ready_.wait(lock, [&] { return !queue_.empty() && queue_.front(); });
  Batch batch = queue_.front()();  // where this throws, it stays for the next call
  queue_.pop_front();
  wanted_.notify_one();
  ++position_.batch;
  return batch;
}

void DataLoader::stop() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  lock.unlock();
  wanted_.notify_all();
  // Each ends once the batch is made that it is at.
  for (; !threads_.empty(); threads_.pop_back()) threads_.back().join();
  stopping_ = false;
}

void DataLoader::seek(Position position) {
  check(position.epoch >= 0 && position.epoch < 1 << 23 && position.batch >= 0 && position.batch <= batches(), "loader",
        "cannot seek epoch {}, batch {}: there are {} batches", position.epoch, position.batch, batches());
  stop();
  queue_.clear();
  position_ = ahead_ = position;
  try {
    for (int i = 0; options_.prefetch > 0 && i < options_.threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    stop();  // or the others would be waited for
    fail("loader", "no thread can be started: {}", error.what());
  }
}

void DataLoader::work() {
  const int64_t most = std::min(options_.prefetch, batches() + 1) + options_.threads - 1;
  for (std::unique_lock lock(mutex_);;) {
    wanted_.wait(lock, [&] { return stopping_ || std::ssize(queue_) < most; });
    if (stopping_) return;
    if (ahead_.batch == batches()) ahead_ = {ahead_.epoch + 1, 0};
    const Position at = ahead_;
    ++ahead_.batch;
    Made& place = queue_.emplace_back();  // it stays where it is: the deque changes at its ends only
    lock.unlock();
    Made made;
    try {
      made = make(at);
    } catch (...) {
      made = [error = std::current_exception()]() -> Batch { std::rethrow_exception(error); };
    }
    lock.lock();
    place = std::move(made);
    ready_.notify_one();
  }
}

Tensor DataLoader::order(int64_t epoch) const {
  const std::lock_guard lock(order_mutex_);
  if (order_epoch_ == epoch) return order_;
  Generator random(options_.seed, ~static_cast<uint64_t>(epoch));  // no sample's stream (see SampleKeys)
  if (options_.sampler) order_ = tensor(options_.sampler(epoch), {samples_});
  else order_ = options_.shuffle ? tensor(random.permutation(samples_), {samples_}) : arange(samples_);
  order_epoch_ = epoch;
  return order_;
}

DataLoader::Made DataLoader::make(Position at) const {
  const int64_t first = at.batch * options_.batch, whole = std::min(options_.batch, samples_ - first);
  const auto [begin, end] = options_.worker.of(whole);
  const int64_t count = end - begin, n = std::max<int64_t>(count, 1);  // an empty share is made of one, for its shape
  const Tensor indices = view::slice(order(at.epoch), 0, first + begin, first + begin + n).clone();
  const auto span_of = [&](const Tensor& x) { return std::span(x.mutable_data<int64_t>(), static_cast<size_t>(n)); };
  Fields fields = dataset_->gather(span_of(indices));
  check(!fields.empty(), "loader", "a batch without fields");
  for (const Tensor& x : fields)
    check(x.rank() >= 1 && x.dim(0) == n && x.device().is_cpu(), "loader", "a field {} of a batch of {}", x.shape(), n);
  if (pictures_) {
    const Tensor keys = options_.sampler ? arange(first + begin, first + begin + n) : indices;
    apply_transforms(options_.transforms, fields, {options_.seed, at.epoch, span_of(keys)});
    if (!options_.normalize->mean.empty()) fields[0] = to_float(fields[0], *options_.normalize);
  }
  std::vector<std::function<Tensor()>> uploads;
  for (const Tensor& x : fields)
    uploads.push_back(backend(options_.device).upload(view::slice(x, 0, 0, count).contiguous()));
  const int64_t workers = options_.worker.worker ? options_.worker.worker->size() : 1;
  const double weight = static_cast<double>(count * workers) / static_cast<double>(whole);
  return [uploads = std::move(uploads), indices = view::slice(indices, 0, 0, count), weight] {
    Batch batch{uploads[0](), uploads.size() > 1 ? uploads[1]() : Tensor(), indices, weight};
    for (size_t i = 2; i < uploads.size(); ++i) batch.more.push_back(uploads[i]());
    return batch;
  };
}

Sampler weighted_sampler(const Tensor& weights, int64_t count, uint64_t seed) {
  check(weights.rank() == 1 && weights.numel() > 0 && count >= 0 && count <= kMaxStep, "weighted_sampler",
        "{} samples by weights {}: want [N], and a count of 0 ... {}", count, weights.shape(), kMaxStep);
  std::vector<double> upto = weights.to_vector<double>();  // sums of the weights, up to each
  double sum = 0;
  for (double& x : upto) {
    check(x >= 0 && std::isfinite(sum + x), "weighted_sampler", "a weight of {} after others of {}", x, sum);
    x = sum += x;
  }
  check(sum > 0, "weighted_sampler", "all weights are 0");
  return [upto, count = count > 0 ? count : std::ssize(upto), seed](int64_t epoch) {
    Generator random(seed, ~static_cast<uint64_t>(epoch));
    std::vector<int64_t> samples(static_cast<size_t>(count));
    for (int64_t& i : samples) i = std::ranges::upper_bound(upto, random.uniform() * upto.back()) - upto.begin();
    return samples;
  };
}

}  // namespace norma::data
