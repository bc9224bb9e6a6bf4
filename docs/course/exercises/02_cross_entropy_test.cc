#include <02_cross_entropy.h>

#include "02_check.h"
#include "check.h"

int main() {
  return run_checks([] {
    std::mt19937 generator(3);
    const Tensor x = random_tensor({4, 3}, generator);
    const Op loss = [](const auto& in) { return cross_entropy(in[0], {2, 0, 1, 1}); };
    expect(check_gradient("cross_entropy", loss, {x}, tensor({}, {0.7})), "agrees with central differences");

    const Tensor same = tensor({1, 4}, {3, 3, 3, 3});  // softmax says 1/4 of each
    same.want_grad();
    Tape tape;
    const Tensor of_same = cross_entropy(same, {1});
    tape.backward(of_same);
    expect_close(of_same.value(0), std::log(4.), 1e-12, "the loss of not knowing is log 4");
    expect_close(same.grad(0), 0.25, 1e-12, "a wrong class is pushed down by what it was given");
    expect_close(same.grad(1), -0.75, 1e-12, "the right one is pulled up by what it lacks");

    const Tensor large = tensor({1, 2}, {1000, -1000});
    large.want_grad();
    tape.backward(cross_entropy(large, {1}));
    expect_close(large.grad(1), -1, 1e-12, "logits of 1000 make no NaN");
  });
}
