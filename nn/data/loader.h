// DataLoader: serves a data set in batches, in another order each epoch. A thread of its own makes them ahead.
//
//   DataLoader loader(dataset, {.batch = 128, .shuffle = true, .transforms = {random_crop(2)}});
//   for (int epoch = 0; epoch < 5; ++epoch)
//     for (const Batch& batch : loader) ...
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
  Tensor images;   // f32 [B, H, W, C], transformed and normalized
  Tensor labels;   // i64 [B]
  Tensor indices;  // i64 [B], on the CPU whatever the device: which samples of the data set these are
  // How much a mean over this share counts, so that the average over the workers is that over the whole batch's
  // samples: B workers / samples of the whole batch. 1 for one worker, and where all have as many.
  double weight = 1;
  int64_t size() const { return labels.numel(); }
};

struct LoaderOptions {
  int64_t batch = 128;     // at most: an epoch of fewer samples is one batch
  bool shuffle = false;    // false: in the order of the data set
  bool drop_last = false;  // leave out an epoch's last batch if it is smaller than the others
  uint64_t seed = 0;       // of the order and of the transforms
  int64_t prefetch = 2;    // batches made ahead, at most an epoch of them; 0: next() makes them, on the caller's thread
  Device device{};         // of images and labels; default: CPU. Prefetched, they are copied there while it works
  std::vector<Transform> transforms{};      // in this order
  std::optional<ChannelStats> normalize{};  // mean and deviation of each channel; default: those of the data set
  // A worker gets its share (Communicator::share) of each batch, by position, so that together they get what one would,
  // in the same order and with the same transforms. The share of a small batch may be empty.
  WorkerShare worker{};
};

class DataLoader {
 public:
  struct Position {
    int64_t epoch = 0, batch = 0;  // of the batch that next() returns next
    bool operator==(const Position&) const = default;
  };

  // Errors: a data set that validate() rejects, options out of range, an epoch without a batch, a device that is not
  // there.
  DataLoader(ImageDataset dataset, LoaderOptions options);

  int64_t batches() const {  // in an epoch
    const int64_t n = dataset_.size(), k = options_.batch;
    return n / k + (n % k != 0 && !options_.drop_last);
  }
  const ImageDataset& dataset() const { return dataset_; }
  const ChannelStats& normalization() const { return *options_.normalize; }
  const LoaderOptions& options() const { return options_; }

  // The next batch; at an epoch's end once nothing, then the next epoch's first. What a transform threw while the batch
  // was made is thrown here, by each call until seek(). next(), seek() and position() are for one thread at a time.
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
  // A batch that is made: gives it when it is on its device, or throws what a transform threw.
  using Made = std::function<Batch()>;
  Made make(Position at);
  void work(const std::stop_token& stop, Position at);  // the thread's: makes batches ahead, from `at` on

  const ImageDataset dataset_;
  LoaderOptions options_;
  Position position_;

  // The samples in the order of one epoch, i64. Belongs to whoever makes batches: the thread, or next() if there is
  // none.
  Tensor order_;
  int64_t order_epoch_ = -1;

  std::mutex mutex_;  // guards the queue
  std::condition_variable_any wanted_, ready_;
  std::deque<Made> queue_;  // batches made ahead, from position_ on
  std::jthread thread_;     // the last member: it ends before what it works with
};

}  // namespace norma::data
