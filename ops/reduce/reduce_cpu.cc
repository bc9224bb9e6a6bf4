// The loops of ops/reduce/reduce.h.
#include "norma/core/simd/reduce.h"
#include "norma/ops/reduce/reduce.h"

NORMA_SIMD_BEGIN

static constexpr int64_t kGrain = 8192;

void reduce(Reduce f, double divisor, const Tensor& x, const Tensor& high, const Tensor& low, const Tensor& y) {
  dispatch(x.dtype(), [&]<class T>() {
    using A = std::conditional_t<std::is_integral_v<T>, int64_t, double>;  // in which the elements are combined
    using Y = std::conditional_t<std::is_integral_v<T>, int64_t, T>;
    const A by = static_cast<A>(divisor);
    // power: of the deviations from high + low; 0: f of the elements.
    const auto run = [&]<class F, int power>(F, std::integral_constant<int, power>) {
      const int64_t outer = x.dim(0), n = x.dim(1), inner = x.dim(2);
      if (outer * inner == 0) return;
      const T* from = x.data<T>();
      const T *highs = high.data_or_null<T>(), *lows = low.data_or_null<T>();
      Y* to = y.mutable_data<Y>();
      // An item of work: an outer index, a range of n, a block of inner's columns. n is cut only where there are few
      // items otherwise.
      const int64_t blocks = (inner + kReduceBlock - 1) / kReduceBlock, width = std::min(inner, kReduceBlock);
      const int64_t ranges =
          std::clamp<int64_t>(n * width / kGrain, 1, std::max<int64_t>(kMaxSlots / (outer * blocks), 1));
      const Tensor partial = ranges > 1 ? empty({outer, ranges, inner}, dtype_of<A>()) : Tensor();
      A* part = partial.mutable_data_or_null<A>();
      const auto reduce_item = [=](int64_t item) {
        A acc[kReduceBlock];
        const int64_t column = item % blocks * kReduceBlock, range = item / blocks % ranges, o = item / blocks / ranges;
        const int64_t columns = std::min(kReduceBlock, inner - column);
        const int64_t first = n * range / ranges, rows = n * (range + 1) / ranges - first;
        const T* at = from + (o * n + first) * inner + column;
        const auto term = [=](int64_t i, double from_high, double from_low) {
          const double deviation = static_cast<double>(at[i]) - from_high - from_low;
          return power == 1 ? deviation : deviation * deviation;
        };
        const auto mean = [=](const T* means, int64_t j) {
          return means ? static_cast<double>(means[o * inner + column + j]) : 0;
        };
        if constexpr (power == 0) {
          reduce_block<F>([=](int64_t i, int64_t) { return at[i]; }, rows, columns, inner, acc);
        } else if (columns == 1) {
          const double from_high = mean(highs, 0), from_low = mean(lows, 0);
          reduce_block<F>([=](int64_t i, int64_t) { return term(i, from_high, from_low); }, rows, 1, inner, acc);
        } else {
          double from_high[kReduceBlock], from_low[kReduceBlock];
          for (int64_t k = 0, j = 0; k < rows_together(rows, columns, inner); ++k)
            for (int64_t c = 0; c < columns; ++c, ++j) from_high[j] = mean(highs, c), from_low[j] = mean(lows, c);
          reduce_block<F>([&](int64_t i, int64_t j) { return term(i, from_high[j], from_low[j]); }, rows, columns,
                          inner, acc);
        }
        for (int64_t j = 0; j < columns; ++j) {
          if (part) part[(o * ranges + range) * inner + column + j] = acc[j];
          else to[o * inner + column + j] = static_cast<Y>(acc[j] / by);
        }
      };
      parallel_each(outer * ranges * blocks, 1 + kGrain / std::max<int64_t>(n * width / ranges, 1), reduce_item);
      if (!part) return;
      const auto merge = [=](int64_t i) {
        const A* at = part + i / inner * ranges * inner + i % inner;
        A acc = at[0];
        for (int64_t range = 1; range < ranges; ++range) acc = F::combine(acc, at[range * inner]);
        to[i] = static_cast<Y>(acc / by);
      };
      parallel_each(outer * inner, 1 + kGrain / ranges, merge);
    };
    if (f == Reduce::sum) return run(Sum{}, std::integral_constant<int, 0>());
    if (f == Reduce::max) return run(Max{}, std::integral_constant<int, 0>());
    if (f == Reduce::min) return run(Min{}, std::integral_constant<int, 0>());
    if constexpr (std::is_floating_point_v<T>) {
      if (f == Reduce::deviation) run(Sum{}, std::integral_constant<int, 1>());
      else run(Sum{}, std::integral_constant<int, 2>());
    }
  });
}

NORMA_SIMD_END
