// The loops of ops/optim/optim.h.
#include "norma/core/parallel.h"
#include "norma/core/simd/vectors.h"
#include "norma/ops/optim/optim_functions.h"

NORMA_SIMD_BEGIN

static constexpr int64_t kGrain = 16384;

// In parallel, calls f.operator()<T>(i, begin, end) for the elements [begin, end) of tensor i, as if all lay one behind
// the other: small ones are done together.
template <class F>
static void for_all(const char* op, std::span<const Tensor> tensors, F&& f) {
  PoolVector<int64_t> ends;
  for (const Tensor& x : tensors) ends.push_back((ends.empty() ? 0 : ends.back()) + x.numel());
  parallel_for(ends.empty() ? 0 : ends.back(), kGrain, [&](int64_t begin, int64_t end) {
    size_t i = std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin();
    for (int64_t to; begin < end; begin = to, ++i) {
      const int64_t start = ends[i] - tensors[i].numel();
      to = std::min(end, ends[i]);
      dispatch_floating(op, tensors[i].dtype(),
                        [&]<class T>() { f.template operator()<T>(i, begin - start, to - start); });
    }
  });
}

void sgd_update(std::span<const Tensor> p, std::span<const Tensor> grad, std::span<const Tensor> velocity,
                std::span<const SgdStep> steps) {
  for_all("sgd", p, [&]<class T>(size_t k, int64_t begin, int64_t end) {
    const optim_functions::Sgd<T> update(steps[k]);
    T* __restrict x = p[k].mutable_data<T>();
    T* __restrict v = velocity[k].defined() ? velocity[k].mutable_data<T>() : nullptr;
    const T* __restrict dx = grad[k].data<T>();
    if (v)
      for (int64_t i = begin; i < end; ++i) update(x[i], dx[i], v[i]);
    else
      for (int64_t i = begin; i < end; ++i) update(x[i], dx[i]);
  });
}

void adam_update(std::span<const Tensor> p, std::span<const Tensor> grad, std::span<const Tensor> m,
                 std::span<const Tensor> v, std::span<const AdamStep> steps) {
  for_all("adam", p, [&]<class T>(size_t k, int64_t begin, int64_t end) {
    const optim_functions::Adam<T> update(steps[k]);
    T* __restrict x = p[k].mutable_data<T>();
    T* __restrict mean = m[k].mutable_data<T>();
    T* __restrict square = v[k].mutable_data<T>();
    const T* __restrict dx = grad[k].data<T>();
    for (int64_t i = begin; i < end; ++i) update(x[i], dx[i], mean[i], square[i]);
  });
}

NORMA_SIMD_END
