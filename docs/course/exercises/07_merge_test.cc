#include <07_merge.h>

#include "check.h"

Set statistics(const std::vector<double>& x, size_t begin, size_t end) {
  Set set = {static_cast<double>(end - begin), 0, 0};
  for (size_t i = begin; i < end; ++i) set.mean += x[i] / set.count;
  for (size_t i = begin; i < end; ++i) set.var += (x[i] - set.mean) * (x[i] - set.mean) / set.count;
  return set;
}

int main() {
  return run_checks([] {
    Average average(0.1);
    average.follow(10);
    expect_close(average.value(), 10, 1e-12, "after one batch the average is that batch");
    for (int step = 1; step < 5; ++step) average.follow(10);
    expect_close(average.value(), 10, 1e-12, "after five equal batches it is what they are");
    Average two(0.5);
    two.follow(1);
    two.follow(4);
    expect_close(two.value(), 3, 1e-12, "of two batches, the newer one counts twice the older at momentum 1/2");

    std::vector<double> x;
    for (int i = 0; i < 60; ++i) x.push_back(100 + i * i % 17 + i / 10.);
    const Set all = statistics(x, 0, 60);
    const Set equal = merged({statistics(x, 0, 20), statistics(x, 20, 40), statistics(x, 40, 60)});
    expect_close(equal.mean, all.mean, 1e-10, "equal batches: the mean");
    expect_close(equal.var, all.var, 1e-10, "equal batches: the variance");
    const Set uneven = merged({statistics(x, 0, 7), statistics(x, 7, 8), statistics(x, 8, 60)});
    expect_close(uneven.count, 60, 0, "batches of 7, 1 and 52 elements: the count");
    expect_close(uneven.mean, all.mean, 1e-10, "batches of 7, 1 and 52 elements: the mean");
    expect_close(uneven.var, all.var, 1e-10, "batches of 7, 1 and 52 elements: the variance");
  });
}
