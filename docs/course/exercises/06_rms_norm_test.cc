#include <06_rms_norm.h>
#include <norma/autograd/tape.h>
#include <norma/core/random.h>
#include <norma/ops/elementwise/binary.h>
#include <norma/ops/elementwise/unary.h>
#include <norma/ops/norm/norm.h>
#include <norma/ops/reduce/reduce.h>

#include "check.h"

using namespace norma;

int main() {
  return run_checks([] {
    Generator generator(1);
    Tensor x = randn({7, 5}, generator, f64) + 1, gamma = randn({5}, generator, f64);
    const Tensor beta = zeros({5}, f64), dy = randn({7, 5}, generator, f64);
    RmsNorm mine = {.gamma = gamma.to_vector<double>()};
    const std::vector<double> y = mine.forward(x.to_vector<double>()), dx = mine.backward(dy.to_vector<double>());
    x.set_requires_grad();
    gamma.set_requires_grad();
    Tape tape;
    const Tensor theirs = norm(x, features(), {}, gamma, beta, {.eps = 1e-5, .center = false});
    tape.backward(theirs, {.seed = dy});
    const auto off = [](const std::vector<double>& a, const Tensor& b) {
      return max(abs(tensor(a, b.shape()) - b.detach())).item();
    };
    expect_close(off(y, theirs), 0, 1e-12, "y, as norma computes it");
    expect_close(off(dx, x.grad()), 0, 1e-12, "dx");
    expect_close(off(mine.dgamma, gamma.grad()), 0, 1e-12, "dgamma");
  });
}
