// Several processes for tests, each a thread of this one: what they would send by MPI, they hand over in memory.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "norma/core/random.h"
#include "norma/core/workers.h"

namespace norma::test {

class Switchboard {
 public:
  explicit Switchboard(int processes) : processes_(processes) {}

  class Line : public Transport {
   public:
    Line(Switchboard& board, int process) : board_(board), process_(process) {}
    int process() const override { return process_; }
    int processes() const override { return board_.processes_; }
    void exchange(const char* op, int tag, std::span<const Message> send, std::span<const Message> receive,
                  double timeout) override {
      std::unique_lock lock(board_.mutex_);
      board_.messages += static_cast<int64_t>(send.size());
      for (const Message& m : send) {
        board_.bytes += static_cast<int64_t>(m.bytes.size());
        board_.under_way_[{process_, m.process, tag}].emplace_back(m.bytes.begin(), m.bytes.end());
      }
      board_.moved_.notify_all();
      for (const Message& m : receive) {
        auto& queue = board_.under_way_[{m.process, process_, tag}];
        const bool came = board_.moved_.wait_for(lock, std::chrono::duration<double>(timeout),
                                                 [&] { return !queue.empty() || board_.aborted_; });
        check(!board_.aborted_, op, "process {} was ended", process_);
        check(came, op, "process {} has waited {} s for process {}", process_, timeout, m.process);
        check(queue.front().size() == m.bytes.size(), op, "process {} has sent {} bytes, not {}", m.process,
              queue.front().size(), m.bytes.size());
        std::copy(queue.front().begin(), queue.front().end(), m.bytes.begin());
        queue.pop_front();
      }
    }
    void abort(const std::string&) noexcept override {
      const std::lock_guard lock(board_.mutex_);
      board_.aborted_ = true;
      board_.moved_.notify_all();
    }

   private:
    Switchboard& board_;
    int process_;
  };

  int64_t messages = 0, bytes = 0;

 private:
  const int processes_;
  std::mutex mutex_;
  std::condition_variable moved_;
  std::map<std::tuple<int, int, int>, std::deque<std::vector<std::byte>>> under_way_;  // from, to, tag
  bool aborted_ = false;
};

// Runs f for `workers` workers in so many processes. Returns what became of each process: an error's text, or "".
inline std::vector<std::string> run_processes(int processes, int workers, const std::function<void(Communicator&)>& f,
                                              double timeout = 60, Switchboard* board = nullptr) {
  Switchboard own(processes);
  std::vector<std::string> errors(static_cast<size_t>(processes));
  const Generator::State state = default_generator().state();
  std::vector<std::thread> threads;
  for (int p = 0; p < processes; ++p)
    threads.emplace_back([&, p] {
      Switchboard::Line line(board ? *board : own, p);
      const ThreadGenerator generator(state, 0);  // the process's
      try {
        run_workers({workers, timeout, processes > 1 ? &line : nullptr}, f);
      } catch (const Error& error) {
        errors[static_cast<size_t>(p)] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return errors;
}

}  // namespace norma::test
