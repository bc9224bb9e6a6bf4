#include <04_adam.h>
#include <norma/core/random.h>
#include <norma/nn/optim/adam.h>

#include "check.h"

using namespace norma;

int main() {
  return run_checks([] {
    AdamW first = {.lr = 0.1, .weight_decay = 0};
    std::vector<double> p = {1, 1, 1};
    first.step(p, {3, -0.001, 0});
    expect_close(p[0], 0.9, 1e-6, "the first step has the length of the rate, for a gradient of 3");
    expect_close(p[1], 1.1, 1e-5, "and for one of -0.001");
    expect_close(p[2], 1, 1e-12, "no gradient, no step");

    AdamW optimizer = {.lr = 0.01, .weight_decay = 0.1};
    Generator generator(1);
    Tensor q = randn({5}, generator, f64);
    std::vector<double> mine = q.to_vector<double>();
    q.set_requires_grad();
    nn::AdamW theirs(NamedTensors{{"q", q}}, {.lr = 0.01, .weight_decay = 0.1});
    for (int step = 0; step < 20; ++step) {
      const Tensor gradient = randn({5}, generator, f64);
      q.set_grad(gradient);
      theirs.step();
      optimizer.step(mine, gradient.to_vector<double>());
    }
    for (int i = 0; i < 5; ++i) expect_close(mine[i], q.at({i}), 1e-10, "after 20 steps, as nn::AdamW");
  });
}
