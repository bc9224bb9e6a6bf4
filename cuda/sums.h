// Sums over many elements, of norms in T over a run of a few, which go on in double, and of all else in T with what its
// roundings lose beside it. Double for each element would be the limit, rather than memory, on cards that have one unit
// for it beside 64 for float.
#pragma once

#include <cmath>
#include <limits>

#include "norma/cuda/launch.h"

namespace norma::cuda {

struct Sums {
  double plain, product;
  __device__ Sums operator+(const Sums& other) const { return {plain + other.plain, product + other.product}; }
};

template <class T>
struct Factors {
  T a, b;
};

inline constexpr int64_t kRun = 16;  // elements that are summed in T

// f(k) for a run. Of a whole one the number is constant: its loads are under way together.
template <class F>
__device__ void for_run(int64_t begin, int64_t end, int64_t step, F f) {
  if (begin + (kRun - 1) * step < end)
    for (int64_t i = 0; i < kRun; ++i) f(begin + i * step);
  else
    for (int64_t k = begin; k < end; k += step) f(k);
}

// The sums of a, and of a b, of f(k) = {a, b} for k = begin, begin + step, ... below end: a run. Where the second is
// not at least `least`, or one is not finite, of factors divided by powers of 2, so that they are between -2 and 2.
template <class T, class F>
__device__ Sums sums_of_run(int64_t begin, int64_t end, int64_t step, T least, const F& f) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  T plain = 0, product = 0;
  for_run(begin, end, step, [&](int64_t k) {
    const Factors<T> x = f(k);
    plain += x.a;
    product += x.a * x.b;
  });
  const T size = std::abs(product);
  if (size >= least && size < infinity && std::abs(plain) < infinity) return {plain, product};
  Factors<T> largest{};
  for (int64_t k = begin; k < end; k += step) {
    const Factors<T> x = f(k);
    largest = {Larger()(largest.a, std::abs(x.a)), Larger()(largest.b, std::abs(x.b))};
  }
  const auto is_usual = [](T v) { return v > 0 && v < infinity; };
  if (!is_usual(largest.a) || !is_usual(largest.b)) return {plain, product};
  const int power_a = std::ilogb(largest.a), power_b = std::ilogb(largest.b);
  plain = product = 0;
  for (int64_t k = begin; k < end; k += step) {
    const Factors<T> x = f(k);
    const T a = std::scalbn(x.a, -power_a);
    plain += a;
    product += a * std::scalbn(x.b, -power_b);
  }
  return {std::scalbn(double{plain}, power_a), std::scalbn(double{product}, power_a + power_b)};
}

// The same over any number of elements.
template <class T, class F>
__device__ Sums sums_of(int64_t begin, int64_t end, int64_t step, const F& f) {
  Sums sums{};
  for (int64_t at = begin; at < end; at += kRun * step)
    sums = sums + sums_of_run(at, std::min(end, at + kRun * step), step, T(0), f);
  return sums;
}

// The sums of x[k] - shift, and of its squares, for those k. Where a run is far from `shift`, since that is an outlier
// or one of the run is, the squares about the run's mean would lose digits: it is summed again, about a nearer number.
template <class T>
__device__ Sums deviations(const T* x, int64_t begin, int64_t end, int64_t step, T shift) {
  Sums sums{};
  for (int64_t at = begin; at < end; at += kRun * step) {
    const int64_t until = std::min(end, at + kRun * step);
    const double n = static_cast<double>((until - at + step - 1) / step);
    T from = shift;
    const auto deviation = [&](int64_t k) {
      const T d = x[k] - from;
      return Factors<T>{d, d};
    };
    constexpr T least = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();  // smaller ones lack digits
    Sums run = sums_of_run(at, until, step, least, deviation);
    for (int tries = 0; tries < 8; ++tries) {
      const bool finite = run.product < std::numeric_limits<double>::infinity();
      if (finite && !(32 * (n * run.product - run.plain * run.plain) < n * run.product)) break;
      const T nearer = finite ? static_cast<T>(from + run.plain / n) : T(0);
      if (nearer == from) break;
      from = nearer;
      run = sums_of_run(at, until, step, least, deviation);
    }
    const double by = double{from} - shift;
    sums = sums + Sums{run.plain + n * by, run.product + by * (2 * run.plain + n * by)};
  }
  return sums;
}

// A sum in T, and what its roundings lost, summed beside it: for a few hundred elements as good as in twice the digits
// (Ogita, Rump and Oishi 2005, Sum2 and Dot2), for ten instructions of T an element.
template <class T>
struct Compensated {
  T high = 0, low = 0;
  __device__ void add(T v) {
    const T sum = high + v, part = sum - high;
    low += (high - (sum - part)) + (v - part);
    high = sum;
  }
  __device__ void add(const Factors<T>& of) {      // their product
    const T product = std::fma(of.a, of.b, T(0));  // which no compiler may merge with what follows, as it may a * b
    low += std::fma(of.a, of.b, -product);
    add(product);
  }
  __device__ bool finite() const { return low - low == 0; }  // beside an infinite sum, what was lost is no number
  __device__ double value() const { return double{high} + (finite() ? low : T(0)); }
};
inline constexpr int64_t kChunk = 256;  // elements that are summed so before double goes on

template <class T, class F>
__device__ Compensated<T> compensated(int64_t begin, int64_t end, int64_t step, T by, const F& f) {
  Compensated<T> sum;
  for (int64_t k = begin; k < end; k += step) sum.add(f(k, by));
  return sum;
}

// The sum of f(k, 1) for k = begin, begin + step, ... below end: of a number that no multiplication has rounded, or of
// the product of two factors. Where a part of it is beyond T, or products are so small that they lack digits, it is
// taken again, of f(k, by), which is by^degree as much for a power of 2.
template <class T, class F>
__device__ double sum_of(int64_t begin, int64_t end, int64_t step, int degree, const F& f) {
  constexpr T least = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
  double total = 0;
  for (int64_t at = begin; at < end; at += kChunk * step) {
    const int64_t until = std::min(end, at + kChunk * step);
    const Compensated<T> sum = compensated(at, until, step, T(1), f);
    const bool small = degree == 2 && std::abs(sum.high) < least;
    double value = sum.value();
    if (small || !sum.finite()) {
      const int power = std::numeric_limits<T>::max_exponent / (small ? 2 : -2);
      const Compensated<T> again = compensated(at, until, step, std::scalbn(T(1), power), f);
      if (!small || again.finite()) value = std::scalbn(again.value(), -degree * power);
    }
    total += value;
  }
  return total;
}

}  // namespace norma::cuda
