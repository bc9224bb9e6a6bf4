// The loops of ops/optim/optim.h.
#include "norma/core/parallel.h"
#include "norma/core/simd/vectors.h"
#include "norma/ops/optim/optim_functions.h"

NORMA_SIMD_BEGIN

static constexpr int64_t kGrain = 16384;

// In parallel, calls f.operator()<T>(step, begin, end) for the elements [begin, end) of a step's parameter, as if all
// lay one behind the other: small ones are done together.
static void for_all(const char* op, std::span<const ParameterStep> steps, auto&& f) {
  PoolVector<int64_t> ends;
  for (const ParameterStep& step : steps) ends.push_back((ends.empty() ? 0 : ends.back()) + step.p.numel());
  parallel_for(ends.empty() ? 0 : ends.back(), kGrain, [&](int64_t begin, int64_t end) {
    size_t i = std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin();
    for (int64_t to; begin < end; begin = to, ++i) {
      const int64_t start = ends[i] - steps[i].p.numel();
      to = std::min(end, ends[i]);
      dispatch_floating(op, steps[i].p.dtype(),
                        [&]<class T>() { f.template operator()<T>(steps[i], begin - start, to - start); });
    }
  });
}

void sgd_update(std::span<const ParameterStep> steps, const SgdRule& rule) {
  for_all("sgd", steps, [&]<class T>(const ParameterStep& step, int64_t begin, int64_t end) {
    const optim_functions::Sgd<T> update(step, rule);
    T* __restrict x = step.p.mutable_data<T>();
    T* __restrict v = step.averages[0].defined() ? step.averages[0].mutable_data<T>() : nullptr;
    const T* __restrict dx = step.grad.data<T>();
    for (int64_t i = begin; i < end; ++i) v ? update(x[i], dx[i], v[i]) : update(x[i], dx[i]);
  });
}

void adam_update(std::span<const ParameterStep> steps, const AdamRule& rule) {
  for_all("adam", steps, [&]<class T>(const ParameterStep& step, int64_t begin, int64_t end) {
    const optim_functions::Adam<T> update(step, rule);
    T* __restrict x = step.p.mutable_data<T>();
    T* __restrict mean = step.averages[0].mutable_data<T>();
    T* __restrict square = step.averages[1].mutable_data<T>();
    const T* __restrict dx = step.grad.data<T>();
    for (int64_t i = begin; i < end; ++i) update(x[i], dx[i], mean[i], square[i]);
  });
}

NORMA_SIMD_END
