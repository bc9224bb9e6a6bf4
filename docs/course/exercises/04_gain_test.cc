#include <04_gain.h>
#include <norma/core/random.h>
#include <norma/ops/elementwise/binary.h>
#include <norma/ops/linalg/matmul.h>
#include <norma/ops/reduce/reduce.h>

#include "check.h"

using namespace norma;

// The mean square of W h in the last of 30 layers, of which the first is normal with variance 1.
double after_30_layers(const std::function<double(double)>& f) {
  const int64_t width = 256;
  Generator generator(1);
  Tensor z = randn({64, width}, generator, f64);
  for (int layer = 0; layer < 30; ++layer) {
    double* values = z.mutable_data<double>();
    for (int64_t i = 0; i < z.numel(); ++i) values[i] = f(values[i]);
    z = matmul(z, randn({width, width}, generator, f64) * weight_deviation(f, width));
  }
  return mean(z * z).item();
}

int main() {
  return run_checks([] {
    const auto relu = [](double z) { return z > 0 ? z : 0; };
    const auto leaky = [](double z) { return z > 0 ? z : 0.2 * z; };
    const auto half = [](double z) { return 0.5 * z; };
    expect_close(weight_deviation(relu, 50), 0.2, 1e-4, "relu, fan in 50: sqrt(2 / 50)");
    expect_close(weight_deviation(leaky, 128), std::sqrt(2 / 1.04 / 128), 1e-4, "leaky relu, fan in 128");
    expect_close(weight_deviation(half, 4), 1, 1e-4, "z / 2, fan in 4");
    for (const auto& f : {std::function<double(double)>(relu), std::function<double(double)>(leaky),
                          std::function<double(double)>([](double z) { return std::tanh(3 * z); })}) {
      const double m = after_30_layers(f);
      expect(m > 0.4 && m < 2.5, "30 layers later the mean square is still about 1");
    }
  });
}
