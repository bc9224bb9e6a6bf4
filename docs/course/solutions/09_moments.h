// Solution of exercise 09_moments.
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
    const double delta = x - mean;
    mean += delta / static_cast<double>(count);
    m2 += delta * (x - mean);
  }

  // As if all that was added to b had been added here. Either side may be empty.
  void merge(const Moments& b) {
    if (b.count == 0) return;
    const double n = static_cast<double>(count + b.count), delta = b.mean - mean,
                 weight = static_cast<double>(b.count) / n;
    mean += delta * weight;
    m2 += b.m2 + delta * delta * static_cast<double>(count) * weight;
    count += b.count;
  }
};
