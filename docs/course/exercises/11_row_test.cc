#include <11_row.h>
#include <norma/core/random.h>
#include <norma/ops/elementwise/binary.h>
#include <norma/ops/elementwise/unary.h>
#include <norma/ops/norm/norm.h>
#include <norma/ops/reduce/reduce.h>

#include "check.h"

using namespace norma;

int main() {
  return run_checks([] {
    const Device device{Device::Kind::cuda, 0};
    Generator random(1);
    for (const Shape& shape : {Shape{50, 96}, Shape{9, 64}, Shape{7, 5}, Shape{1, 33}}) {
      const Tensor x = randn(shape, random) * 2 + 100, on_device = x.to(device), y = full(shape, NAN, f32, device);
      sectors.clear();
      launch("normalize_rows", static_cast<unsigned>((shape[0] + 3) / 4), 128, normalize_rows,
             ::Norm{on_device.cuda_data<float>(), y.mutable_cuda_data<float>(), shape[0], shape[1]});
      const Tensor want = norma::norm(x.to(f64), features(), {}, {}, {}), got = y.to(cpu_device).to(f64);
      std::printf("[%d, %d]\n", static_cast<int>(shape[0]), static_cast<int>(shape[1]));
      expect_close(max(abs(got - want)).item(), 0, 1e-5, "the numbers");
      const auto least = static_cast<double>(3 * x.numel()) / 8;
      std::printf("         %.0f sectors, %.0f at least\n", static_cast<double>(sectors.size()), least);
      if (shape[1] % 32 == 0)
        expect(static_cast<double>(sectors.size()) < 1.5 * least,
               "few more sectors than that (each lane may read the shift)");
    }
  });
}
