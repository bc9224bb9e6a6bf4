#include "norma/ops/dropout.h"

#include <cmath>

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"

namespace norma {

Tensor dropout(const Tensor& x, double p, Generator& generator) {
  Op op("dropout");
  op.check_same({x});
  op.check(p >= 0 && p < 1, "p {} is not in [0, 1): input {}", p, x.shape());
  if (p == 0) return x;
  const Generator::State from = generator.reserve((x.numel() + 3) / 4);
  Tensor y = empty_like(x);
  kernel::dropout(p, from, x.contiguous(), y, false);
  return op.record({x}, y, [p, from](const Tensor& dy, Sink& dx) {
    const auto [grad, add] = dx.into(0);
    kernel::dropout(p, from, dy.contiguous(), grad, add);
  });
}

namespace cpu {

void dropout(double p, Generator::State from, const Tensor& x, const Tensor& y, bool add) {
  dispatch_floating("dropout", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const T scale = static_cast<T>(1 / (1 - p));
    const auto threshold = static_cast<uint64_t>(std::ceil(p * 0x1p32));
    const int64_t n = x.numel();
    parallel_for((n + 3) / 4, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const auto words = philox(from.seed, from.stream, from.position + static_cast<uint64_t>(block));
        for (int64_t i = 4 * block; i < std::min(n, 4 * block + 4); ++i) {
          const T value = words[static_cast<size_t>(i % 4)] >= threshold ? in[i] * scale : T(0);
          out[i] = add ? out[i] + value : value;
        }
      }
    });
  });
}

}  // namespace cpu
}  // namespace norma
