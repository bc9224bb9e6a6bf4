// Exercise of lesson 5: inputs of mean 0 and variance 1.
#pragma once

#include <cmath>
#include <vector>

// What is learned from the training data, for each column of a table: [rows][columns].
using Table = std::vector<std::vector<double>>;

struct Standardizer {
  std::vector<double> mean{}, deviation{};

  // GAP: the mean and the deviation (root of the mean squared difference from the mean) of each column of `training`.
  // Where a column is constant, its deviation counts as 1. Beware of columns like 1e9, 1e9 + 1, 1e9 + 2: the difference
  // of the mean square and the squared mean is no good there.
  void learn(const Table& training) {
    mean.assign(training[0].size(), 0);
    deviation.assign(training[0].size(), 1);
  }

  // The table with each column shifted and scaled by what was learned: training data and test data alike.
  Table apply(Table x) const {
    for (auto& row : x)
      for (size_t c = 0; c < row.size(); ++c) row[c] = (row[c] - mean[c]) / deviation[c];
    return x;
  }
};
