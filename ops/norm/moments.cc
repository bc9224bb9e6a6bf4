#include "norma/ops/norm/moments.h"

#include <cmath>

#include "norma/ops/elementwise/binary.h"
#include "norma/ops/norm/cell_math.h"
#include "norma/ops/norm/kernels.h"
#include "norma/ops/reduce/reduce.h"

namespace norma {

Tensor Moments::var(int64_t correction) const { return m2 / (count - static_cast<double>(correction)); }

Moments moments(const std::vector<Tensor>& xs, const Grouping& grouping, bool center) {
  const Op op("moments");
  const NormCall call(op, xs, grouping, {}, {}, {}, {.center = false});  // of cells of one element, too
  std::vector<Tensor> inputs;
  for (const Tensor& x : xs) inputs.push_back(x.contiguous());
  if (call.plan.sets > 0) kernel::norm_moments(inputs, call);
  call.merge_over_workers();
  const Moments m = call.cell_moments();
  if (xs[0].dtype() == f32 && xs[0].device().is_cpu() && !std::isfinite(sum(m.m2).item())) {
    for (Tensor& x : inputs) x = x.to(f64);  // squares that float does not hold; on CUDA they are scaled
    return moments(inputs, grouping, center);
  }
  return center ? m : Moments{m.count, zeros_like(m.mean), m.m2 + m.count * m.mean * m.mean};
}

Moments merge(const Moments& a, const Moments& b) {
  if (!a.defined()) return b;
  if (!b.defined()) return a;
  check(a.mean.shape() == b.mean.shape(), "merge", "moments of {} and of {} cells", a.mean.shape(), b.mean.shape());
  const Tensor n = a.count + b.count, weight = b.count / maximum(n, 1), delta = b.mean - a.mean;
  return {n, a.mean + delta * weight, a.m2 + b.m2 + delta * delta * a.count * weight};
}

Moments merge_sets(const Moments& m) {
  const Tensor n = sum(m.count, {0}, true), mean = sum(m.count * m.mean, {0}, true) / maximum(n, 1), d = m.mean - mean;
  return {n, mean, sum(m.m2 + m.count * d * d, {0}, true)};
}

// (Loops, since each step runs them: as tensor ops they take five times as long.)
void cpu::follow_moments(const Tensor& counts, const Tensor& means, const Tensor& m2s, double correction,
                         double momentum, const Tensor& to_mean, const Tensor& to_var, const Tensor& steps) {
  const int64_t sets = counts.dim(0), groups = counts.dim(1), rows = steps.numel();
  const double *count = counts.data<double>(), *mean = means.data<double>(), *m2 = m2s.data<double>();
  double *own_mean = to_mean.mutable_data<double>(), *own_var = to_var.mutable_data<double>();
  int64_t* step = steps.mutable_data<int64_t>();
  for (int64_t row = 0; row < rows; ++row) {
    const double weight_of_new = momentum >= 0 ? momentum : 1 / static_cast<double>(step[row] + 1);
    bool moved = false;  // the same for each group
    for (int64_t g = 0; g < groups; ++g)
      moved = follow_group(row, rows, g, groups, sets, count, mean, m2, correction, weight_of_new, own_mean, own_var);
    step[row] += moved;
  }
}

}  // namespace norma
