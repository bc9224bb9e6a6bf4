// The norm family where every row is a set of its own: layer and RMS norm over features, group norm of [N, C]. A row's
// cells are runs of `group_size` consecutive channels; a task takes a range of rows and does both passes of a row while
// it is in cache. Cells may be small here, so of each only what the gradient or the caller will read is written.
#include <cmath>

#include "norma/core/parallel.h"
#include "norma/ops/norm_cpu.h"
#include "norma/ops/norm_rows.h"

namespace norma {
namespace {

constexpr int64_t kFlushRows = 128;  // rows whose dgamma and dbeta are summed in T before the sums go on in double

// The sum of f(i) for i in [0, n), in `lanes` independent partial sums: fills vector registers without reassociation.
template <int lanes, class T, class F>
T lane_sum(int64_t n, F f) {
  T sum[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int k = 0; k < lanes; ++k) sum[k] += f(i + k);
  for (; i < n; ++i) sum[i % lanes] += f(i);
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) sum[k] += sum[k + half];
  return sum[0];
}
template <class T, class F>
double row_sum(int64_t n, F f) {
  return n >= 128 ? lane_sum<64, T>(n, f) : lane_sum<16, T>(n, f);
}

struct MeanM2 {
  double mean, m2;
};

template <class T>
MeanM2 measure(const T* __restrict x, int64_t n) {
  const T first = x[0];  // deviations from it keep their digits where the mean is large
  const double mean = first + row_sum<T>(n, [&](int64_t i) { return x[i] - first; }) / static_cast<double>(n);
  const T high = static_cast<T>(mean), low = static_cast<T>(mean - high);
  return {mean, row_sum<T>(n, [&](int64_t i) {
            const T d = x[i] - high - low;
            return d * d;
          })};
}

// The normalized value of a cell's element is (x - high) * inv + offset.
template <class T>
struct RowCell {
  T high, inv, offset;
  double low;
  RowCell(double mean, double inverse, double middle)
      : high(static_cast<T>(mean)), inv(static_cast<T>(inverse)), low(mean - high) {
    offset = static_cast<T>(middle - low * inverse);
  }
  T operator()(T x) const { return (x - high) * inv + offset; }
};

// What both directions read: parameters with 1 and 0 where there are none, and the bounds of the parts of a row.
template <class T>
struct RowCall {
  const NormPlan& plan;
  const NormSpec& spec;
  const PoolVector<T> weight, bias;
  const bool general;  // every part of a cell is stored, not only mean and inv
  const int64_t grain = 8192 / plan.channels + 1;

  RowCall(const NormPlan& p, const NormSpec& s, const Tensor& gamma, const Tensor& beta)
      : plan(p),
        spec(s),
        weight(parameter(gamma, p.channels, 1)),
        bias(parameter(beta, p.channels, 0)),
        general(s.source != Statistics::Source::batch || s.keep_moments) {}

  static PoolVector<T> parameter(const Tensor& x, int64_t channels, T otherwise) {
    PoolVector<T> values(static_cast<size_t>(channels), otherwise);
    if (x.defined()) std::copy_n(x.data<T>(), channels, values.begin());
    return values;
  }

  // Calls f(cell, place of its first element, its first channel) for the cells of rows [begin, end).
  template <class F>
  void for_each_cell(int64_t begin, int64_t end, F&& f) const {
    int64_t cell = begin * plan.groups, at = begin * plan.channels;
    for (int64_t row = begin; row < end; ++row)
      for (int64_t c = 0; c < plan.channels; c += plan.group_size, at += plan.group_size) f(cell++, at, c);
  }
};

template <class S>
S* first_of(std::span<const Tensor> tensors) {
  return tensors.empty() || !tensors[0].defined() ? nullptr : tensors[0].mutable_data<S>();
}
template <class S>
const S* const_first_of(std::span<const Tensor> tensors) {
  return tensors.empty() ? nullptr : tensors[0].data<S>();
}

}  // namespace

template <class T>
void norm_rows_moments(const NormPlan& plan, const Tensor& cells, const Tensor& x) {
  const CellArrays to(cells.mutable_data<double>(), plan.cells());
  const T* in = x.data<T>();
  parallel_for(plan.cells(), 8192 / plan.group_size + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const MeanM2 measured = measure(in + i * plan.group_size, plan.group_size);
      to.count[i] = static_cast<double>(plan.group_size);
      to.mean[i] = measured.mean;
      to.m2[i] = measured.m2;
    }
  });
}

template <class T>
void norm_rows_forward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                       const Tensor& population, const Tensor& cells, const NormTensors& tensors) {
  const RowCall<T> call(plan, spec, gamma, beta);
  const Population known(population);
  const CellArrays to(cells.mutable_data<double>(), plan.cells());
  const int64_t n = plan.group_size;
  const double inverse_size = 1 / static_cast<double>(n);
  const T *all_x = tensors.x[0].data<T>(), *all_residual = const_first_of<T>(tensors.residual);
  T* all_y = first_of<T>(tensors.y);
  uint8_t* all_mask = first_of<uint8_t>(tensors.mask);

  const auto solve = [&](int64_t i, const T* x) {
    MeanM2 measured{};
    if (spec.source != Statistics::Source::given) measured = measure(x, n);
    if (!call.general) {
      const double mean = measured.mean, var = measured.m2 * inverse_size + (spec.center ? 0 : mean * mean);
      to.mean[i] = spec.center ? mean : 0;
      to.inv[i] = 1 / std::sqrt(var + spec.eps);
      return RowCell<T>(to.mean[i], to.inv[i], 0);
    }
    to.count[i] = static_cast<double>(n);
    to.mean[i] = measured.mean;
    to.m2[i] = measured.m2;
    solve_cells(spec, known, to, i, i + 1);
    return RowCell<T>(to.mean[i], to.inv[i], to.offset[i]);
  };
  norm_rows::with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
    const T leak = static_cast<T>(spec.activation.slope);
    parallel_for(plan.sets, call.grain, [&](int64_t begin, int64_t end) {
      call.for_each_cell(begin, end,
                         [&](int64_t i, int64_t at, int64_t c) {
                           const T *__restrict x = all_x + at, *__restrict w = call.weight.data() + c, *__restrict b = call.bias.data() + c;
                           T* __restrict y = all_y + at;
                           const RowCell<T> cell = solve(i, x);
                           if (!all_residual) {
                             for (int64_t k = 0; k < n; ++k)
                               y[k] = norm_rows::activate<kind>(cell(x[k]) * w[k] + b[k], leak);
                             return;
                           }
                           const T* __restrict residual = all_residual + at;
                           for (int64_t k = 0; k < n; ++k) y[k] = cell(x[k]) * w[k] + b[k] + residual[k];
                           if (all_mask)
                             for (int64_t k = 0; k < n; ++k) all_mask[at + k] = y[k] > 0;
                           for (int64_t k = 0; k < n; ++k) y[k] = norm_rows::activate<kind>(y[k], leak);
                         });
    });
  });
}

template <class T>
void norm_rows_backward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                        const Tensor& cells, const Tensor& dgamma, const Tensor& dbeta, const NormGradients& tensors) {
  const RowCall<T> call(plan, spec, gamma, beta);
  const int64_t channels = plan.channels, n = plan.group_size;
  const size_t pair = 2 * static_cast<size_t>(channels);  // dgamma, dbeta
  PoolVector<double> partial(static_cast<size_t>(slot_count(plan.sets, call.grain)) * pair, 0.0);
  const auto part = [&](NormCellPart k) { return cells.data<double>() + k * plan.cells(); };
  const double *means = part(kCellMean), *invs = part(kCellInv), *rstds = part(call.general ? kCellRstd : kCellInv),
               *offsets = part(kCellOffset);
  const T *all_x = tensors.x[0].data<T>(), *all_dy = tensors.dy[0].data<T>();
  const uint8_t* all_mask = const_first_of<uint8_t>(tensors.mask);
  T *all_dx = first_of<T>(tensors.dx), *all_dresidual = first_of<T>(tensors.dresidual);
  const bool add_dx = all_dx && tensors.add_dx[0], add_dresidual = all_dresidual && tensors.add_dresidual[0];

  // One cell: dx, the residual's gradient, and its share of dgamma and dbeta. `d` is room for dy behind the activation.
  const auto sweep = [&]<Activation::Kind kind>(int64_t i, int64_t at, int64_t c, T* __restrict chunk,
                                                T* __restrict d) {
    const T *__restrict x = all_x + at, *__restrict dy = all_dy + at, *__restrict w = call.weight.data() + c,
                        *__restrict b = call.bias.data() + c;
    T* __restrict dw = chunk + c, * __restrict db = chunk + channels + c;
    const RowCell<T> cell(means[i], invs[i], call.general ? offsets[i] : 0);
    const T leak = static_cast<T>(spec.activation.slope);
    for (int64_t k = 0; k < n; ++k) {
      if constexpr (kind == Activation::Kind::none) {
        d[k] = dy[k];
      } else {
        const bool positive = all_mask ? all_mask[at + k] != 0 : cell(x[k]) * w[k] + b[k] > 0;
        d[k] = positive ? dy[k] : (kind == Activation::Kind::relu ? T(0) : leak * dy[k]);
      }
    }
    for (int64_t k = 0; k < n; ++k) {
      dw[k] += d[k] * cell(x[k]);
      db[k] += d[k];
    }
    double mean_g = 0, slope_x = 0;
    if (spec.source != Statistics::Source::given) {
      const T low = static_cast<T>(cell.low);
      const double scale = invs[i] / static_cast<double>(n);
      if (spec.center) mean_g = scale * row_sum<T>(n, [&](int64_t k) { return w[k] * d[k]; });
      slope_x = scale * rstds[i] * rstds[i] *
                row_sum<T>(n, [&](int64_t k) { return w[k] * d[k] * (x[k] - cell.high - low); });
    }
    const T slope = static_cast<T>(slope_x), offset = static_cast<T>(mean_g - cell.low * slope_x);
    const auto gradient = [&](int64_t k) { return cell.inv * w[k] * d[k] - (x[k] - cell.high) * slope - offset; };
    T* __restrict dx = all_dx ? all_dx + at : nullptr, * __restrict dr = all_dresidual ? all_dresidual + at : nullptr;
    if (add_dx) {
      for (int64_t k = 0; k < n; ++k) dx[k] += gradient(k);
    } else if (dx) {
      for (int64_t k = 0; k < n; ++k) dx[k] = gradient(k);
    }
    if (dr)
      for (int64_t k = 0; k < n; ++k) dr[k] = add_dresidual ? dr[k] + d[k] : d[k];
  };

  norm_rows::with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
    parallel_ranges(plan.sets, call.grain, [&](int slot, int64_t begin, int64_t end) {
      double* sums = partial.data() + static_cast<size_t>(slot) * pair;
      PoolVector<T> chunk(pair, T(0)), behind(static_cast<size_t>(n));
      for (int64_t from = begin; from < end; from += kFlushRows) {
        call.for_each_cell(from, std::min(end, from + kFlushRows), [&](int64_t i, int64_t at, int64_t c) {
          sweep.template operator()<kind>(i, at, c, chunk.data(), behind.data());
        });
        for (size_t k = 0; k < pair; ++k) {
          sums[k] += chunk[k];
          chunk[k] = 0;
        }
      }
    });
  });
  for (int64_t half = 0; half < 2; ++half) {
    const Tensor& out = half == 0 ? dgamma : dbeta;
    if (!out.defined()) continue;
    double* sum = out.mutable_data<double>();
    std::fill_n(sum, channels, 0.0);
    for (size_t from = 0; from < partial.size(); from += pair)  // in the order of the slots
      for (int64_t c = 0; c < channels; ++c) sum[c] += partial[from + static_cast<size_t>(half * channels + c)];
  }
}

#define NORMA_INSTANTIATE(T)                                                                                         \
  template void norm_rows_forward<T>(const NormPlan&, const NormSpec&, const Tensor&, const Tensor&, const Tensor&,  \
                                     const Tensor&, const NormTensors&);                                             \
  template void norm_rows_backward<T>(const NormPlan&, const NormSpec&, const Tensor&, const Tensor&, const Tensor&, \
                                      const Tensor&, const Tensor&, const NormGradients&);                           \
  template void norm_rows_moments<T>(const NormPlan&, const Tensor&, const Tensor&);
NORMA_INSTANTIATE(float)
NORMA_INSTANTIATE(double)
#undef NORMA_INSTANTIATE

}  // namespace norma
