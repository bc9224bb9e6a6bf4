// What the trainers say to each other where several workers train together. All workers call each of these but
// status_of_workers.
#pragma once

#include <norma/norma.h>

#include "examples/common/interrupt.h"

namespace examples {

// Runs f(me) for each worker of this process; returns what it returned, which is the same with all.
template <class F>
int status_of_workers(const norma::nn::Workers& workers, F&& f) {
  std::atomic<int> status{0};
  workers.run([&](norma::nn::Worker& me) { status = f(me); });
  return status;
}

// Of each of a few numbers, the sum over the workers.
inline std::vector<double> sum_of_workers(norma::nn::Worker& me, const std::vector<double>& values) {
  if (me.size() == 1) return values;
  const norma::Tensor sums = norma::tensor(values, {std::ssize(values)});
  me.all_reduce(sums);
  return sums.to_vector<double>();
}

// Whether worker 0 says so: of its files, say, which others need not see.
template <class F>
bool first_says(norma::nn::Worker& me, F&& f) {
  return sum_of_workers(me, {me.first() && f() ? 1.0 : 0.0})[0] > 0;
}

// The signal that any of the workers' processes has got, or 0.
inline int signal_of_workers(norma::nn::Worker& me, const Interrupt& interrupt) {
  const int own = interrupt.signal();
  if (me.size() == 1) return own;
  const std::vector<double> count = sum_of_workers(me, {own == SIGINT ? 1.0 : 0.0, own == SIGTERM ? 1.0 : 0.0});
  return count[0] > 0 ? SIGINT : count[1] > 0 ? SIGTERM : 0;
}

}  // namespace examples
