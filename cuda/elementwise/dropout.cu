#include <cmath>

#include "norma/cuda/launch.h"
#include "norma/ops/elementwise/dropout.h"

namespace norma::cuda {
namespace {

template <class T>
void drop(double p, const Generator::State& from, const Tensor& x, const Tensor& y, bool add) {
  const T* in = x.cuda_data<T>();
  T* out = y.mutable_cuda_data<T>();
  const T scale = static_cast<T>(1 / (1 - p));
  const auto threshold = static_cast<uint64_t>(std::ceil(p * 0x1p32));
  const int64_t n = x.numel();
  for_each("dropout", (n + 3) / 4, [=] __device__(int64_t block) {
    const auto words = philox(from.seed, from.stream, from.position + static_cast<uint64_t>(block));
    for (int64_t k = 0, i = 4 * block; k < 4 && i < n; ++k, ++i) {
      const T value = words[k] >= threshold ? in[i] * scale : T(0);
      out[i] = add ? out[i] + value : value;
    }
  });
}

}  // namespace

void dropout(double p, Generator::State from, const Tensor& x, const Tensor& y, bool add) {
  dispatch_floating("dropout", x.dtype(), [&]<class T>() { drop<T>(p, from, x, y, add); });
}

}  // namespace norma::cuda
