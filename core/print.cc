// Tensor::str(): prints a tensor as numpy does - aligned columns, long axes shortened to their ends - with dtype and
// shape.
#include <algorithm>
#include <cmath>

#include "norma/core/tensor.h"

namespace norma {
namespace {

constexpr int64_t kThreshold = 1000;  // elements above which axes are shortened
constexpr int64_t kEdge = 3;          // entries kept at each end of a shortened axis

// One format for all elements of a tensor: integers; fixed with as few digits as needed; or scientific.
class Format {
 public:
  Format(DType dtype, const std::vector<double>& values) : dtype_(dtype) {
    double largest = 0, smallest = INFINITY;
    for (double value : values) {
      if (!std::isfinite(value)) continue;
      if (value != 0) smallest = std::min(smallest, std::abs(value));
      largest = std::max(largest, std::abs(value));
    }
    scientific_ = largest >= 1e8 || (smallest < 1e-4 && std::isfinite(smallest)) || largest / smallest > 1e7;
    for (double value : values)
      while (!scientific_ && digits_ < 4 && std::isfinite(value) &&
             std::abs(value * std::pow(10, digits_) - std::round(value * std::pow(10, digits_))) > 1e-4)
        ++digits_;
    for (double value : values) width_ = std::max(width_, text(value).size());
  }
  std::string operator()(double value) const { return fmt::format("{:>{}}", text(value), width_); }

 private:
  std::string text(double value) const {
    if (dtype_ == boolean) return value != 0 ? "true" : "false";
    if (!norma::is_floating(dtype_)) return fmt::format("{:.0f}", value);
    if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    if (scientific_) return fmt::format("{:.4e}", value);
    return digits_ == 0 ? fmt::format("{:.0f}.", value) : fmt::format("{:.{}f}", value, digits_);
  }
  DType dtype_;
  bool scientific_ = false;
  int digits_ = 0;
  size_t width_ = 0;
};

class Printer {
 public:
  explicit Printer(const Tensor& x) : x_(x), shorten_(x.numel() > kThreshold) {}

  std::string run() {
    collect(0, {});
    const Format format(x_.dtype(), values_);
    next_ = 0;
    return fmt::format("tensor({}, {}, shape {})", body(0, format), x_.dtype(), x_.shape());
  }

 private:
  // Calls visit(i) for the entries of an axis that are shown, and gap() where some are left out.
  template <class Visit, class Gap>
  void walk(int axis, Visit visit, Gap gap) const {
    const int64_t n = x_.shape()[axis];
    for (int64_t i = 0; i < n; ++i) {
      if (shorten_ && n > 2 * kEdge + 1 && i == kEdge) {
        gap();
        i = n - kEdge;
      }
      visit(i);
    }
  }

  void collect(int axis, const std::vector<int64_t>& index) {
    if (axis == x_.rank()) {
      values_.push_back(x_.at(index));
      return;
    }
    walk(
        axis,
        [&](int64_t i) {
          std::vector<int64_t> deeper = index;
          deeper.push_back(i);
          collect(axis + 1, deeper);
        },
        [] {});
  }

  std::string body(int axis, const Format& format) {
    if (axis == x_.rank()) return format(values_[next_++]);
    const bool innermost = axis == x_.rank() - 1;
    const std::string between = innermost ? ", "
                                          : "," + std::string(static_cast<size_t>(x_.rank() - axis - 1), '\n') +
                                                std::string(static_cast<size_t>(8 + axis), ' ');
    std::string text = "[";
    bool first = true;
    const auto separate = [&] {
      if (!first) text += between;
      first = false;
    };
    walk(
        axis,
        [&](int64_t) {
          separate();
          text += body(axis + 1, format);
        },
        [&] {
          separate();
          text += "...";
        });
    return text + "]";
  }

  const Tensor& x_;
  bool shorten_;
  std::vector<double> values_;
  size_t next_ = 0;
};

}  // namespace

std::string Tensor::str() const {
  if (!defined()) return "tensor(undefined)";
  return Printer(to(cpu_device)).run();
}

}  // namespace norma
