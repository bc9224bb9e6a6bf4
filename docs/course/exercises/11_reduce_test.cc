#include <11_reduce.h>
#include <norma/core/random.h>

#include "check.h"

using namespace norma;

// x [2, n], y [2, n, 2]: two calls, one behind the other.
__global__ void call_twice(const double* x, double* y) {
  for (int call = 0; call < 2; ++call) {
    const int64_t i = call * int64_t{blockDim.x} + threadIdx.x;
    const Largest found = largest_of_block(x[i]);
    y[2 * i] = found.value;
    y[2 * i + 1] = found.at;
  }
}

int main() {
  return run_checks([] {
    const Device device{Device::Kind::cuda, 0};
    Generator random(1);
    for (const int64_t n : {256, 64, 1}) {
      const Tensor x = randint(0, 20, {2, n}, random).to(f64), on_device = x.to(device),
                   y = full({2, n, 2}, NAN, f64, device);
      launch("largest_of_block", 1, static_cast<unsigned>(n), call_twice, on_device.cuda_data<double>(),
             y.mutable_cuda_data<double>());
      const std::vector<double> values = x.to_vector<double>(), got = y.to_vector<double>();  // waits for the kernel
      bool right = true;
      for (int64_t i = 0; i < 2 * n; ++i) {
        const auto begin = values.begin() + i / n * n,
                   most = std::max_element(begin, begin + n);  // the first of equals
        right = right && got[2 * i] == *most && got[2 * i + 1] == static_cast<double>(most - begin);
      }
      std::printf("%d threads\n", static_cast<int>(n));
      expect(right, "the largest value, and the lowest thread that has it, for every thread and both calls");
    }
  });
}
