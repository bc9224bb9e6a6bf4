// DataLoader: serves a data set in batches, in an order of its own for each epoch, made ahead by a thread of its own.
//
//   DataLoader loader(dataset, {.batch = 128, .shuffle = true, .transforms = {random_crop(2)}});
//   for (int epoch = 0; epoch < 5; ++epoch)
//     for (const Batch& batch : loader) ...
//
// What a batch holds is a function of the data set, the options and the batch's position: not of timing, threads, or
// what was read before. A run that notes position() in its checkpoint can seek() there.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <mutex>
#include <optional>
#include <thread>

#include "norma/core/backend.h"
#include "norma/nn/data/dataset.h"
#include "norma/nn/data/transforms.h"

namespace norma::data {

struct Batch {
  Tensor images;   // f32 [B, H, W, C]
  Tensor labels;   // i64 [B]
  Tensor indices;  // i64 [B]: which samples of the data set these are; on the CPU
  int64_t size() const { return labels.numel(); }
};

struct LoaderOptions {
  int64_t batch = 128;
  bool shuffle = false;    // else in the order of the data set
  bool drop_last = false;  // leave out an epoch's last batch if it is smaller than the others
  uint64_t seed = 0;       // of the order and of the transforms
  int64_t prefetch = 2;    // batches made ahead; 0: next() makes them, on the caller's thread
  Device device{};         // of images and labels; prefetched, they are copied there beside its work
  std::vector<Transform> transforms{};
  std::optional<ChannelStats> normalize{};  // default: those of the data set
};

class DataLoader {
 public:
  struct Position {
    int64_t epoch = 0, batch = 0;  // of the batch that next() returns next
    bool operator==(const Position&) const = default;
  };

  // Errors: a data set that is not valid(), options out of range, no batch in an epoch.
  DataLoader(ImageDataset dataset, LoaderOptions options);
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  int64_t batches() const;  // in an epoch
  const ImageDataset& dataset() const { return dataset_; }
  const ChannelStats& normalization() const { return *options_.normalize; }
  const LoaderOptions& options() const { return options_; }

  // The next batch; once nothing at an epoch's end, then the next epoch's first. What a transform threw in the making
  // of the batch is rethrown, by each call until seek(). Like seek() and position(), for one thread at a time.
  std::optional<Batch> next();
  Position position() const { return position_; }
  void seek(Position position);  // batch in [0, batches()]

  // The rest of the epoch. Leaving the loop early leaves the rest to the next one.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Batch;
    using difference_type = std::ptrdiff_t;
    explicit Iterator(DataLoader* loader) : loader_(loader), batch_(loader->next()) {}
    const Batch& operator*() const { return *batch_; }
    Iterator& operator++() {
      batch_.reset();  // its buffers may serve for the batch after the next
      batch_ = loader_->next();
      return *this;
    }
    bool operator==(std::default_sentinel_t) const { return !batch_; }

   private:
    DataLoader* loader_;
    std::optional<Batch> batch_;
  };
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() { return {}; }

 private:
  std::function<Batch()> make(Position at);  // the batch, when it is on its device
  void advance(Position& at) const;
  void work();

  const ImageDataset dataset_;
  LoaderOptions options_;
  Position position_;

  // The order of an epoch, known to whoever makes batches: the thread, or next() if there is none.
  PoolVector<int64_t> order_;
  int64_t order_epoch_ = -1;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wanted_, ready_;
  std::deque<std::function<Batch()>> queue_;  // those from position_ on
  Position making_;                           // what the thread makes next
  int64_t jumps_ = 0;                         // calls of seek(): a batch begun before one is thrown away after it
  std::exception_ptr error_;                  // what stopped the thread, after the queue's last batch
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace norma::data
