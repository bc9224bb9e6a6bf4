// Solution of exercise 08_divide.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

// For each of n samples the normalization batch that it belongs to: n / size of them (at least one), numbered from 0,
// whose sizes differ by at most one. Which samples are together is drawn anew by each call, and does not depend on
// where they stand in the batch. What is returned is what labels(ids, count) of ops/norm/grouping.h takes.
inline std::vector<int64_t> divide(int64_t n, int64_t size, std::mt19937& random) {
  const int64_t sets = std::max<int64_t>(n / size, 1);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(i * sets / n);
  std::shuffle(ids.begin(), ids.end(), random);
  return ids;
}
