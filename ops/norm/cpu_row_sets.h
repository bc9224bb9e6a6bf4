// The norm family's CPU kernel where every row is a set of its own: layer and RMS norm over features, group norm of
// [N, C]. A row's cells are runs of `group_size` consecutive channels; a task takes a range of rows and does both
// passes of a row while it is in cache. Cells may be small here, so of each only what the gradient or the caller will
// read is written. Sets that share rows are done by the passes of ops/norm/cpu_passes.h. Not a public header.
#pragma once

#include "norma/ops/norm/cpu_tiles.h"

NORMA_SIMD_BEGIN
namespace norm_kernel {

// Of the rows taken together: their cells are solved at once, while they are in cache. And of a sum in T.
inline constexpr int64_t kCachedElements = 2048;
// Rows whose dgamma and dbeta are summed in T before the sums go on in double.
inline constexpr int64_t kFlushRows = 128;

template <size_t lanes, class V>
auto sum_of_lanes(V v) {
  if constexpr (lanes == 2) return v[0] + v[1];
  else return [v]<size_t... k>(std::index_sequence<k...>) NORMA_INLINE {
      return sum_of_lanes<lanes / 2>(__builtin_shufflevector(v, v, k...) +
                                     __builtin_shufflevector(v, v, (lanes / 2 + k)...));
    }
  (std::make_index_sequence<lanes / 2>());
}

struct Sums {
  double plain, product;
};

// The sums of f(load, i), and of f g where `with_product`, over i in [begin, end); load(p) is p[0] or a vector of
// consecutive elements. Several vectors of sums, so that additions need not wait for each other. Always inline: a call
// would cost as much as a row of 64.
template <bool with_product, class T, class F, class G>
[[gnu::always_inline]] inline Sums sums_between(int64_t begin, int64_t end, F f, G g) {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  constexpr int64_t size = Pack<T, true>::size;
  constexpr size_t lanes = size;
  const auto vector = [](const T* p) { return Vector(*reinterpret_cast<const typename Pack<T, true>::type*>(p)); };
  const auto scalar = [](const T* p) { return *p; };
  Vector a{}, b{}, ag{}, bg{};
  T rest = 0, rest_g = 0;
  const auto add = [&](auto load, int64_t at, auto& sum, auto& product) {
    const auto v = f(load, at);
    sum += v;
    if constexpr (with_product) product += v * g(load, at);
  };
  int64_t i = begin;
  for (; i + 2 * size <= end; i += 2 * size) {
    add(vector, i, a, ag);
    add(vector, i + size, b, bg);
  }
  if (i + size <= end) {
    add(vector, i, a, ag);
    i += size;
  }
  for (; i < end; ++i) add(scalar, i, rest, rest_g);
  return {double{sum_of_lanes<lanes>(a + b)} + rest,
          with_product ? double{sum_of_lanes<lanes>(ag + bg)} + rest_g : 0.0};
}
// The same over [0, n). Sums of more than so many elements go on in double: next to an outlier what follows would be
// lost.
template <bool with_product, class T, class F, class G>
[[gnu::always_inline]] inline Sums sums_of(int64_t n, F f, G g) {
  if (n <= kCachedElements) return sums_between<with_product, T>(0, n, f, g);
  Sums sums = {0, 0};
  for (int64_t i = 0; i < n; i += kCachedElements) {
    const Sums part = sums_between<with_product, T>(i, std::min(i + kCachedElements, n), f, g);
    sums.plain += part.plain;
    sums.product += part.product;
  }
  return sums;
}
template <class T, class F>
[[gnu::always_inline]] inline double sum_of(int64_t n, F f) {
  return sums_of<false, T>(n, f, f).plain;
}

// A call of norm, made ready for both directions. Cell i is the `size` elements from i * size on, its first channel
// i % groups * size.
template <class T>
struct RowSets {
  const NormCall& call;
  const NormPlan& plan = call.plan;
  const CellArrays cells{call};
  const Tensor gamma = by_channel(call.gamma, 1), beta = by_channel(call.beta, 0);
  const T *const weight = gamma.data<T>(), *const bias = beta.data<T>();
  // Every part of a cell is stored, not only mean and inv.
  const bool general = call.source != Statistics::Source::batch || call.moments;
  const int64_t size = plan.group_size, grain = 4 * kCachedElements / plan.channels + 1;
  const int64_t together = std::clamp<int64_t>(kCachedElements / plan.channels, 1, kFlushRows);
  const T leak = static_cast<T>(call.activation.slope);

  Tensor by_channel(const Tensor& parameter, double otherwise) const {
    return parameter.defined() ? parameter : full({plan.affine_sets * plan.channels}, otherwise, dtype_of<T>());
  }
  // Rows taken together have the same gamma and beta: so many from `row` on, before `end`.
  int64_t block(int64_t row, int64_t end) const {
    const int64_t each = plan.sets / plan.affine_sets;
    return std::min({together, end - row, each - row % each});
  }
  // Calls f(i, c) for n cells, the first of them the first of `row`: the i-th, whose gamma and beta begin at c.
  template <class F>
  [[gnu::always_inline]] void for_each_cell(int64_t row, int64_t n, F&& f) const {
    const int64_t first = plan.affine_at(row), end = first + plan.channels;
    for (int64_t i = 0, c = first; i < n; ++i, c = c + size < end ? c + size : first) f(i, c);
  }
};

// Means and M2 of n cells of `size` elements.
template <class T>
void measure_cells(const T* x, int64_t n, int64_t size, double* mean, double* m2) {
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
    const double low = low_part<T>(mean[i]), about = m2[i] - static_cast<double>(size) * low * low;
    m2[i] = about < 0 ? 0 : about;
  }
}

// y of one cell; w and b are its channels', normalized(x) is (x - mean) inv + offset.
template <Activation::Kind kind, class T>
void apply_cell(const T* __restrict x, const T* __restrict residual, T* __restrict y, uint8_t* __restrict mask,
                int64_t n, const T* __restrict w, const T* __restrict b, ForwardColumn<T> normalized, T leak) {
  if (!residual) {
    for (int64_t k = 0; k < n; ++k) y[k] = activate<kind>(normalized(x[k]) * w[k] + b[k], leak);
    return;
  }
  for (int64_t k = 0; k < n; ++k) y[k] = normalized(x[k]) * w[k] + b[k] + residual[k];
  if (mask)
    for (int64_t k = 0; k < n; ++k) mask[k] = passes<kind>(y[k]);
  for (int64_t k = 0; k < n; ++k) y[k] = activate<kind>(y[k], leak);
}

// d: dy of one cell behind the activation.
template <Activation::Kind kind, class T>
void behind_cell(const T* __restrict dy, const T* __restrict x, const uint8_t* __restrict mask, T* __restrict d,
                 int64_t n, const T* __restrict w, const T* __restrict b, ForwardColumn<T> normalized, T leak) {
  if (mask)
    for (int64_t k = 0; k < n; ++k) d[k] = behind<kind>(dy[k], mask[k] != 0, leak);
  else
    for (int64_t k = 0; k < n; ++k) d[k] = behind<kind>(dy[k], passes<kind>(normalized(x[k]) * w[k] + b[k]), leak);
}

// From the sums of w d and w d (x - high) over n cells from `first` on, what their gradient needs, a column a cell: the
// normalized value is (x - high) scale + shift, and dx = scale w d - (x - high) slope - offset.
template <class T>
void solve_gradients(const RowSets<T>& sets, int64_t first, int64_t n, const double* __restrict sum,
                     const double* __restrict sum_x, const Columns<T>& to) {
  const auto [_, count, m2, mean, inv, rstd, middle, share, own] = sets.cells;
  const double inverse = 1 / static_cast<double>(sets.size);
  const bool general = sets.general, center = sets.call.center;
  T* __restrict high = to.high, * __restrict scale = to.scale, * __restrict shift = to.shift, * __restrict to_slope = to.slope, * __restrict offset = to.offset;
  for (int64_t i = 0, k = first; i < n; ++i, ++k) {
    const ForwardColumn<T> column = forward_column<T>(mean[k], inv[k], general ? middle[k] : 0);
    high[i] = column.high;
    scale[i] = column.scale;
    shift[i] = column.shift;
    const double about_mean = sum_x[i] - low_part<T>(mean[k]) * sum[i], part = (general ? share[k] : inverse) * inv[k],
                 slope = gradient_slope(about_mean, part, general ? rstd[k] : inv[k], !general),
                 about = center ? gradient_offset(sum[i], part, slope, general ? own[k] - mean[k] : 0, !general) : 0;
    to_slope[i] = static_cast<T>(slope);
    offset[i] = static_cast<T>(offset_from_high<T>(about, slope, mean[k]));
  }
}

// dx of the cells of one channel group in kRows rows, and what they add to dgamma and dbeta. In d, x, dx, the rows are
// `stride` elements apart, their cells `groups` apart from `first` on in `of`. dx may be d. Where the
// statistics are not measured, x has no part in dx, not even an infinite one.
template <int kRows, Write write, bool measured, class T>
void gradient_of_cells(const T* d, const T* __restrict x, T* dx, int64_t stride, int64_t n, const T* __restrict w,
                       const Columns<T>& of, int64_t first, int64_t groups, T* __restrict dgamma, T* __restrict dbeta) {
  T high[kRows], scale[kRows], shift[kRows], slope[kRows], offset[kRows];
  for (int64_t r = 0, i = first; r < kRows; ++r, i += groups) {
    high[r] = of.high[i];
    scale[r] = of.scale[i];
    shift[r] = of.shift[i];
    slope[r] = of.slope[i];
    offset[r] = of.offset[i];
  }
#pragma GCC ivdep
  for (int64_t k = 0; k < n; ++k) {
    T dg = 0, db = 0;
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const T v = x[r * stride + k] - high[r], dr = d[r * stride + k];
      dg += dr * (v * scale[r] + shift[r]);
      db += dr;
      const T own = scale[r] * w[k] * dr, gradient = measured ? own - v * slope[r] - offset[r] : own;
      if constexpr (write == Write::assign) dx[r * stride + k] = gradient;
      if constexpr (write == Write::add) dx[r * stride + k] += gradient;
    }
    dgamma[k] += dg;
    dbeta[k] += db;
  }
}

// The gradient of the rows of one slot, block by block.
template <Activation::Kind kind, class T>
struct SlotGradient {
  const RowSets<T>& sets;
  const GradientData<T> data;
  double* affine;  // [2, C]: the slot's dgamma and dbeta, or those of the rows' own
  const int64_t channels = sets.plan.channels, groups = sets.plan.groups, most_cells = sets.together * groups;
  T* const chunk = scratch<T, 3>(2 * channels);                       // [2, C]: dgamma and dbeta of the last rows
  T* const behind = scratch<T, 0>(sets.together * channels);          // [together, C]: dy behind the activation
  const Columns<T> cells{scratch<T, 1>(5 * most_cells), most_cells};  // of the block's cells
  double* const sum = scratch<double, 2>(2 * most_cells);             // of w d over each of these
  double* const sum_x = sum + most_cells;                             // of w d (x - high)
  int64_t summed = 0;                                                 // rows in chunk

  void block(int64_t row, int64_t rows) {
    if (summed + rows > kFlushRows) flush();
    summed += rows;
    const T* d = behind_activation(row, rows);
    if (data.dresidual) {  // before dx, which may be where d is
      T* to = data.dresidual + row * channels;
      if (!data.add_dresidual) std::copy_n(d, rows * channels, to);
      for (int64_t k = 0; k < rows * channels && data.add_dresidual; ++k) to[k] += d[k];
    }
    solve(d, row, rows);
    write_dx(d, row, rows);
  }
  // Adds what has been summed in T to the slot's sums in double.
  void flush() {
    for (int64_t k = 0; k < 2 * channels; ++k) affine[k] += chunk[k];
    std::fill_n(chunk, 2 * channels, T(0));
    summed = 0;
  }

  const T* behind_activation(int64_t row, int64_t rows) {
    const int64_t from = row * channels;
    if constexpr (kind == Activation::Kind::none) return data.dy + from;
    const CellArrays& known = sets.cells;
    sets.for_each_cell(row, rows * groups, [&](int64_t i, int64_t c) {
      const int64_t e = from + i * sets.size, cell = row * groups + i;
      behind_cell<kind>(data.dy + e, data.x + e, data.mask ? data.mask + e : nullptr, behind + i * sets.size, sets.size,
                        sets.weight + c, sets.bias + c,
                        forward_column<T>(known.mean[cell], known.inv[cell], sets.general ? known.offset[cell] : 0),
                        sets.leak);
    });
    return behind;
  }

  void solve(const T* d, int64_t row, int64_t rows) {
    const int64_t first = row * groups, n = rows * groups, size = sets.size;
    const CellArrays& known = sets.cells;
    const T* x = data.x + row * channels;
    sets.for_each_cell(row, n, [=, this](int64_t i, int64_t c) {
      const T high = static_cast<T>(known.mean[first + i]);
      const T *w = sets.weight + c, *own_d = d + i * size, *own_x = x + i * size;
      const Sums sums = sums_of<true, T>(
          size, [=](auto load, int64_t k) { return load(w + k) * load(own_d + k); },
          [=](auto load, int64_t k) { return load(own_x + k) - high; });
      sum[i] = sums.plain;
      sum_x[i] = sums.product;
    });
    solve_gradients(sets, first, n, sum, sum_x, cells);
  }

  void write_dx(const T* d, int64_t row, int64_t rows) {
    const T* weight = sets.weight + sets.plan.affine_at(row);
    with_write(data.dx, data.add_dx, [&]<Write write>() {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t c = g * sets.size;
        const auto sweep = [&]<int kRows>(int64_t r) {
          const int64_t at = r * channels + c, to = row * channels + at;
          const auto run = [&]<bool measured>() {
            gradient_of_cells<kRows, write, measured>(
                d + at, data.x + to, write == Write::none ? nullptr : data.dx + to, channels, sets.size, weight + c,
                cells, r * groups + g, groups, chunk + c, chunk + channels + c);
          };
          if (sets.call.measured()) run.template operator()<true>();
          else run.template operator()<false>();
        };
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4) sweep.template operator()<4>(r);
        for (; r < rows; ++r) sweep.template operator()<1>(r);
      }
    });
  }
};

template <class T>
void row_sets_moments(const Tensor& x, const NormCall& call) {
  const NormPlan& plan = call.plan;
  const CellArrays to(call);
  const T* in = x.data<T>();
  parallel_for(plan.cells(), 8192 / plan.group_size + 1, [&](int64_t begin, int64_t end) {
    std::fill(to.count + begin, to.count + end, static_cast<double>(plan.group_size));
    measure_cells(in + begin * plan.group_size, end - begin, plan.group_size, to.mean + begin, to.m2 + begin);
  });
}

template <class T>
void row_sets_forward(const Tensor& x, const NormCall& call, const NormOutputs& to) {
  const RowSets<T> sets{call};
  const int64_t groups = call.plan.groups, size = sets.size;
  const T *in = x.data<T>(), *residual = to.residual[0].data_or_null<T>(), *bias = call.post_bias.data_or_null<T>();
  T* y = to.y[0].mutable_data<T>();
  uint8_t* mask = to.mask[0].mutable_data_or_null<uint8_t>();
  with_activation(call.activation, [&]<Activation::Kind kind>() {
    const auto block = [&](int64_t row, int64_t rows) {
      const int64_t first = row * groups, n = rows * groups;
      // Of the general case all parts are kept; of the usual one the mean and inv, the others are scratch.
      const CellArrays own(scratch<double, 0>(kNormCellParts * n), n);
      const int64_t at = sets.general ? first : 0;
      const CellArrays& cells = sets.general ? sets.cells : own;
      std::fill_n(cells.count + at, n, static_cast<double>(size));
      if (call.measured()) measure_cells(in + first * size, n, size, cells.mean + at, cells.m2 + at);
      solve_cells(call, cells, at, at + n);
      if (!sets.general) {
        std::copy_n(own.mean, n, sets.cells.mean + first);
        std::copy_n(own.inv, n, sets.cells.inv + first);
      }
      sets.for_each_cell(row, n, [&](int64_t i, int64_t c) {
        const int64_t e = (first + i) * size;
        apply_cell<kind>(in + e, residual ? residual + e : nullptr, y + e, mask ? mask + e : nullptr, size,
                         sets.weight + c, sets.bias + c,
                         forward_column<T>(cells.mean[at + i], cells.inv[at + i], cells.offset[at + i]), sets.leak);
      });
      for (int64_t k = 0; k < n * size && bias; ++k) y[first * size + k] += bias[k % (groups * size)];
    };
    parallel_for(call.plan.sets, sets.grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin, rows; row < end; row += rows) block(row, rows = sets.block(row, end));
    });
  });
}

template <class T>
void row_sets_backward(const Tensor& x, const NormCall& call, const NormGradients& to) {
  const RowSets<T> sets{call};
  const int64_t pair = 2 * call.plan.channels;   // dgamma, dbeta
  const bool apart = call.plan.affine_sets > 1;  // then a task has all rows of a gamma and beta
  const int64_t unit = apart ? call.plan.sets / call.plan.affine_sets : 1, units = call.plan.sets / unit,
                grain = apart ? sets.grain / unit + 1 : sets.grain;
  PoolVector<double> affine((apart ? units : slot_count(units, grain)) * pair, 0.0);
  with_activation(call.activation, [&]<Activation::Kind kind>() {
    parallel_ranges(units, grain, [&](int slot, int64_t begin, int64_t end) {
      SlotGradient<kind, T> gradient = {sets, gradient_data<T>({&x, 1}, call, to, 0), affine.data() + slot * pair};
      std::fill_n(gradient.chunk, pair, T(0));
      for (int64_t row = begin * unit, rows; row < end * unit; row += rows) {
        if (apart) gradient.affine = affine.data() + call.plan.affine_set(row) * pair;
        gradient.block(row, rows = sets.block(row, end * unit));
        if (apart) gradient.flush();
      }
      gradient.flush();
    });
  });
  sum_affine_gradients(call.plan, affine, to.affine);
}

}  // namespace norm_kernel
NORMA_SIMD_END
