#include "examples/common/confusion.h"

#include <algorithm>
#include <numeric>

namespace examples {

ConfusionTable::ConfusionTable(std::vector<std::string> class_names)
    : names_(std::move(class_names)), counts_(names_.size() * names_.size()) {}

void ConfusionTable::add(const norma::Tensor& labels, const norma::Tensor& predictions) {
  const std::vector<int64_t> truth = labels.to_vector<int64_t>(), guess = predictions.to_vector<int64_t>();
  for (size_t i = 0; i < truth.size(); ++i) ++counts_[truth[i] * std::ssize(names_) + guess[i]];
}

void ConfusionTable::add_workers(norma::Communicator& me) {
  const norma::Tensor counts = norma::tensor(counts_, {std::ssize(counts_)});
  me.all_reduce(counts);
  counts_ = counts.to_vector<int64_t>();
}

int64_t ConfusionTable::total() const { return std::accumulate(counts_.begin(), counts_.end(), int64_t{0}); }

double ConfusionTable::accuracy() const {
  int64_t right = 0;
  for (size_t i = 0; i < names_.size(); ++i) right += counts_[i * (names_.size() + 1)];
  return static_cast<double>(right) / static_cast<double>(std::max<int64_t>(total(), 1));
}

std::string ConfusionTable::str() const {
  size_t first = 0;
  for (const std::string& name : names_) first = std::max(first, name.size());
  std::string text = fmt::format("{:>{}}  taken for\n{:>{}} ", "", first, "", first);
  for (const std::string& name : names_) text += fmt::format("{:>6.5}", name);
  text += "   right\n";
  for (size_t i = 0; i < names_.size(); ++i) {
    int64_t sum = 0;
    text += fmt::format("{:>{}} ", names_[i], first);
    for (size_t k = 0; k < names_.size(); ++k) {
      const int64_t n = counts_[i * names_.size() + k];
      text += n > 0 ? fmt::format("{:6}", n) : "     .";
      sum += n;
    }
    const double right = static_cast<double>(counts_[i * (names_.size() + 1)]);
    text += sum > 0 ? fmt::format("{:7.1f}%\n", 100 * right / static_cast<double>(sum)) : "       -\n";
  }
  return text;
}

}  // namespace examples
