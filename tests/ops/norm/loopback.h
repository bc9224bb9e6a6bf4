// A communicator of threads, for tests of what several workers do together.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "norma/core/communicator.h"

namespace norma::test {

// Workers that meet at a barrier in one process: each has its own thread and its part of the batch.
class Loopback : public Communicator {
 public:
  struct Meeting {
    explicit Meeting(int workers) : parts(static_cast<size_t>(workers)) {}
    std::mutex mutex;
    std::condition_variable moved;
    std::vector<std::vector<double>> parts;
    size_t arrived = 0, left = 0;
  };
  Loopback(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_.parts.size()); }
  void all_gather(std::span<const double> own, std::span<double> all) override {
    std::unique_lock lock(meeting_.mutex);
    meeting_.moved.wait(lock, [&] { return meeting_.left == 0; });  // the last exchange is over
    meeting_.parts[static_cast<size_t>(rank_)].assign(own.begin(), own.end());
    ++meeting_.arrived;
    meeting_.moved.notify_all();
    meeting_.moved.wait(lock, [&] { return meeting_.arrived == meeting_.parts.size(); });
    for (size_t i = 0, at = 0; i < meeting_.parts.size(); at += meeting_.parts[i++].size())
      std::copy(meeting_.parts[i].begin(), meeting_.parts[i].end(), all.begin() + static_cast<std::ptrdiff_t>(at));
    if (++meeting_.left == meeting_.parts.size()) meeting_.arrived = meeting_.left = 0;
    meeting_.moved.notify_all();
    meeting_.moved.wait(lock, [&] { return meeting_.left == 0; });
  }

 private:
  Meeting& meeting_;
  int rank_;
};

}  // namespace norma::test
