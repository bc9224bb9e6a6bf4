// Exercise of lesson 12: a sum over workers with the same bits, however they are spread over processes. Fill the gaps.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

// The tree over the workers begin, ..., end - 1: its left part has the largest power of two of them that leaves
// something for the right part. Of five workers: ((0 + 1) + (2 + 3)) + 4.
inline int middle(int begin, int end) {
  int half = 1;
  while (2 * half < end - begin) half *= 2;
  return begin + half;
}

// The sum along that tree of all workers' values.
inline double tree_sum(const std::vector<double>& values, int begin, int end) {
  // GAP: along the tree.
  double sum = 0;
  for (int w = begin; w < end; ++w) sum += values[static_cast<size_t>(w)];
  return sum;
}

// A part of the tree, the workers begin, ..., end - 1, and what they make together.
using Sums = std::map<std::pair<int, int>, double>;

// What a process sends that has the workers first, ..., last - 1 of `count`: the sums of the largest parts of the tree
// whose workers are all its own. They are as few as possible, and with those of the other processes the tree can be
// added up to the end.
inline void sums_to_send(const std::vector<double>& values, int first, int last, int begin, int end, Sums& sums) {
  // GAP: here every worker's value is sent. The tree's part [begin, end) is either all of this process, or in part
  // (then ask its two halves), or not at all.
  (void)begin, (void)end;
  for (int w = first; w < last; ++w) sums[{w, w + 1}] = values[static_cast<size_t>(w)];
}
