// ConfusionTable: how often each class was taken for each.
#pragma once

#include <string>
#include <vector>

#include "norma/core/communicator.h"

namespace examples {

class ConfusionTable {
 public:
  explicit ConfusionTable(std::vector<std::string> class_names);

  void add(const norma::Tensor& labels, const norma::Tensor& predictions);  // i64 [N] each
  void add_workers(norma::Communicator& me);  // the counts become those of all workers, each of whom calls this
  int64_t total() const;
  double accuracy() const;  // 0 if nothing was added
  std::string str() const;  // a row for each true class, a column for each predicted one

 private:
  std::vector<std::string> names_;
  std::vector<int64_t> counts_;  // [true class][predicted class]
};

}  // namespace examples
