// Exercise of lesson 9: mean and variance of a stream of floats, and of several streams together. Fill the gaps.
#pragma once

#include <cstdint>

// Of the numbers that were added: how many, their mean, and the sum of their squared deviations from it. No number is
// kept. A variance of numbers whose mean is a million times their deviation still has to be right to six digits.
struct Moments {
  int64_t count = 0;
  double mean = 0, m2 = 0;

  double var() const { return count > 0 ? m2 / static_cast<double>(count) : 0; }

  void add(float x) {
    ++count;
    // GAP: Welford's formula.
    (void)x;
  }

  // As if all that was added to b had been added here. Either side may be empty.
  void merge(const Moments& b) {
    // GAP: Chan's formula.
    (void)b;
  }
};
