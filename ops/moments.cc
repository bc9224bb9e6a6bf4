#include "norma/ops/moments.h"

#include "norma/ops/norm.h"

namespace norma {

Tensor Moments::var(int64_t correction) const {
  Tensor result = empty_like(m2);
  for (int64_t i = 0; i < m2.numel(); ++i)
    result.mutable_data<double>()[i] =
        m2.data<double>()[i] / (count.data<double>()[i] - static_cast<double>(correction));
  return result;
}

Moments moments(const Tensor& x, const Grouping& grouping) { return moments(std::vector<Tensor>{x}, grouping); }

Moments moments(const std::vector<Tensor>& xs, const Grouping& grouping) {
  std::vector<Tensor> inputs;
  for (const Tensor& x : xs) {
    check(x.is_floating() && x.dtype() == xs[0].dtype() && x.device() == xs[0].device(), "moments",
          "wants floating inputs of one dtype on one device, not {} {}", x.dtype(), x.shape());
    inputs.push_back(x.contiguous());
  }
  const NormPlan plan = plan_norm("moments", grouping, inputs);
  const Tensor cells = zeros({kNormCellParts, plan.cells()}, f64, xs[0].device());
  if (plan.sets > 0) kernel::norm_moments(plan, cells, inputs);
  if (grouping.samples.comm) reduce_norm_cells(*grouping.samples.comm, cells);
  return moments_of_cells(cells, plan);
}

Moments merge(const Moments& a, const Moments& b) {
  if (!a.defined()) return b;
  if (!b.defined()) return a;
  check(a.mean.shape() == b.mean.shape(), "merge", "moments of {} and of {} cells", a.mean.shape(), b.mean.shape());
  Moments result{empty_like(a.count), empty_like(a.mean), empty_like(a.m2)};
  double *count = result.count.mutable_data<double>(), *mean = result.mean.mutable_data<double>(),
         *m2 = result.m2.mutable_data<double>();
  for (int64_t i = 0; i < a.count.numel(); ++i) {
    const double na = a.count.data<double>()[i], nb = b.count.data<double>()[i], n = na + nb;
    const double delta = b.mean.data<double>()[i] - a.mean.data<double>()[i], weight = n > 0 ? nb / n : 0;
    count[i] = n;
    mean[i] = a.mean.data<double>()[i] + delta * weight;
    m2[i] = a.m2.data<double>()[i] + b.m2.data<double>()[i] + delta * delta * na * weight;
  }
  return result;
}

Moments merge_sets(const Moments& all) {
  Moments result;
  for (int64_t set = 0; set < all.count.dim(0); ++set) {
    const auto row = [&](const Tensor& x) { return view::slice(x, 0, set, set + 1).contiguous(); };
    result = merge(result, Moments{row(all.count), row(all.mean), row(all.m2)});
  }
  return result;
}

}  // namespace norma
