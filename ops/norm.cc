// Numerics: means are doubles. In float32 a mean is used as the sum of two floats, so that (x - mean) keeps the digits
// it has: x - high is exact near the mean.
#include "norma/ops/norm.h"

#include <cmath>

#include "norma/autograd/op.h"
#include "norma/core/memory.h"
#include "norma/core/parallel.h"

namespace norma {
namespace {

void check_inputs(const Op& op, const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  op.check_same({x, gamma, beta});
  op.check(x.rank() >= 2, "wants [N, ..., C]: shape {}", x.shape());
  for (const Tensor& parameter : {gamma, beta})
    op.check(!parameter.defined() || parameter.shape() == Shape{x.dim(-1)}, "gamma or beta is {}: wants [{}], input {}",
             parameter.defined() ? parameter.shape() : Shape{}, x.dim(-1), x.shape());
  op.check(eps > 0, "eps {}: wants more than 0: input {}", eps, x.shape());
}

// With these statistics: of x itself, if `batch`, so that the gradient goes through them; else constants. `in` is x,
// contiguous.
Tensor normalize(const Op& op, const Tensor& x, const Tensor& in, const Tensor& gamma, const Tensor& beta,
                 const BatchNormStats& stats, double eps, bool batch) {
  const Tensor y = empty_like(in);
  kernel::batch_norm_apply(in, stats.mean, stats.var, eps, gamma, beta, y);
  const bool needs_x = Op::records({gamma}) || (batch && Op::records({x}));
  return op.record({x, gamma, beta}, y,
                   [eps, batch, needs_x, in = op.save(needs_x ? in : Tensor()), gamma = op.save(gamma),
                    mean = op.save(stats.mean), var = op.save(stats.var)](const Tensor& upstream, Sink& dx) {
                     const Tensor dy = upstream.contiguous(), sum_dy = empty_like(*mean),
                                  sum_dy_xhat = empty_like(*mean);
                     // Where x was not kept, the second sum is not looked at.
                     if (batch || dx.wants(1) || dx.wants(2))
                       kernel::batch_norm_sums(needs_x ? *in : dy, dy, mean, var, eps, sum_dy, sum_dy_xhat);
                     if (dx.wants(0) && batch) {
                       const auto [grad, add] = dx.into(0);
                       kernel::batch_norm_backward(in, dy, mean, var, eps, gamma, sum_dy, sum_dy_xhat, grad, add);
                     } else if (dx.wants(0)) {  // dy / sqrt(var + eps) * gamma: the forward kernel with a mean of 0
                       const Tensor grad = empty_like(dy);
                       kernel::batch_norm_apply(dy, zeros_like(mean), var, eps, gamma, {}, grad);
                       dx.give(0, grad);
                     }
                     if (dx.wants(1)) dx.give(1, sum_dy_xhat.to(dy.dtype()));
                     if (dx.wants(2)) dx.give(2, sum_dy.to(dy.dtype()));
                   });
}

}  // namespace

std::pair<Tensor, BatchNormStats> batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  Op op("batch_norm");
  check_inputs(op, x, gamma, beta, eps);
  const int64_t count = x.shape().without(x.rank() - 1).numel();
  op.check(count > 1, "{} values a channel have no variance to normalize by: input {}", count, x.shape());
  const BatchNormStats stats{Tensor({x.dim(-1)}, f64, x.device()), Tensor({x.dim(-1)}, f64, x.device())};
  const Tensor in = x.contiguous();
  kernel::batch_norm_stats(in, stats.mean, stats.var);
  return {normalize(op, x, in, gamma, beta, stats, eps, true), stats};
}

Tensor batch_norm_given(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& var,
                        double eps) {
  Op op("batch_norm_given");
  check_inputs(op, x, gamma, beta, eps);
  for (const Tensor& given : {mean, var})
    op.check(given.is_floating() && given.shape() == Shape{x.dim(-1)}, "mean or var is {} ({}): wants [{}], input {}",
             given.shape(), given.dtype(), x.dim(-1), x.shape());
  return normalize(op, x, x.contiguous(), gamma, beta, {mean.to(f64).contiguous(), var.to(f64).contiguous()}, eps,
                   false);
}

namespace cpu {
namespace {

// x is seen as [rows, C]; a slot has at least so many rows.
constexpr int kMaxNormSlots = 32;
int64_t rows_of(const Tensor& x) { return x.dim(-1) == 0 ? 0 : x.numel() / x.dim(-1); }
int64_t row_grain(int64_t channels) { return 16384 / channels + 1; }
// Rows over which sums are held in T before they go on in double: they fit in the nearest caches.
int64_t block_rows(int64_t channels) { return std::clamp<int64_t>(16384 / channels, 16, 128); }

// What the row loops need of each channel, in T.
template <class T>
struct Coefficients {
  Coefficients(const Tensor& mean, const Tensor& var, double eps, const Tensor& gamma, const Tensor& beta)
      : channels(mean.numel()), memory({4, channels}, dtype_of<T>()) {
    high = memory.mutable_data<T>();
    low = high + channels, scale = low + channels, shift = scale + channels;
    const double *m = mean.data<double>(), *v = var.data<double>();
    const Tensor g = gamma.defined() ? gamma.contiguous() : gamma, b = beta.defined() ? beta.contiguous() : beta;
    for (int64_t c = 0; c < channels; ++c) {
      high[c] = static_cast<T>(m[c]);
      low[c] = static_cast<T>(m[c] - high[c]);
      scale[c] = static_cast<T>((g.defined() ? g.data<T>()[c] : 1.0) / std::sqrt(v[c] + eps));
      shift[c] = b.defined() ? b.data<T>()[c] : T(0);
    }
  }
  int64_t channels;
  Tensor memory;
  T *high, *low, *scale, *shift;
};

// Mean and sum of squared deviations of a number of rows, of which another such number can be merged (Chan, Golub &
// LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
void merge_moments(int64_t channels, double count, double* mean, double* square, double more, const double* more_mean,
                   const double* more_square) {
  const double part = more / (count + more), product = count * part;
  for (int64_t c = 0; c < channels; ++c) {
    const double delta = more_mean[c] - mean[c];
    mean[c] += delta * part;
    square[c] += more_square[c] + delta * delta * product;
  }
}

// The moments of a block by two passes over it. The second also sums the deviations from the first pass's mean, whose
// rounding error is thereby taken out again.
template <class T>
void block_moments(const T* __restrict x, int64_t rows, int64_t channels, T* __restrict work, double* __restrict mean,
                   double* __restrict square) {
  T* __restrict center = work, * __restrict sum = work + channels, * __restrict squares = work + 2 * channels;
  std::fill_n(sum, channels, T(0));
  for (int64_t r = 1; r < rows; ++r)
    for (int64_t c = 0; c < channels; ++c) sum[c] += x[r * channels + c] - x[c];
  for (int64_t c = 0; c < channels; ++c) center[c] = x[c] + sum[c] / static_cast<T>(rows);
  std::fill_n(sum, 2 * channels, T(0));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < channels; ++c) {
      const T deviation = x[r * channels + c] - center[c];
      sum[c] += deviation;
      squares[c] += deviation * deviation;
    }
  }
  const double n = static_cast<double>(rows);
  for (int64_t c = 0; c < channels; ++c) {
    const double error = sum[c] / n;
    mean[c] = center[c] + error;
    square[c] = std::max(0.0, squares[c] - error * error * n);
  }
}

}  // namespace

void batch_norm_stats(const Tensor& x, const Tensor& mean, const Tensor& var) {
  const int64_t channels = x.dim(-1), rows = rows_of(x);
  if (channels == 0) return;
  const int slots = slot_count(rows, row_grain(channels), kMaxNormSlots);
  const Tensor moments({slots, 2, channels}, f64);
  double* const all = moments.mutable_data<double>();
  dispatch_floating("batch_norm", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    parallel_slots(slots, [&](int slot) {
      PoolVector<double> block(static_cast<size_t>(2 * channels));
      PoolVector<T> work(static_cast<size_t>(3 * channels));
      double *mine = all + slot * 2 * channels, *block_square = block.data() + channels;
      const int64_t first = rows * slot / slots, last = rows * (slot + 1) / slots;
      for (int64_t row = first; row < last; row += block_rows(channels)) {
        const int64_t n = std::min(block_rows(channels), last - row);
        const bool fresh = row == first;
        block_moments(in + row * channels, n, channels, work.data(), fresh ? mine : block.data(),
                      fresh ? mine + channels : block_square);
        if (!fresh)
          merge_moments(channels, static_cast<double>(row - first), mine, mine + channels, static_cast<double>(n),
                        block.data(), block_square);
      }
    });
  });
  for (int slot = 1; slot < slots; ++slot) {
    const int64_t first = rows * slot / slots, last = rows * (slot + 1) / slots;
    const double* more = all + slot * 2 * channels;
    merge_moments(channels, static_cast<double>(first), all, all + channels, static_cast<double>(last - first), more,
                  more + channels);
  }
  std::copy_n(all, channels, mean.mutable_data<double>());
  double* v = var.mutable_data<double>();
  for (int64_t c = 0; c < channels; ++c) v[c] = all[channels + c] / static_cast<double>(rows);
}

void batch_norm_apply(const Tensor& x, const Tensor& mean, const Tensor& var, double eps, const Tensor& gamma,
                      const Tensor& beta, const Tensor& y) {
  if (x.numel() == 0) return;
  dispatch_floating("batch_norm", x.dtype(), [&]<class T>() {
    const Coefficients<T> k(mean, var, eps, gamma, beta);
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    parallel_for(rows_of(x), row_grain(k.channels), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* __restrict from = in + row * k.channels;
        T* __restrict to = out + row * k.channels;
        for (int64_t c = 0; c < k.channels; ++c) to[c] = ((from[c] - k.high[c]) - k.low[c]) * k.scale[c] + k.shift[c];
      }
    });
  });
}

void batch_norm_sums(const Tensor& x, const Tensor& dy, const Tensor& mean, const Tensor& var, double eps,
                     const Tensor& sum_dy, const Tensor& sum_dy_xhat) {
  const int64_t channels = x.dim(-1), rows = rows_of(x);
  double *first_sum = sum_dy.mutable_data<double>(), *second_sum = sum_dy_xhat.mutable_data<double>();
  std::fill_n(first_sum, channels, 0.0);
  std::fill_n(second_sum, channels, 0.0);
  if (x.numel() == 0) return;
  const int slots = slot_count(rows, row_grain(channels), kMaxNormSlots);
  const Tensor sums = zeros({slots, 2, channels}, f64);
  double* const all = sums.mutable_data<double>();
  dispatch_floating("batch_norm", x.dtype(), [&]<class T>() {
    const Coefficients<T> k(mean, var, eps, {}, {});
    const T *in = x.data<T>(), *upstream = dy.data<T>();
    parallel_slots(slots, [&](int slot) {
      PoolVector<T> work(static_cast<size_t>(2 * channels));
      T* __restrict first = work.data(), * __restrict second = first + channels;
      double* mine = all + slot * 2 * channels;
      const int64_t last = rows * (slot + 1) / slots;
      for (int64_t row = rows * slot / slots; row < last; row += block_rows(channels)) {
        std::fill_n(first, 2 * channels, T(0));
        for (int64_t r = row; r < std::min(last, row + block_rows(channels)); ++r) {
          const T* __restrict from = in + r * channels, * __restrict d = upstream + r * channels;
          for (int64_t c = 0; c < channels; ++c) {
            first[c] += d[c];
            second[c] += d[c] * ((from[c] - k.high[c]) - k.low[c]);
          }
        }
        for (int64_t i = 0; i < 2 * channels; ++i) mine[i] += first[i];
      }
    });
  });
  const double* v = var.data<double>();
  for (int slot = 0; slot < slots; ++slot) {
    for (int64_t c = 0; c < channels; ++c) first_sum[c] += all[slot * 2 * channels + c];
    for (int64_t c = 0; c < channels; ++c) second_sum[c] += all[(slot * 2 + 1) * channels + c] / std::sqrt(v[c] + eps);
  }
}

void batch_norm_backward(const Tensor& x, const Tensor& dy, const Tensor& mean, const Tensor& var, double eps,
                         const Tensor& gamma, const Tensor& sum_dy, const Tensor& sum_dy_xhat, const Tensor& dx,
                         bool add) {
  if (x.numel() == 0) return;
  dispatch_floating("batch_norm", x.dtype(), [&]<class T>() {
    const Coefficients<T> k(mean, var, eps, gamma, {});
    const double count = static_cast<double>(rows_of(x));
    PoolVector<T> means(static_cast<size_t>(2 * k.channels));
    T *mean_dy = means.data(), *slope = mean_dy + k.channels;  // slope: of dx against x - mean
    for (int64_t c = 0; c < k.channels; ++c) {
      mean_dy[c] = static_cast<T>(sum_dy.data<double>()[c] / count);
      slope[c] = static_cast<T>(sum_dy_xhat.data<double>()[c] / count / std::sqrt(var.data<double>()[c] + eps));
    }
    const T *in = x.data<T>(), *upstream = dy.data<T>();
    T* out = dx.mutable_data<T>();
    parallel_for(rows_of(x), row_grain(k.channels), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* __restrict from = in + row * k.channels, * __restrict d = upstream + row * k.channels;
        T* __restrict to = out + row * k.channels;
        const auto gradient = [&](int64_t c) {
          return k.scale[c] * (d[c] - mean_dy[c] - ((from[c] - k.high[c]) - k.low[c]) * slope[c]);
        };
        if (add)
          for (int64_t c = 0; c < k.channels; ++c) to[c] += gradient(c);
        else
          for (int64_t c = 0; c < k.channels; ++c) to[c] = gradient(c);
      }
    });
  });
}

}  // namespace cpu
}  // namespace norma
