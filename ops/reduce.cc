#include "norma/ops/reduce.h"

#include <cmath>
#include <limits>

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/binary.h"

namespace norma {
namespace {

// A reduction brought into the one form that kernels know.
struct Plan {
  Tensor x;      // [outer, n, inner], contiguous
  Shape kept;    // the result's shape with the reduced axes as 1
  Shape result;  // and as asked for
  int64_t n;     // elements behind each result
};

Plan make_plan(const Op& op, const Tensor& x, const Shape& axes, bool keepdim, int64_t least = 1) {
  const Shape& shape = x.shape();
  unsigned reduced = axes.rank() == 0 ? (1u << x.rank()) - 1 : 0;
  for (int64_t axis : axes) {
    const unsigned bit = 1u << op.axis(x, axis);
    op.check(!(reduced & bit), "axis {} stands twice in {}: shape {}", axis, axes, shape);
    reduced |= bit;
  }
  Plan plan{{}, shape, {}, 1};
  Shape order, tail;  // the axes with the reduced ones last
  int64_t outer = 1, inner = 1;
  bool together = true;  // no axis is kept between two that are reduced
  for (int i = 0; i < x.rank(); ++i) {
    if (reduced >> i & 1) {
      together = together && inner == 1;
      plan.n *= shape[i];
      plan.kept[i] = 1;
      tail.push_back(i);
    } else {
      (tail.rank() == 0 ? outer : inner) *= shape[i];
      plan.result.push_back(shape[i]);
      order.push_back(i);
    }
  }
  for (int64_t axis : tail) order.push_back(axis);
  if (keepdim) plan.result = plan.kept;
  op.check(plan.n >= least, "{} elements to reduce, want at least {}: shape {}", plan.n, least, shape);
  plan.x = together ? view::reshape(x, {outer, plan.n, inner})
                    : view::reshape(view::permute(x, order), {outer * inner, plan.n, 1});
  return plan;
}

Tensor run(Reduce f, double divisor, const Plan& plan) {
  Tensor y(plan.result, plan.x.dtype(), plan.x.device());
  kernel::reduce(f, divisor, plan.x, view::reshape(y, {plan.x.dim(0), plan.x.dim(2)}));
  return y;
}

Tensor extreme(const char* name, Reduce f, const Tensor& x, const Shape& axes, bool keepdim) {
  Op op(name);
  op.check_same({x});
  const Plan plan = make_plan(op, x, axes, keepdim);
  Tensor y = run(f, 1, plan);
  return op.record({x}, y, [x = op.save(x), y = op.save(y), kept = plan.kept](const Tensor& dy, Sink& dx) {
    const Tensor hit = eq(x, view::reshape(y, kept)).to(dy.dtype());
    dx.give(0, mul(hit, div(view::reshape(dy, kept), sum_to(hit, kept))));
  });
}

}  // namespace

Tensor sum(const Tensor& x, const Shape& axes, bool keepdim) {
  Op op("sum");
  op.check_same({x});
  const Plan plan = make_plan(op, x, axes, keepdim, 0);
  return op.record({x}, run(Reduce::sum, 1, plan), [kept = plan.kept](const Tensor& dy, Sink& dx) {
    dx.give(0, view::expand(view::reshape(dy, kept), dx.shape(0)));
  });
}

Tensor mean(const Tensor& x, const Shape& axes, bool keepdim) {
  Op op("mean");
  op.check_same({x});
  const Plan plan = make_plan(op, x, axes, keepdim);
  const auto n = static_cast<double>(plan.n);
  return op.record({x}, run(Reduce::sum, n, plan), [n, kept = plan.kept](const Tensor& dy, Sink& dx) {
    dx.give(0, view::expand(view::reshape(div(dy, n), kept), dx.shape(0)));
  });
}

Tensor max(const Tensor& x, const Shape& axes, bool keepdim) { return extreme("max", Reduce::max, x, axes, keepdim); }
Tensor min(const Tensor& x, const Shape& axes, bool keepdim) { return extreme("min", Reduce::min, x, axes, keepdim); }

Tensor var(const Tensor& x, const Shape& axes, int64_t correction, bool keepdim) {
  Op op("var");
  op.check_same({x});
  Plan plan = make_plan(op, x, axes, keepdim, std::max<int64_t>(correction, 0) + 1);
  const auto n = static_cast<double>(plan.n), freedom = static_cast<double>(plan.n - correction);
  const Tensor average = view::reshape(run(Reduce::sum, n, plan), {plan.x.dim(0), 1, plan.x.dim(2)});
  plan.x = square(sub(plan.x, average));
  const Tensor y = run(Reduce::sum, freedom, plan);
  return op.record({x}, y, [freedom, kept = plan.kept, x = op.save(x), axes](const Tensor& dy, Sink& dx) {
    dx.give(0, mul(sub(x, mean(x, axes, true)), mul(view::reshape(dy, kept), 2 / freedom)));
  });
}

Tensor logsumexp(const Tensor& x, const Shape& axes, bool keepdim) {
  Op op("logsumexp");
  op.check_same({x});
  const Plan plan = make_plan(op, x, axes, keepdim);
  const double finite = x.dtype() == f32 ? std::numeric_limits<float>::max() : std::numeric_limits<double>::max();
  const Tensor values = x.detach(), top = clamp(max(values, axes, true), -finite, finite);
  const Tensor y = view::reshape(add(log(sum(exp(sub(values, top)), axes, true)), top), plan.result);
  return op.record({x}, y, [x = op.save(x), top = op.save(top), kept = plan.kept](const Tensor& dy, Sink& dx) {
    const Tensor share = exp(sub(x, top));  // not exp(x - y), which loses the digits that y has lost
    dx.give(0, mul(share, div(view::reshape(dy, kept), sum_to(share, kept))));
  });
}

Tensor argmax(const Tensor& x, int64_t axis, bool keepdim) {
  Op op("argmax");
  const Plan plan = make_plan(op, x, {axis}, keepdim);
  Tensor y(plan.result, i64, x.device());
  kernel::argmax(plan.x, view::reshape(y, {plan.x.dim(0), plan.x.dim(2)}));
  return y;
}

namespace cpu {
namespace {

struct Sum {
  static constexpr double kIdentity = 0;
  static double combine(double a, double x) { return a + x; }
};
struct Max {
  static constexpr double kIdentity = -std::numeric_limits<double>::infinity();
  static double combine(double a, double x) { return x > a || x != x ? x : a; }
};
struct Min {
  static constexpr double kIdentity = std::numeric_limits<double>::infinity();
  static double combine(double a, double x) { return x < a || x != x ? x : a; }
};

constexpr int64_t kTile = 512;  // columns whose accumulators stay in the first-level cache
constexpr int64_t kLanes = 64;  // narrow matrices are read as if they were about this wide
constexpr int64_t kGrain = 8192;

// acc[j] = f over i of x[i * stride + j], for j in [0, width).
template <class F, class T>
void fold_rows(const T* x, int64_t rows, int64_t width, int64_t stride, double* acc) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; ++j) acc[j] = F::combine(acc[j], static_cast<double>(x[i * stride + j]));
}

// The same for up to kTile columns of any number of rows, `inner` elements apart.
template <class F, class T>
void fold_tile(const T* x, int64_t rows, int64_t width, int64_t inner, double* acc) {
  const int64_t together = inner == width ? std::clamp<int64_t>(kLanes / width, 1, std::max<int64_t>(rows, 1)) : 1;
  std::fill_n(acc, together * width, F::kIdentity);
  const int64_t whole = rows / together;
  fold_rows<F>(x, whole, together * width, together * inner, acc);
  fold_rows<F>(x + whole * together * inner, 1, (rows - whole * together) * width, 0, acc);
  for (int64_t live = together, half; live > 1; live = half) {
    half = (live + 1) / 2;
    for (int64_t j = 0; j < (live - half) * width; ++j) acc[j] = F::combine(acc[j], acc[half * width + j]);
  }
}

}  // namespace

void reduce(Reduce f, double divisor, const Tensor& x, const Tensor& y) {
  dispatch_floating("reduce", x.dtype(), [&]<class T>() {
    const auto run = [&]<class F>(F) {
      const int64_t outer = x.dim(0), n = x.dim(1), inner = x.dim(2);
      if (outer * inner == 0) return;
      const T* from = x.data<T>();
      T* to = y.mutable_data<T>();
      // Parts: (outer index, range of n, tile of inner). Ranges are split only where there are few parts otherwise.
      const int64_t tiles = (inner + kTile - 1) / kTile, width = std::min(inner, kTile);
      const int64_t ranges =
          std::clamp<int64_t>(n * width / kGrain, 1, std::max<int64_t>(kMaxSlots / (outer * tiles), 1));
      const Tensor partial = ranges > 1 ? empty({outer, ranges, inner}, f64) : Tensor();
      double* part = ranges > 1 ? partial.mutable_data<double>() : nullptr;
      const int64_t grain = std::max<int64_t>(kGrain * ranges / std::max<int64_t>(n * width, 1), 1);
      parallel_for(outer * ranges * tiles, grain, [&](int64_t begin, int64_t end) {
        double acc[kTile];
        for (int64_t item = begin; item < end; ++item) {
          const int64_t column = item % tiles * kTile, range = item / tiles % ranges, o = item / tiles / ranges;
          const int64_t columns = std::min(kTile, inner - column);
          const int64_t first = n * range / ranges, last = n * (range + 1) / ranges;
          fold_tile<F>(from + (o * n + first) * inner + column, last - first, columns, inner, acc);
          for (int64_t j = 0; j < columns; ++j) {
            if (part) part[(o * ranges + range) * inner + column + j] = acc[j];
            else to[o * inner + column + j] = static_cast<T>(acc[j] / divisor);
          }
        }
      });
      if (!part) return;
      parallel_for(outer * inner, kGrain / ranges, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const double* at = part + i / inner * ranges * inner + i % inner;
          double acc = at[0];
          for (int64_t range = 1; range < ranges; ++range) acc = F::combine(acc, at[range * inner]);
          to[i] = static_cast<T>(acc / divisor);
        }
      });
    };
    switch (f) {
      case Reduce::sum: return run(Sum{});
      case Reduce::max: return run(Max{});
      case Reduce::min: return run(Min{});
    }
  });
}

void argmax(const Tensor& x, const Tensor& y) {
  dispatch(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    int64_t* to = y.mutable_data<int64_t>();
    const int64_t n = x.dim(1), inner = x.dim(2);
    parallel_for(y.numel(), kGrain / n + 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* at = from + i / inner * n * inner + i % inner;
        int64_t best = 0;
        for (int64_t k = 1; k < n; ++k) {
          const T value = at[k * inner], top = at[best * inner];
          if (value > top || (value != value && top == top)) best = k;
        }
        to[i] = best;
      }
    });
  });
}

}  // namespace cpu
}  // namespace norma
