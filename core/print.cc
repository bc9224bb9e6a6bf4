// Tensor::str() and operator<<: a tensor as numpy prints it, with aligned columns, long axes shortened to their ends
// and long rows wrapped; and with its dtype and shape.
#include <cmath>
#include <cstdlib>
#include <ostream>

#include "norma/core/tensor.h"

namespace norma {
constexpr int64_t kThreshold = 1000;  // elements above which axes are shortened
constexpr int64_t kEdge = 3;          // entries kept at each end of a shortened axis
constexpr size_t kLineWidth = 75;
constexpr int kDigits = 4;  // at most, behind the point

static std::string number(auto value, int digits, bool scientific) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  return scientific ? fmt::format("{:#.{}e}", value, digits) : fmt::format("{:#.{}f}", value, digits);
}

// The fewest digits behind the point that tell the value, or what is left of it after rounding to kDigits.
static int digits_of(auto value, bool scientific) {
  if (!std::isfinite(value)) return 0;
  for (int digits = 0;; ++digits) {
    const std::string text = number(value, digits, scientific);
    // strtod and not from_chars, whose numbers with a point libc++ 16 does not know.
    if (static_cast<decltype(value)>(std::strtod(text.c_str(), nullptr)) == value) return digits;
    if (digits < kDigits) continue;
    while (digits > 0 && text[text.find('.') + digits] == '0') --digits;
    return digits;
  }
}

// Points stand below points: fixed numbers are filled with spaces, scientific ones with zeros.
template <class T>
static std::vector<std::string> floating_words(const std::vector<T>& values) {
  T largest = 0, smallest = INFINITY;
  for (T value : values) {
    if (!std::isfinite(value) || value == 0) continue;
    smallest = std::min(smallest, std::abs(value));
    largest = std::max(largest, std::abs(value));
  }
  const bool scientific = largest > 0 && (largest >= T(1e8) || smallest < T(1e-4) || largest / smallest > 1000);
  int digits = 0;
  for (T value : values) digits = std::max(digits, digits_of(value, scientific));
  std::vector<std::string> words;
  for (T value : values) {
    const int own = scientific || !std::isfinite(value) ? digits : digits_of(value, scientific);
    words.push_back(number(value, own, scientific) + std::string(digits - own, ' '));
  }
  return words;
}

// The text of axis `axis` and of those behind it, `shown` entries of each; `word`, the next to write, moves on.
static std::string body(const Shape& shape, const Shape& shown, int axis, const std::string*& word) {
  if (axis == shape.rank()) return *word++;
  const bool row = axis == shape.rank() - 1;
  const std::string indent(8 + axis, ' ');  // 8: "tensor(["
  const std::string line = "," + std::string(std::max(1, shape.rank() - axis - 1), '\n') + indent;
  // What closes behind an entry of a row: its comma, or as many brackets as there are axes.
  const size_t room = kLineWidth - shape.rank();
  std::string text = "[";
  size_t column = indent.size();
  const auto put = [&](const std::string& entry) {
    if (text.size() > 1) {
      const bool wrap = !row || column + 2 + entry.size() > room;
      text += wrap ? line : ", ";
      column = wrap ? indent.size() : column + 2;
    }
    text += entry;
    column += entry.size();
  };
  for (int64_t i = 0; i < shown[axis]; ++i) {
    if (i == kEdge && shown[axis] < shape[axis]) put("...");
    put(body(shape, shown, axis + 1, word));
  }
  return text + "]";
}

std::string Tensor::str() const {
  if (!defined()) return "tensor(undefined)";
  Tensor shown = to(cpu_device);
  for (int axis = 0; axis < rank() && numel() > kThreshold; ++axis) {
    if (shape()[axis] <= 2 * kEdge) continue;
    const Tensor ends(shown.shape().with(axis, 2 * kEdge), dtype());
    view::slice(ends, axis, 0, kEdge).copy_from(view::slice(shown, axis, 0, kEdge));
    view::slice(ends, axis, kEdge).copy_from(view::slice(shown, axis, -kEdge));
    shown = ends;
  }
  std::vector<std::string> words;
  dispatch(dtype(), [&]<class T>() {
    const std::vector<T> values = shown.to_vector<T>();
    if constexpr (std::is_floating_point_v<T>) words = floating_words(values);
    else
      for (T value : values) words.push_back(fmt::format("{}", value));
  });
  size_t width = 0;
  for (const std::string& w : words) width = std::max(width, w.size());
  for (std::string& w : words) w.insert(0, width - w.size(), ' ');
  const std::string* word = words.data();
  const std::string text = numel() > 0 ? body(shape(), shown.shape(), 0, word) : "[]";
  return fmt::format("tensor({}, {}, shape {})", text, dtype(), shape());
}
std::ostream& operator<<(std::ostream& out, const Tensor& x) { return out << x.str(); }

}  // namespace norma
