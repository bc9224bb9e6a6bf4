#include "norma/ops/elementwise/dropout.h"

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/elementwise/binary_functions.h"

namespace norma {

Tensor dropout(const Tensor& x, double p, Generator& generator) {
  const Op op("dropout", {x});
  op.check(p >= 0 && p < 1, "p {} is not in [0, 1): input {}", p, x.shape());
  if (p == 0) return op.record({x}, x.detach(), [](const Tensor& dy, Sink& dx) { dx.give(0, dy); });
  const Generator::State from = generator.reserve((x.numel() + 3) / 4);
  Tensor y = empty_like(x);
  kernel::dropout(p, from, x.contiguous(), y, false);
  return op.record({x}, y,
                   [p, from](const Tensor& dy, Sink& dx) { dx.write(0, kernel::dropout, p, from, dy.contiguous()); });
}

constexpr int64_t kBlocks = 16;  // of random words, which are made together

// A function of its own: inside of dropout's loop GCC would unroll its loops, and not vectorise them.
[[gnu::noinline]] static PhiloxBlocks<kBlocks> random_blocks(const Generator::State& from, int64_t first) {
  return philox_blocks<kBlocks>(from.seed, from.stream, from.position + first);
}

void cpu::dropout(double p, Generator::State from, const Tensor& x, const Tensor& y, bool add) {
  dispatch_floating("dropout", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const T scale = static_cast<T>(1 / (1 - p));
    const auto threshold = static_cast<uint64_t>(std::ceil(p * 0x1p32));
    constexpr int64_t step = 4 * kBlocks;
    const int64_t n = x.numel();
    parallel_each((n + step - 1) / step, 256, [&](int64_t item) {
      const int64_t at = item * step, count = std::min(step, n - at);
      const auto words = random_blocks(from, at / 4);
      std::array<T, step> factors;
      for (int64_t i = 0; i < kBlocks; ++i)
        for (int64_t k = 0; k < 4; ++k) factors[4 * i + k] = static_cast<T>(words[k][i] >= threshold) * scale;
      const T* __restrict source = in + at;
      T* __restrict to = out + at;
      if (add)
        for (int64_t i = 0; i < count; ++i) to[i] += binary_functions::share<T>::f(factors[i], source[i]);
      else
        for (int64_t i = 0; i < count; ++i) to[i] = binary_functions::share<T>::f(factors[i], source[i]);
    });
  });
}

}  // namespace norma
