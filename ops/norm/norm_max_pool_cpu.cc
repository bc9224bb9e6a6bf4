// The CPU kernel of ops/norm/norm_max_pool.h: norm's passes, with windows in the place of rows.
#include "norma/ops/norm/cpu_passes.h"
#include "norma/ops/norm/norm_max_pool.h"

NORMA_SIMD_BEGIN
namespace {

using namespace norm_kernel;

// The plan of y's rows: of the same sets, a row a window instead of one a pixel.
NormPlan plan_of_windows(NormPlan plan, const PoolGeometry& g) {
  const auto resize = [&](int64_t& rows) { rows = rows / (g.h * g.w) * (g.oh * g.ow); };
  for (int64_t& rows : plan.rows) resize(rows);
  for (NormPlan::Run& run : plan.runs) resize(run.first_row), resize(run.rows);
  return plan;
}

// Windows of `kernel` pixels beside each other, from element x_at of x and y_at of y on; or one of pixels that are in
// no window.
struct Strip {
  int64_t x_at, y_at, windows;
  Pair kernel;
  bool covered = true;
};

// Calls f.operator()<n, side>(strip, j) for the windows of a block, along with the last before them the pixels that no
// window covers, and n vectors of channels from j on, until all are covered: the last vector may overlap another. Side:
// 2 where windows are 2 x 2, else 0.
template <class T, class F>
void for_each_strip(const PoolGeometry& g, const NormBlock& block, F&& f) {
  constexpr int64_t size = Pack<T, true>::size;
  const int64_t row = g.w * g.c, right = g.w - g.ow * g.kernel.w, below = g.h - g.oh * g.kernel.h;
  const auto all_channels = [&](const Strip& strip) {
    const auto some = [&]<int n>(int64_t j) {
      if (strip.kernel == Pair(2)) f.template operator()<n, 2>(strip, j);
      else f.template operator()<n, 0>(strip, j);
    };
    int64_t j = 0;
    for (; j + 2 * size <= g.c; j += 2 * size) some.template operator()<2>(j);
    for (; j < g.c; j += size) some.template operator()<1>(std::min(j, g.c - size));
  };
  for (const NormPlan::Run& run : block.runs) {
    const int64_t end = run.first_row + run.rows;
    for (int64_t at = run.first_row, count; at < end; at += count) {
      const int64_t ox = at % g.ow, oy = at / g.ow % g.oh, image = at / g.ow / g.oh * g.h * row,
                    top = image + oy * g.kernel.h * row;
      count = std::min(g.ow - ox, end - at);
      all_channels({top + ox * g.kernel.w * g.c, at * g.c, count, g.kernel});
      if (ox + count < g.ow) continue;
      if (right > 0) all_channels({top + row - right * g.c, 0, 1, {g.kernel.h, right}, false});
      if (below > 0 && oy == g.oh - 1) all_channels({image + g.oh * g.kernel.h * row, 0, 1, {below, g.w}, false});
    }
  }
}

// The largest f(normalized x) of each window, a NaN winning and the first of equals, for n packs of channels from j on;
// and where a gradient is wanted the winner's place and x.
template <Activation::Kind kind, bool records, int n, int side, class T>
void max_of_windows(const PoolGeometry& g, const T* x, T* y, uint8_t* place, T* winner, const Strip& s, int64_t j,
                    const Columns<T>& t, T leak) {
  using P = typename Pack<T, true>::type;
  using Place = typename Pack<T, true>::truth;
  const int64_t height = side ? side : s.kernel.h, width = side ? side : s.kernel.w;
  Packs<T, true, n> high(t.high + j), scale(t.scale + j), shift(t.shift + j), best = high, best_x = high;
  Place best_at[n] = {};
  for (int64_t o = 0; o < s.windows; ++o) {
    const T* window = x + s.x_at + o * width * g.c + j;
    const int64_t at = s.y_at + o * g.c + j;
    for (int64_t iy = 0; iy < height; ++iy)
      for (int64_t ix = 0; ix < width; ++ix)
        for (int k = 0; k < n; ++k) {
          const P v = reinterpret_cast<const P*>(window + (iy * g.w + ix) * g.c)[k];
          const P u = (v - high[k]) * scale[k] + shift[k];
          if (iy == 0 && ix == 0) {
            best[k] = activate<kind>(u, leak);
            best_x[k] = v;
            best_at[k] = Place{};
            continue;
          }
          // What is above a best that a relu has made is as the relu would leave it.
          const P next = kind == Activation::Kind::relu ? u : activate<kind>(u, leak);
          if constexpr (records) {
            const auto better = (next > best[k]) | (next != next);
            best[k] = better ? next : best[k];
            best_x[k] = better ? v : best_x[k];
            best_at[k] = better ? Place{} + static_cast<int>(iy * width + ix) : best_at[k];
          } else {
            const P larger = next > best[k] ? next : best[k];
            best[k] = next != next ? next : larger;
          }
        }
    best.store(y + at);
    if constexpr (!records) continue;
    best_x.store(winner + at);
    using Mask = typename Pack<T, true>::mask;
    for (int k = 0; k < n; ++k) reinterpret_cast<Mask*>(place + at)[k] = __builtin_convertvector(best_at[k], Mask);
  }
}

// dx of windows = scale * d - (x - high) * slope - offset, d being dy behind the activation for the winner and 0 for
// the others.
template <Activation::Kind kind, int n, int side, class T>
void gradient_of_windows(const PoolGeometry& g, const T* dy, const uint8_t* place, const T* x, T* dx, const Strip& s,
                         int64_t j, const Columns<T>& t, T leak) {
  using P = typename Pack<T, true>::type;
  using Mask = typename Pack<T, true>::mask;
  using Place = typename Pack<T, true>::truth;
  const int64_t height = side ? side : s.kernel.h, width = side ? side : s.kernel.w;
  Packs<T, true, n> high(t.high + j), scale(t.scale + j), shift(t.shift + j), slope(t.slope + j), offset(t.offset + j);
  P d[n] = {};
  Place winner[n] = {};
  for (int64_t o = 0; o < s.windows; ++o) {
    const int64_t from = s.x_at + o * width * g.c + j, at = s.y_at + o * g.c + j;
    for (int k = 0; s.covered && k < n; ++k) {
      d[k] = reinterpret_cast<const P*>(dy + at)[k];
      winner[k] = __builtin_convertvector(reinterpret_cast<const Mask*>(place + at)[k], Place);
    }
    for (int64_t iy = 0; iy < height; ++iy)
      for (int64_t ix = 0; ix < width; ++ix)
        for (int k = 0; k < n; ++k) {
          const int64_t i = from + (iy * g.w + ix) * g.c;
          const P v = reinterpret_cast<const P*>(x + i)[k] - high[k];
          const P own_d = winner[k] == Place{} + static_cast<int>(iy * width + ix) ? d[k] : P{};
          const P own = slope[k] != 0 ? v : P{};
          reinterpret_cast<P*>(dx + i)[k] =
              scale[k] * behind<kind>(own_d, passes<kind>(v * scale[k] + shift[k]), leak) - own * slope[k] - offset[k];
        }
  }
}

}  // namespace

void norm_max_pool(const Tensor& x, const NormCall& call, const PoolGeometry& g, const Tensor& y, const Tensor& place,
                   const Tensor& winner) {
  dispatch_floating("norm_max_pool", x.dtype(), [&]<class T>() {
    const T *in = x.data<T>(), leak = static_cast<T>(call.activation.slope);
    T *to_y = y.mutable_data<T>(), *to_winner = winner.mutable_data_or_null<T>();
    uint8_t* to_place = place.mutable_data_or_null<uint8_t>();
    const auto apply_block = [&](const NormBlock& block, const Columns<T>& columns) {
      with_activation(call.activation, [&]<Activation::Kind kind>() {
        for_each_strip<T>(g, block, [&]<int n, int side>(const Strip& strip, int64_t j) {
          if (!strip.covered) return;
          if (to_winner) max_of_windows<kind, true, n, side>(g, in, to_y, to_place, to_winner, strip, j, columns, leak);
          else max_of_windows<kind, false, n, side>(g, in, to_y, to_place, to_winner, strip, j, columns, leak);
        });
      });
    };
    run_forward(Passes<T>{call}, plan_of_windows(call.plan, g), {in}, apply_block);
  });
}

void norm_max_pool_backward(const Tensor& x, const NormCall& call, const PoolGeometry& g, const Tensor& dy,
                            const Tensor& place, const Tensor& winner, const Tensor& dx, const Tensor& affine) {
  dispatch_floating("norm_max_pool", x.dtype(), [&]<class T>() {
    NormCall windows = call;
    windows.plan = plan_of_windows(call.plan, g);
    const T *in = x.data<T>(), *from = dy.data<T>(), leak = static_cast<T>(call.activation.slope);
    T* to = dx.mutable_data_or_null<T>();
    const uint8_t* places = place.data<uint8_t>();
    // Only winners have a gradient.
    const GradientData<T> winners = {from, winner.data<T>(), nullptr, nullptr, nullptr, false, false, leak};
    const auto sum_block = [&](const NormBlock& block, const Columns<T>& columns, double* sums, T* accumulators) {
      with_activation(call.activation, [&]<Activation::Kind kind>() {
        for_each_row_list(windows.plan, block, [&](const RowList& list) {
          add_sums<kind, false>(winners, list, g.c, columns, accumulators, sums);
        });
      });
    };
    const auto gradient_block = [&](const NormBlock& block, const Columns<T>& columns) {
      with_activation(call.activation, [&]<Activation::Kind kind>() {
        for_each_strip<T>(g, block, [&]<int n, int side>(const Strip& strip, int64_t j) {
          if (to) gradient_of_windows<kind, n, side>(g, from, places, in, to, strip, j, columns, leak);
        });
      });
    };
    run_backward<T>(windows, affine, sum_block, gradient_block);
  });
}

NORMA_SIMD_END
