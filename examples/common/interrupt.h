// Interrupt: turns Ctrl-C (SIGINT) and SIGTERM into a question that a training loop asks between two steps. A second
// one ends the program at once, as without it. Several may live at once, as with several workers: they are one.
#pragma once

#include <signal.h>

#include <atomic>
#include <mutex>

namespace examples {

class Interrupt {
 public:
  Interrupt() {
    const std::lock_guard lock(mutex_);
    if (count_++ > 0) return;
    seen_ = 0;
    struct sigaction action {};
    action.sa_handler = [](int signal) { seen_ = signal; };
    action.sa_flags = SA_RESETHAND | SA_RESTART;
    ::sigaction(SIGINT, &action, &interrupt_);
    ::sigaction(SIGTERM, &action, &terminate_);
  }
  ~Interrupt() {
    const std::lock_guard lock(mutex_);
    if (--count_ > 0) return;
    ::sigaction(SIGINT, &interrupt_, nullptr);
    ::sigaction(SIGTERM, &terminate_, nullptr);
  }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  int signal() const { return seen_; }  // the one that came, or 0

 private:
  static inline std::atomic<int> seen_{0};
  static inline std::mutex mutex_;  // guards the rest
  static inline int count_ = 0;     // how many live
  static inline struct sigaction interrupt_ {
  }, terminate_{};  // what was in their place before
};

}  // namespace examples
