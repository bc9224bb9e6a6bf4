// Solution of exercise 05_standardize.
#pragma once

#include <cmath>
#include <vector>

// What is learned from the training data, for each column of a table: [rows][columns].
using Table = std::vector<std::vector<double>>;

struct Standardizer {
  std::vector<double> mean{}, deviation{};

  // In two passes: first the mean, then the differences from it.
  void learn(const Table& training) {
    mean.assign(training[0].size(), 0);
    deviation.assign(training[0].size(), 0);
    const double rows = static_cast<double>(training.size());
    for (size_t c = 0; c < mean.size(); ++c) {
      for (const auto& row : training) mean[c] += row[c] / rows;
      for (const auto& row : training) deviation[c] += (row[c] - mean[c]) * (row[c] - mean[c]) / rows;
      deviation[c] = deviation[c] > 0 ? std::sqrt(deviation[c]) : 1;
    }
  }

  // The table with each column shifted and scaled by what was learned: training data and test data alike.
  Table apply(Table x) const {
    for (auto& row : x)
      for (size_t c = 0; c < row.size(); ++c) row[c] = (row[c] - mean[c]) / deviation[c];
    return x;
  }
};
