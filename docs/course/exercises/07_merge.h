// Exercise of lesson 7: two estimators of a population. Fill the gaps.
#pragma once

#include <cmath>
#include <vector>

// A moving average that has forgotten what it began with.
class Average {
 public:
  explicit Average(double momentum) : momentum_(momentum) {}
  void follow(double of_batch) {
    sum_ = (1 - momentum_) * sum_ + momentum_ * of_batch;
    ++steps_;
  }
  // After t steps the batches together have a weight below 1 in sum_, which began as 0; the rest is that of the 0. This
  // is the average in which the batches have all of the weight. (Adam corrects its two averages in the same way.)
  double value() const {
    return sum_;  // GAP: correct it
  }

 private:
  double momentum_, sum_ = 0;
  int steps_ = 0;
};

// Statistics of a set of elements: how many, their mean, and their biased variance (divided by count).
struct Set {
  double count, mean, var;
};

// Those of the union of the batches, which may be of different sizes; each has a count above 0.
inline Set merged(const std::vector<Set>& batches) {
  Set all = batches[0];
  // GAP: the weights are the counts; the variance is what lies within the batches and what lies between them.
  return all;
}
