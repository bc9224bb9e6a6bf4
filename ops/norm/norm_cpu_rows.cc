// The norm family where every row is a set of its own: layer and RMS norm over features, group norm of [N, C]. A row's
// cells are runs of `group_size` consecutive channels; a task takes a range of rows and does both passes of a row while
// it is in cache. Cells may be small here, so of each only what the gradient or the caller will read is written.
#include <utility>

#include "norma/core/parallel.h"
#include "norma/ops/norm/norm_cpu.h"
#include "norma/ops/norm/norm_rows.h"

NORMA_SIMD_BEGIN
namespace {

// Rows taken together: their cells are solved at once, while they are in cache.
constexpr int64_t kBlockElements = 2048;
constexpr int64_t kFlushRows = 128;  // rows whose dgamma and dbeta are summed in T before the sums go on in double

template <size_t from, class V, size_t... k>
auto part_of(V v, std::index_sequence<k...>) {
  return __builtin_shufflevector(v, v, (from + k)...);
}
template <size_t lanes, class V>
auto sum_of_lanes(V v) {
  if constexpr (lanes == 2) return v[0] + v[1];
  else {
    constexpr std::make_index_sequence<lanes / 2> half;
    return sum_of_lanes<lanes / 2>(part_of<0>(v, half) + part_of<lanes / 2>(v, half));
  }
}

struct Sums {
  double plain, product;
};

// The sums of f(load, i), and of f g where `with_product`, over i in [0, n); load(p) is p[0] or a vector of consecutive
// elements. Several vectors of sums, so that additions need not wait for each other. Always inline: a call would cost
// as much as a row of 64.
template <bool with_product, class T, class F, class G>
[[gnu::always_inline]] inline Sums sums_of(int64_t n, F f, G g) {
  using Vector = typename norm_rows::Pack<T, true>::type;
  constexpr int64_t size = norm_rows::Pack<T, true>::size;
  constexpr size_t lanes = size;
  const auto vector = [](const T* p) { return *reinterpret_cast<const Vector*>(p); };
  const auto scalar = [](const T* p) { return *p; };
  Vector a{}, b{}, ag{}, bg{};
  T rest = 0, rest_g = 0;
  const auto add = [&](auto load, int64_t at, auto& sum, auto& product) {
    const auto v = f(load, at);
    sum += v;
    if constexpr (with_product) product += v * g(load, at);
  };
  int64_t i = 0;
  for (; i + 2 * size <= n; i += 2 * size) {
    add(vector, i, a, ag);
    add(vector, i + size, b, bg);
  }
  if (i + size <= n) {
    add(vector, i, a, ag);
    i += size;
  }
  for (; i < n; ++i) add(scalar, i, rest, rest_g);
  return {double{sum_of_lanes<lanes>(a + b)} + rest,
          with_product ? double{sum_of_lanes<lanes>(ag + bg)} + rest_g : 0.0};
}
template <class T, class F>
[[gnu::always_inline]] inline double sum_of(int64_t n, F f) {
  return sums_of<false, T>(n, f, f).plain;
}

// What both directions read. Cell i is the `size` elements from i * size on, its first channel i % groups * size.
template <class T>
struct RowCall {
  const NormPlan& plan;
  const NormSpec& spec;
  const PoolVector<T> weight, bias;  // with 1 and 0 where there are none
  const bool general;                // every part of a cell is stored, not only mean and inv
  const int64_t size, grain, together;

  RowCall(const NormPlan& p, const NormSpec& s, const Tensor& gamma, const Tensor& beta)
      : plan(p),
        spec(s),
        weight(parameter(gamma, p.channels, 1)),
        bias(parameter(beta, p.channels, 0)),
        general(s.source != Statistics::Source::batch || s.keep_moments),
        size(p.group_size),
        grain(4 * kBlockElements / p.channels + 1),
        together(std::clamp<int64_t>(kBlockElements / p.channels, 1, kFlushRows)) {}

  static PoolVector<T> parameter(const Tensor& x, int64_t channels, T otherwise) {
    PoolVector<T> values(static_cast<size_t>(channels), otherwise);
    if (x.defined()) std::copy_n(x.data<T>(), channels, values.begin());
    return values;
  }
  // Calls f(first row, rows) for parts of [begin, end).
  template <class F>
  void for_each_block(int64_t begin, int64_t end, F&& f) const {
    for (int64_t row = begin; row < end; row += together) f(row, std::min(together, end - row));
  }
};

// Means and M2 of n cells of `size` elements.
template <class T>
void measure(const T* x, int64_t n, int64_t size, double* mean, double* m2) {
  for (int64_t i = 0; i < n; ++i) {  // deviations from the first keep their digits where the mean is large
    const T *cell = x + i * size, first = cell[0];
    mean[i] = sum_of<T>(size, [=](auto load, int64_t k) { return load(cell + k) - first; });
  }
  const double inverse = 1 / static_cast<double>(size);
  for (int64_t i = 0; i < n; ++i) mean[i] = mean[i] * inverse + x[i * size];
  for (int64_t i = 0; i < n; ++i) {
    const T *cell = x + i * size, high = static_cast<T>(mean[i]);
    m2[i] = sum_of<T>(size, [=](auto load, int64_t k) {
      const auto d = load(cell + k) - high;
      return d * d;
    });
  }
  for (int64_t i = 0; i < n; ++i) {  // about the mean instead of the mean rounded to T
    const double low = mean[i] - static_cast<T>(mean[i]), about = m2[i] - static_cast<double>(size) * low * low;
    m2[i] = about > 0 ? about : 0;
  }
}

// The normalized value of a cell's element is (x - high) * inv + offset.
template <class T>
struct RowCell {
  T high, inv, offset;
  RowCell(double mean, double inverse, double middle)
      : high(static_cast<T>(mean)),
        inv(static_cast<T>(inverse)),
        offset(static_cast<T>(middle - (mean - high) * inverse)) {}
  T operator()(T x) const { return (x - high) * inv + offset; }
};

// y of one cell; w and b are its channels'.
template <Activation::Kind kind, class T>
void apply_cell(const T* __restrict x, const T* __restrict residual, T* __restrict y, uint8_t* __restrict mask,
                int64_t n, const T* __restrict w, const T* __restrict b, RowCell<T> cell, T leak) {
  if (!residual) {
    for (int64_t k = 0; k < n; ++k) y[k] = norm_rows::activate<kind>(cell(x[k]) * w[k] + b[k], leak);
    return;
  }
  for (int64_t k = 0; k < n; ++k) y[k] = cell(x[k]) * w[k] + b[k] + residual[k];
  if (mask)
    for (int64_t k = 0; k < n; ++k) mask[k] = y[k] > 0;
  for (int64_t k = 0; k < n; ++k) y[k] = norm_rows::activate<kind>(y[k], leak);
}

// d: dy of one cell behind the activation.
template <Activation::Kind kind, class T>
void behind_cell(const T* __restrict dy, const T* __restrict x, const uint8_t* __restrict mask, T* __restrict d,
                 int64_t n, const T* __restrict w, const T* __restrict b, RowCell<T> cell, T leak) {
  const T otherwise = kind == Activation::Kind::relu ? T(0) : leak;
  if (mask) {
    for (int64_t k = 0; k < n; ++k) d[k] = mask[k] != 0 ? dy[k] : otherwise * dy[k];
  } else {
    for (int64_t k = 0; k < n; ++k) d[k] = cell(x[k]) * w[k] + b[k] > 0 ? dy[k] : otherwise * dy[k];
  }
}

// What the gradient needs of n cells, in arrays: dx = inv w d - (x - high) slope - offset, and the normalized value
// (x - high) inv + middle.
template <class T>
struct CellGradients {
  T *high, *inv, *middle, *slope, *offset;
  CellGradients(T* room, int64_t n)
      : high(room), inv(high + n), middle(inv + n), slope(middle + n), offset(slope + n) {}
};

// The sums of w d and w d (x - high) over n cells, consecutive from d and x on.
template <class T>
void sum_cells(const T* d, const T* x, const T* weight, int64_t channels, int64_t n, int64_t size, const double* mean,
               double* sum, double* sum_x) {
  for (int64_t i = 0, c = 0; i < n; ++i, c = c + size < channels ? c + size : 0, d += size, x += size) {
    const T high = static_cast<T>(mean[i]), *w = weight + c;
    const Sums sums = sums_of<true, T>(
        size, [=](auto load, int64_t k) { return load(w + k) * load(d + k); },
        [=](auto load, int64_t k) { return load(x + k) - high; });
    sum[i] = sums.plain;
    sum_x[i] = sums.product;
  }
}

// From these sums, what the gradient needs. `middle` may be null: 0.
template <class T>
void solve_gradients(int64_t n, const NormSpec& spec, int64_t size, const double* __restrict mean,
                     const double* __restrict inv, const double* __restrict rstd, const double* __restrict middle,
                     const double* __restrict sum, const double* __restrict sum_x, const CellGradients<T>& to) {
  const double measured = spec.source == Statistics::Source::given ? 0 : 1 / static_cast<double>(size),
               centered = spec.center ? measured : 0;
  T* __restrict high = to.high, * __restrict to_inv = to.inv, * __restrict to_middle = to.middle, * __restrict slope = to.slope, * __restrict offset = to.offset;
  for (int64_t i = 0; i < n; ++i) {
    high[i] = static_cast<T>(mean[i]);
    to_inv[i] = static_cast<T>(inv[i]);
    const double low = mean[i] - high[i], k = measured * inv[i] * rstd[i] * rstd[i] * (sum_x[i] - low * sum[i]);
    to_middle[i] = static_cast<T>((middle ? middle[i] : 0) - low * inv[i]);
    slope[i] = static_cast<T>(k);
    offset[i] = static_cast<T>(centered * inv[i] * sum[i] - low * k);
  }
}

using norm_rows::Write;

// dx of the cells of one channel group in kRows rows, and what they add to dgamma and dbeta. In d, x, dx, the rows are
// `stride` elements apart, their cells `groups` apart from `first` on in `of`. dx may be d.
template <int kRows, Write write, class T>
void gradient_of_cells(const T* d, const T* __restrict x, T* dx, int64_t stride, int64_t n, const T* __restrict w,
                       const CellGradients<T>& of, int64_t first, int64_t groups, T* __restrict dgamma,
                       T* __restrict dbeta) {
  T high[kRows], inv[kRows], middle[kRows], slope[kRows], offset[kRows];
  for (int64_t r = 0, i = first; r < kRows; ++r, i += groups) {
    high[r] = of.high[i];
    inv[r] = of.inv[i];
    middle[r] = of.middle[i];
    slope[r] = of.slope[i];
    offset[r] = of.offset[i];
  }
#pragma GCC ivdep
  for (int64_t k = 0; k < n; ++k) {
    T dg = 0, db = 0;
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const T v = x[r * stride + k] - high[r], dr = d[r * stride + k];
      dg += dr * (v * inv[r] + middle[r]);
      db += dr;
      const T gradient = inv[r] * w[k] * dr - v * slope[r] - offset[r];
      if constexpr (write == Write::assign) dx[r * stride + k] = gradient;
      if constexpr (write == Write::add) dx[r * stride + k] += gradient;
    }
    dgamma[k] += dg;
    dbeta[k] += db;
  }
}

}  // namespace

template <class T>
void norm_rows_moments(const NormPlan& plan, const Tensor& cells, const Tensor& x) {
  const CellArrays to(cells.mutable_data<double>(), plan.cells());
  const T* in = x.data<T>();
  parallel_for(plan.cells(), 8192 / plan.group_size + 1, [&](int64_t begin, int64_t end) {
    std::fill(to.count + begin, to.count + end, static_cast<double>(plan.group_size));
    measure(in + begin * plan.group_size, end - begin, plan.group_size, to.mean + begin, to.m2 + begin);
  });
}

template <class T>
void norm_rows_forward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                       const Tensor& population, const Tensor& cells, const NormTensors& tensors) {
  const RowCall<T> call(plan, spec, gamma, beta);
  const Population known(population);
  const CellArrays to(cells.mutable_data<double>(), plan.cells());
  const int64_t groups = plan.groups, size = call.size;
  const T *x = tensors.x[0].data<T>(), *residual = data_of<T>(tensors.residual, 0);
  T* y = tensors.y[0].mutable_data<T>();
  uint8_t* mask = mutable_data_of<uint8_t>(tensors.mask, 0);
  const T leak = static_cast<T>(spec.activation.slope);
  norm_rows::with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
    parallel_for(plan.sets, call.grain, [&](int64_t begin, int64_t end) {
      call.for_each_block(begin, end, [&](int64_t row, int64_t rows) {
        const int64_t first = row * groups, n = rows * groups;
        // Of the general case all parts are kept; of the usual one the mean and inv, the others are scratch.
        const CellArrays own(scratch<double, 0>(kNormCellParts * n), n);
        const int64_t shift = call.general ? first : 0;
        const CellArrays& at = call.general ? to : own;
        std::fill_n(at.count + shift, n, static_cast<double>(size));
        if (spec.source != Statistics::Source::given)
          measure(x + first * size, n, size, at.mean + shift, at.m2 + shift);
        solve_cells(spec, known, at, shift, shift + n);
        if (!call.general) {
          std::copy_n(own.mean, n, to.mean + first);
          std::copy_n(own.inv, n, to.inv + first);
        }
        for (int64_t i = 0, c = 0; i < n; ++i, c = c + size < plan.channels ? c + size : 0) {
          const int64_t e = (first + i) * size;
          apply_cell<kind>(x + e, residual ? residual + e : nullptr, y + e, mask ? mask + e : nullptr, size,
                           call.weight.data() + c, call.bias.data() + c,
                           RowCell<T>(at.mean[shift + i], at.inv[shift + i], at.offset[shift + i]), leak);
        }
      });
    });
  });
}

template <class T>
void norm_rows_backward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                        const Tensor& cells, const Tensor& dgamma, const Tensor& dbeta, const NormGradients& tensors) {
  const RowCall<T> call(plan, spec, gamma, beta);
  const int64_t channels = plan.channels, groups = plan.groups, size = call.size;
  const size_t pair = 2 * static_cast<size_t>(channels);  // dgamma, dbeta
  PoolVector<double> partial(static_cast<size_t>(slot_count(plan.sets, call.grain)) * pair, 0.0);
  const auto part = [&](NormCellPart k) { return cells.data<double>() + k * plan.cells(); };
  const double *means = part(kCellMean), *invs = part(kCellInv), *rstds = part(call.general ? kCellRstd : kCellInv),
               *offsets = part(kCellOffset);
  const T *x = tensors.x[0].data<T>(), *dy = tensors.dy[0].data<T>(), leak = static_cast<T>(spec.activation.slope);
  const uint8_t* mask = data_of<uint8_t>(tensors.mask, 0);
  T *dx = mutable_data_of<T>(tensors.dx, 0), *dresidual = mutable_data_of<T>(tensors.dresidual, 0);
  const bool add_dx = dx && tensors.add_dx[0], add_dresidual = dresidual && tensors.add_dresidual[0];

  norm_rows::with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
    parallel_ranges(plan.sets, call.grain, [&](int slot, int64_t begin, int64_t end) {
      double* sums = partial.data() + static_cast<size_t>(slot) * pair;
      T *chunk = scratch<T, 0>(2 * channels + call.together * channels), *room = chunk + 2 * channels;
      const CellGradients<T> of(scratch<T, 1>(5 * call.together * groups), call.together * groups);
      double *sum = scratch<double, 2>(2 * call.together * groups), *sum_x = sum + call.together * groups;
      std::fill_n(chunk, pair, T(0));
      int64_t summed = 0;
      const auto flush = [&] {
        for (size_t k = 0; k < pair; ++k) sums[k] += chunk[k];
        std::fill_n(chunk, pair, T(0));
        summed = 0;
      };
      call.for_each_block(begin, end, [&](int64_t row, int64_t rows) {
        if (summed + rows > kFlushRows) flush();
        summed += rows;
        const int64_t from = row * channels;
        const T* d = kind == Activation::Kind::none ? dy + from : room;
        const int64_t first = row * groups, n = rows * groups;
        if constexpr (kind != Activation::Kind::none) {
          for (int64_t i = 0, c = 0; i < n; ++i, c = c + size < channels ? c + size : 0) {
            const int64_t e = from + i * size, cell = first + i;
            behind_cell<kind>(dy + e, x + e, mask ? mask + e : nullptr, room + i * size, size, call.weight.data() + c,
                              call.bias.data() + c,
                              RowCell<T>(means[cell], invs[cell], call.general ? offsets[cell] : 0), leak);
          }
        }
        // Before dx, which may be where d is.
        if (dresidual && !add_dresidual) std::copy_n(d, rows * channels, dresidual + from);
        for (int64_t k = 0; k < rows * channels && add_dresidual; ++k) dresidual[from + k] += d[k];
        sum_cells(d, x + from, call.weight.data(), channels, n, size, means + first, sum, sum_x);
        solve_gradients(n, spec, size, means + first, invs + first, rstds + first,
                        call.general ? offsets + first : nullptr, sum, sum_x, of);
        for (int64_t g = 0; g < groups; ++g) {
          const int64_t c = g * size;
          const auto sweep = [&]<int kRows>(int64_t r) {
            const int64_t at = r * channels + c;
            const auto kernel = !dx      ? gradient_of_cells<kRows, Write::none, T>
                                : add_dx ? gradient_of_cells<kRows, Write::add, T>
                                         : gradient_of_cells<kRows, Write::assign, T>;
            kernel(d + at, x + from + at, dx ? dx + from + at : nullptr, channels, size, call.weight.data() + c, of,
                   r * groups + g, groups, chunk + c, chunk + channels + c);
          };
          int64_t r = 0;
          for (; r + 4 <= rows; r += 4) sweep.template operator()<4>(r);
          for (; r < rows; ++r) sweep.template operator()<1>(r);
        }
      });
      flush();
    });
  });
  sum_affine_gradients(plan, false, partial, dgamma, dbeta);
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

NORMA_SIMD_END
