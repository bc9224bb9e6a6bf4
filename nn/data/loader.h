// DataLoader: serves a data set in batches, in another order each epoch. Threads of its own make them ahead.
//
//   DataLoader train(pictures, {.batch = 128, .shuffle = true, .transforms = {random_crop(2)}});
//   DataLoader test(others, {.batch = 500, .normalize = train.normalization()});
//   for (int epoch = 0; epoch < 5; ++epoch)
//     for (const Batch& batch : train) ...                                 // batch.images, batch.labels
//
//   DataLoader loader(TensorDataset({x, y, z}), {.batch = 32, .shuffle = true});
//   for (const Batch& batch : loader) ...                                  // batch[0], batch[1], batch[2]
//
// What a batch holds is a function of the data set, the options and the batch's position: not of timing, the number of
// threads, or what was read before. A run that keeps position() in its checkpoint can seek() there.
#pragma once

#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <optional>
#include <thread>

#include "norma/core/backend.h"
#include "norma/core/communicator.h"
#include "norma/nn/data/dataset.h"
#include "norma/nn/data/transforms.h"

namespace norma::data {

// Whose part of each batch a loader serves: a worker's, or all of it.
struct WorkerShare {
  Communicator* worker = nullptr;  // not owned
  WorkerShare() = default;
  WorkerShare(Communicator& me) : worker(&me) {}
  std::pair<int64_t, int64_t> of(int64_t n) const { return worker ? worker->share(n) : std::pair(int64_t{0}, n); }
};

struct Batch {
  Tensor images;     // field 0 [B, ...]. Pictures: f32 [B, H, W, C], transformed and normalized
  Tensor labels{};   // field 1 [B, ...], undefined if there is none. Of an ImageDataset: i64 [B]
  Tensor indices{};  // i64 [B], on the CPU whatever the device: which samples of the data set these are
  // How much a mean over this share counts, so that the average over the workers is that over the whole batch's
  // samples: B workers / samples of the whole batch. 1 for one worker, and where all have as many.
  double weight = 1;
  Fields more{};  // fields 2, 3, ...
  int64_t size() const { return indices.numel(); }
  const Tensor& operator[](int64_t field) const {
    check(field >= 0 && field < 2 + std::ssize(more), "batch", "there is no field {}", field);
    return field == 0 ? images : field == 1 ? labels : more[static_cast<size_t>(field - 2)];
  }
};

// The samples of an epoch, each in [0, size of the data set): as often as you like or not at all, as many in each
// epoch. A function of the epoch alone, called by any thread at any time, several times for an epoch.
using Sampler = std::function<std::vector<int64_t>(int64_t epoch)>;

// Draws `count` samples an epoch (0: as many as there are weights), with replacement, each with a probability in
// proportion to its weight. weights: [N] of any dtype, on any device. Errors: weights that are negative, not finite or
// all 0; a count below 0 or above kMaxStep (2^31 - 1).
Sampler weighted_sampler(const Tensor& weights, int64_t count = 0, uint64_t seed = 0);

struct LoaderOptions {
  int64_t batch = 128;     // at most: an epoch of fewer samples is one batch
  bool shuffle = false;    // false: in the order of the data set
  bool drop_last = false;  // leave out an epoch's last batch if it is smaller than the others
  uint64_t seed = 0;       // of the order and of the transforms
  int64_t prefetch = 2;    // batches made ahead, at most an epoch of them; 0: next() makes them, on the caller's thread
  // That make batches ahead, each one of its own, and so call Dataset::get and transforms at the same time; more than
  // one pays where these are slow, as decoding is. Each further thread makes another batch ahead.
  int threads = 1;
  Device device{};                      // of the fields; default: CPU. Prefetched, they are copied there while it works
  std::vector<Transform> transforms{};  // in this order, of pictures and their masks (see transforms.h)
  // Of pictures in field 0: mean and deviation of each channel. Default in training, which draws its samples at random
  // (shuffle or sampler): Dataset::statistics. In order there is no default, since evaluation wants what training had:
  // .normalize = train.normalization(). A set's own, for who wants them: .normalize = set.statistics(). ChannelStats{}
  // leaves pictures as they are, u8.
  std::optional<ChannelStats> normalize{};
  // A worker gets its share (Communicator::share) of each batch, by position, so that together they get what one would,
  // in the same order and with the same transforms. The share of a small batch may be empty.
  WorkerShare worker{};
  Sampler sampler{};  // which samples an epoch has, in which order: in place of all of them, and of shuffle
};

class DataLoader {
 public:
  struct Position {
    int64_t epoch = 0, batch = 0;  // of the batch that next() returns next
    bool operator==(const Position&) const = default;
  };

  // Errors: a data set that its validate() rejects; options out of range, an epoch without a batch, a device that is
  // not there; normalization or transforms of samples that do not begin with a picture u8 [H, W, C], or pictures in
  // order without `normalize`. Reads sample 0.
  DataLoader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);
  DataLoader(std::derived_from<Dataset> auto dataset, LoaderOptions options)
      : DataLoader(std::make_shared<const decltype(dataset)>(std::move(dataset)), std::move(options)) {}
  // The data set of another loader, served otherwise.
  DataLoader(const DataLoader& other, LoaderOptions options) : DataLoader(other.dataset_, std::move(options)) {}
  ~DataLoader() { stop(); }

  int64_t batches() const {  // in an epoch
    const int64_t n = samples_, k = options_.batch;
    return n / k + (n % k != 0 && !options_.drop_last);
  }
  const Dataset& dataset() const { return *dataset_; }
  // What another loader should normalize by, too; ChannelStats{} where there are no pictures.
  ChannelStats normalization() const { return options_.normalize.value_or(ChannelStats{}); }
  const LoaderOptions& options() const { return options_; }

  // The next batch; at an epoch's end once nothing, then the next epoch's first. What was thrown while the batch was
  // made, by the data set, say, or a transform, is thrown here, by each call until seek(). next(), seek() and
  // position() are for one thread at a time.
  std::optional<Batch> next();
  Position position() const { return position_; }
  void seek(Position position);  // error: batch not in [0, batches()], or epoch not in [0, 2^23)

  // A range-based for runs over the rest of the epoch. Who leaves it early finds the rest in the next one.
  struct Iterator {
    DataLoader& loader;
    std::optional<Batch> batch = loader.next();
    const Batch& operator*() const { return *batch; }
    void operator++() {
      batch.reset();  // its buffers may serve for the batch after the next
      batch = loader.next();
    }
    bool operator==(std::default_sentinel_t) const { return !batch; }
  };
  Iterator begin() { return {*this}; }
  std::default_sentinel_t end() { return {}; }

 private:
  // A batch that is made: gives it when it is on its device, or throws what was thrown while it was made. Empty while a
  // thread is at it.
  using Made = std::function<Batch()>;
  Made make(Position at) const;
  void work();  // a thread's: makes batches ahead
  void stop();
  Tensor order(int64_t epoch) const;

  std::shared_ptr<const Dataset> dataset_;
  LoaderOptions options_;  // normalize: has a value where there are pictures
  bool pictures_ = false;  // field 0 is
  int64_t samples_ = 0;
  Position position_;

  mutable std::mutex order_mutex_;
  mutable int64_t order_epoch_ = -1;
  mutable Tensor order_;  // that epoch's samples in their order, i64

  std::mutex mutex_;  // guards what follows
  std::condition_variable wanted_, ready_;
  std::deque<Made> queue_;  // batches made ahead, from position_ on
  Position ahead_;          // of the next one to make
  bool stopping_ = false;
  std::vector<std::thread> threads_;  // none: next() makes what it returns
};

}  // namespace norma::data
