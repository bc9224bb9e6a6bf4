// ProgressBar: one line on a terminal that shows how far an epoch has come. Elsewhere it shows nothing, so that a log
// file gets the line for the whole epoch alone, which the program prints itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace examples {

class ProgressBar {
 public:
  ProgressBar(std::string label, int64_t total);
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(int64_t done, const std::string& text);  // redraws at most ten times a second
  void clear();                                        // leaves an empty line, and the cursor at its beginning

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  int64_t total_;
  Clock::time_point start_ = Clock::now(), drawn_{};
  bool visible_ = false;
};

std::string duration(double seconds);  // "7 s", "1:05", "2:00:31"

}  // namespace examples
