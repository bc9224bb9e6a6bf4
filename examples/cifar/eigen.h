// Eigenvalues and eigenvectors of a small symmetric matrix, by Jacobi's rotations (Golub and Van Loan, "Matrix
// computations", 4th edition, section 8.5).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "norma/core/error.h"

namespace examples {

struct Eigen {
  std::vector<double> values;   // [n], the largest first
  std::vector<double> vectors;  // [n, n]: row k is the unit vector that belongs to values[k]
};

// a: [n, n], symmetric. Each rotation makes one pair of elements off the diagonal zero; the others shrink with them,
// quadratically in the end, so that a few sweeps over all pairs suffice.
inline Eigen symmetric_eigen(std::vector<double> a, int64_t n) {
  norma::check(n >= 1 && std::ssize(a) == n * n, "symmetric_eigen", "{} elements for a matrix of {} rows", a.size(), n);
  std::vector<double> rows(a.size(), 0);  // [n, n]: the product of the rotations
  const auto at = [n](std::vector<double>& m, int64_t i, int64_t j) -> double& {
    return m[static_cast<size_t>(i * n + j)];
  };
  for (int64_t i = 0; i < n; ++i) at(rows, i, i) = 1;
  const double total = std::inner_product(a.begin(), a.end(), a.begin(), 0.0);
  const auto outside = [&] {  // the sum of the squares off the diagonal
    double sum = 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        if (i != j) sum += at(a, i, j) * at(a, i, j);
    return sum;
  };
  for (int sweep = 0; sweep < 100 && outside() > 1e-30 * total; ++sweep)
    for (int64_t p = 0; p < n; ++p)
      for (int64_t q = p + 1; q < n; ++q) {
        if (at(a, p, q) == 0) continue;
        // The smaller of the two angles that make it zero: t is its tangent, c its cosine, s its sine.
        const double theta = (at(a, q, q) - at(a, p, p)) / (2 * at(a, p, q));
        const double t = std::copysign(1, theta) / (std::abs(theta) + std::hypot(theta, 1)), c = 1 / std::hypot(t, 1);
        const double s = t * c;
        const auto rotate = [&](double& x, double& y) {
          const double old = x;
          x = c * old - s * y;
          y = s * old + c * y;
        };
        for (int64_t k = 0; k < n; ++k) rotate(at(a, k, p), at(a, k, q));
        for (int64_t k = 0; k < n; ++k) rotate(at(a, p, k), at(a, q, k));
        for (int64_t k = 0; k < n; ++k) rotate(at(rows, p, k), at(rows, q, k));
      }
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int64_t i, int64_t j) { return at(a, i, i) > at(a, j, j); });
  Eigen result;
  for (const int64_t i : order) {
    result.values.push_back(at(a, i, i));
    for (int64_t j = 0; j < n; ++j) result.vectors.push_back(at(rows, i, j));
  }
  return result;
}

}  // namespace examples
