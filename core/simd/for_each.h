// map: what the elementwise kernels of the CPU are made of, the twin of CUDA's: it calls a function of one element for
// all elements of several strided tensors. The loop along a row is written here and nowhere else, for
// the level of the file that calls it (core/simd/vectors.h): that of `base` where a file has none of its own.
#pragma once

#include "norma/core/simd/vectors.h"
#include "norma/core/strided.h"

NORMA_SIMD_BEGIN

inline constexpr int64_t kAnyStep = -1;

// A row's loop is compiled for several patterns of steps, since it vectorises where the compiler knows them. In the
// order in which they are tried: 1 in all arrays; 0 in one array, which is broadcast, and 1 in the others; 1 in the
// last array, which is the one that is written; any.
constexpr int64_t pattern_step(size_t pattern, size_t array, size_t arrays) {
  if (pattern <= arrays) return array + 1 != pattern;
  return pattern == arrays + 1 && array + 1 == arrays ? 1 : kAnyStep;
}

// Calls f for the n elements of a row if its steps are those of the pattern, and says whether they are. f is a copy:
// what it holds cannot be among what it writes.
template <size_t pattern, class F, size_t... k>
NORMA_INLINE inline bool for_row(F f, std::array<int64_t, sizeof...(k)> first, std::array<int64_t, sizeof...(k)> step,
                                 int64_t n, std::index_sequence<k...>) {
  constexpr std::array known = {pattern_step(pattern, k, sizeof...(k))...};
  if (((known[k] != kAnyStep && known[k] != step[k]) || ...)) return false;
  for (int64_t i = 0; i < n; ++i) f(std::array{first[k] + i * (known[k] == kAnyStep ? step[k] : known[k])...});
  return true;
}

// Calls f(at) for each element of K arrays, in parallel: at[k] is its offset in array k. Only the last array may be
// written.
template <size_t K, class F>
void for_each(const StridedLoop<K>& loop, const F& f) {
  loop([&](const std::array<int64_t, K>& first, int64_t n) {
    [&]<size_t... pattern>(std::index_sequence<pattern...>) {
      (void)(for_row<pattern>(f, first, loop.inner, n, std::make_index_sequence<K>()) || ...);
    }
    (std::make_index_sequence<K + 3>());
  });
}

// Calls f(element of y, elements of x...), which may write the first, for all elements of y, of type Y. The x, of types
// X, broadcast to y's shape.
template <class Y, class... X>
void map(const auto& f, const Tensor& y, const std::same_as<Tensor> auto&... x) {
  const auto run = [&]<size_t... k>(std::index_sequence<k...>, auto* to, const auto*... from) {
    for_each(elements_of(x..., y), [=](const auto& at) { f(to[at[sizeof...(k)]], from[at[k]]...); });
  };
  run(std::index_sequence_for<X...>(), y.mutable_strided_data<Y>(), x.template strided_data<X>()...);
}

NORMA_SIMD_END
