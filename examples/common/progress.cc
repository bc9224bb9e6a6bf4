#include "examples/common/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "examples/common/terminal.h"

namespace examples {
namespace {

std::string bar(double part, int width) {
  std::string text;
  if (!is_utf8()) {
    const int full = static_cast<int>(part * width);
    return "[" + std::string(static_cast<size_t>(full), '#') + std::string(static_cast<size_t>(width - full), '.') +
           "]";
  }
  constexpr const char* kEighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
  const int eighths = static_cast<int>(part * width * 8);
  for (int i = 0; i < width; ++i) text += kEighths[std::clamp(eighths - 8 * i, 0, 8)];
  return "▕" + text + "▏";
}

}  // namespace

ProgressBar::ProgressBar(std::string label, int64_t total) : label_(std::move(label)), total_(total) {}

void ProgressBar::update(int64_t done, const std::string& text) {
  const Clock::time_point now = Clock::now();
  if (!is_terminal() || (now - drawn_ < std::chrono::milliseconds(100) && done < total_)) return;
  drawn_ = now;
  const double part = static_cast<double>(done) / static_cast<double>(std::max<int64_t>(total_, 1));
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const std::string left = part > 0 ? duration(seconds * (1 - part) / part) + " left" : "";
  const std::string rest = fmt::format("{:4.0f}%  {}  {}", 100 * part, text, left);
  const int width = columns() - 1 - static_cast<int>(label_.size() + rest.size()) - 3;
  const std::string line = width >= 5 ? label_ + " " + bar(part, std::min(width, 30)) + rest : label_ + rest;
  fmt::print("\r{}\033[K", line.substr(0, width >= 5 ? line.size() : static_cast<size_t>(columns() - 1)));
  std::fflush(stdout);
  visible_ = true;
}

void ProgressBar::clear() {
  if (!visible_) return;
  fmt::print("\r\033[K");
  std::fflush(stdout);
  visible_ = false;
}

std::string duration(double seconds) {
  const int64_t s = std::llround(seconds);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace examples
