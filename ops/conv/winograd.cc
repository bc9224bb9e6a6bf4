// y = A^T [ (G w G^T) . (B^T d B) ] A, with d a tile of the input, y of the output, `.` element by element and summed
// over the channels (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016). At each of the 36
// (16) places of a tile the sum over the channels is a matrix product of tiles x C_in and C_in x C_out:
//
//     image                 V: a block of tiles               M: the same block               image
//     +--+--+--+     B^T d B    +----------+      36 products     +----------+     A^T m A    +--+--+--+
//     |d |  |  |  -----------> +----------+|  --------------->   +----------+|  ----------->  |y |  |  |
//     +--+--+--+    of 6x6     |tiles x C ||   V[i] U[i]         |tiles x K ||    to 4x4      +--+--+--+
//     |  |  |  |    pixels,    +----------+    U = G w G^T       +----------+    pixels       |  |  |  |
//     +--+--+--+  4 apart      36 of these                       36 of these                  +--+--+--+
//
// A thread takes a block from one end to the other while it is in its cache. The data gradient is the same with the
// filters turned round; the weight gradient is its transpose, dU[i] += V[i]^T (A dy A^T)[i], dw = G^T dU G.
//
// Channels are cut into vectors of kLanes. V and M are [place][vector][tile][lane], the places a cache line further
// apart than that (else they fall on each other in the cache); U and dU are [place][group of vectors][C][vector][lane],
// a group being what a register tile of the product covers.
#include "norma/ops/conv/epilogue.h"
#include "norma/ops/conv/winograd_transforms.h"

NORMA_SIMD_BEGIN
namespace {

constexpr int64_t kSlotTiles = 128;           // tiles that a slot of the weight gradient should have, and
constexpr int64_t kBufferElements = 5 << 20;  // elements of dU that all slots may have

// V = B^T d B (Y = A dy A^T): transforms the `size` x `size` pixels that begin `padding` before each of the tiles
// [first, first + count), for the vectors [begin, end) of channels. Above and below the image are
// `zeros`, of as many pixels.
template <class F, int size, auto line>
void read_tiles(const Plan<F>& plan, const float* x, const Images& in, Pair padding, int64_t first, int64_t count,
                int64_t begin, int64_t end, const float* zeros, float* v) {
  const int64_t stride = plan.stride(end - begin), row = in.w * in.c;
  Tile<F> tile(plan, first);
  for (int64_t t = 0; t < count; ++t, ++tile) {
    const int64_t top = tile.top - padding.h, left = tile.left - padding.w;
    const float* corner = x + ((tile.image * in.h + top) * in.w + left) * in.c;
    const bool inside = top >= 0 && left >= 0 && top + size <= in.h && left + size <= in.w;
    const float* rows[size];
    for (int i = 0; i < size; ++i) rows[i] = top + i >= 0 && top + i < in.h ? corner + i * row : zeros;
    const int64_t first_column = -left, columns = in.w - left;
    for (int64_t b = begin; b < end; ++b) {
      float* to = v + ((b - begin) * plan.block + t) * kLanes;
      const int64_t channel = b * kLanes, n = in.c - channel;
      const auto put = [to, stride](int, int, Vec value) mutable NORMA_INLINE {
        store(to, value);
        to += stride;
      };
      const auto has = [=](int j) NORMA_INLINE { return j >= first_column && j < columns; };
      if (n < kLanes) {
        const auto at = [&](int i, int j) NORMA_INLINE { return load(rows[i] + j * in.c + channel, n); };
        transform<size, F::in, line>(at, put, has);
      } else if (!inside) {
        const auto at = [&](int i, int j) NORMA_INLINE { return load(rows[i] + j * in.c + channel); };
        transform<size, F::in, line>(at, put, has);
      } else {
        const auto at = [walk = Walk<size>(corner + channel, row, in.c)](int i, int) mutable NORMA_INLINE {
          return load(walk(i));
        };
        transform<size, F::in, line>(at, put);
      }
    }
  }
}

// M[t][k] = the sum of V[t][c] U[c][k] for `count` tiles, c vectors of channels, and K vectors of k.
template <int K>
void multiply(int64_t c, int64_t block, int64_t count, const float* v, const float* u, float* m) {
  constexpr int R = tile_rows(K);
  for (int64_t t = 0; t < count; t += R) {
    Vec sum[R][K];
    for_tile(sum, [](Vec& s, int, int) NORMA_INLINE { s = Vec{}; });
    const float* to_u = u;
    for (int64_t b = 0; b < c; ++b) {
      const float* from = v + (b * block + t) * kLanes;
#pragma GCC unroll 2
      for (int lane = 0; lane < kLanes; ++lane, to_u += K * kLanes)
        add_products(
            sum, [&](int r) NORMA_INLINE { return from[r * kLanes + lane]; },
            [&](int k) NORMA_INLINE { return load(to_u + k * kLanes); });
    }
    for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { store(m + (k * block + t + r) * kLanes, s); });
  }
}

// dU[c][k] (+)= the sum of V[t][c] Y[t][k], likewise.
template <int K>
void multiply_transposed(int64_t c, int64_t block, int64_t count, const float* v, const float* y, float* u, bool add) {
  constexpr int R = std::min(tile_rows(K), kLanes);
  for (int64_t i = 0; i < c * kLanes; i += R, u += R * K * kLanes) {
    Vec sum[R][K];
    for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { s = add ? load(u + (r * K + k) * kLanes) : Vec{}; });
    const float *from = v + i / kLanes * block * kLanes + i % kLanes, *from_y = y;
    for (int64_t t = 0; t < count; ++t, from += kLanes, from_y += kLanes)
      add_products(
          sum, [&](int r) NORMA_INLINE { return from[r]; },
          [&](int k) NORMA_INLINE { return load(from_y + k * block * kLanes); });
    for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { store(u + (r * K + k) * kLanes, s); });
  }
}

// Calls f(tile, corner in y, vector of channels, transform) for the tiles [first, first + count) and the vectors
// [begin, end) of output channels; transform(put) hands out A^T M A + bias.
template <class F, class G>
NORMA_INLINE inline void for_outputs(const Plan<F>& plan, float* y, const Images& out, int64_t first, int64_t count,
                                     int64_t begin, int64_t end, const float* bias, const float* m, G&& f) {
  const int64_t stride = plan.stride(end - begin);
  Tile<F> tile(plan, first);
  for (int64_t t = 0; t < count; ++t, ++tile) {
    float* corner = y + ((tile.image * out.h + tile.top) * out.w + tile.left) * out.c;
    for (int64_t b = begin; b < end; ++b) {
      const float* from = m + ((b - begin) * plan.block + t) * kLanes;
      // A constant is in M a single place, that of point 1 on both axes.
      const Vec offset = !bias ? Vec{} : load(bias + b * kLanes, std::min<int64_t>(out.c - b * kLanes, kLanes));
      f(tile, corner + b * kLanes, b, [&](auto&& put) NORMA_INLINE {
        transform<F::in, F::out, F::output>(
            [walk = Walk<F::in>(from, F::in * stride, stride), &offset](int i, int j) mutable NORMA_INLINE {
              const Vec value = load(walk(i));
              return i == 1 && j == 1 ? value + offset : value;
            },
            put);
      });
    }
  }
}

// Writes those outputs to y, or the largest of each 2 x 2 of them, by what make(channel, n) returns for the vector that
// begins at `channel`, where n are left: Plain or an Epilogue.
template <class F, class Make>
void write_output(const Plan<F>& plan, float* y, const Images& out, int64_t first, int64_t count, int64_t begin,
                  int64_t end, const float* bias, const float* m, [[maybe_unused]] bool max_pool, Make make) {
  const int64_t row = out.w * out.c;
  for_outputs(plan, y, out, first, count, begin, end, bias, m,
              [&](const Tile<F>& tile, float* to, int64_t b, auto&& run) NORMA_INLINE {
                const int64_t height = out.h - tile.top, width = out.w - tile.left, n = out.c - b * kLanes;
                Walk<F::out> walk(to, out.c, row);
                if constexpr (!std::is_same_v<decltype(make(b, n)), Plain>)
                  if (max_pool) {  // a tile has whole windows
                    const int64_t line = out.w / 2 * out.c;
                    float* corner =
                        y + (tile.image * (out.h / 2) + tile.top / 2) * line + tile.left / 2 * out.c + b * kLanes;
                    run([&, finish = make(b * kLanes, n)](int i, int j, Vec value) NORMA_INLINE {
                      if ((i | 1) < height && (j | 1) < width)
                        finish.pool(corner + i / 2 * line + j / 2 * out.c, value, (i | j) % 2 == 0);
                    });
                    return;
                  }
                if (height >= F::out && width >= F::out && n >= kLanes)
                  run([walk, finish = make(b * kLanes, kLanes)](int, int j, Vec value) mutable NORMA_INLINE {
                    finish(walk(j), value);
                  });
                else
                  run([&, finish = make(b * kLanes, n)](int i, int j, Vec value) NORMA_INLINE {
                    if (i < height && j < width) finish(to + i * row + j * out.c, value);
                  });
              });
}

// The weight [C_out, 3, 3, C_in], whose c are the channels on the side of V and k those on the other.
template <class T>
struct Filters {
  T* data;
  int64_t channels, filters;  // c, k
  bool turned;                // for the data gradient: c is C_out and k C_in, and the taps run backwards
  NORMA_INLINE T& operator()(int tap, int64_t c, int64_t k) const {
    return turned ? data[(c * 9 + 8 - tap) * filters + k] : data[(k * 9 + tap) * channels + c];
  }
};

// U = G w G^T of the vectors [from, to) of k.
template <class F>
void transform_weights(const Plan<F>& plan, const Filters<const float>& w, int64_t from, int64_t to, float* u) {
  const int64_t plane = plan.plane(to - from);
  plan.for_weights(from, to, [&](int64_t first_c, int64_t first_k, int64_t offset, int64_t step) {
    float taps[9][kLanes][kLanes];
    const int64_t channels = std::min<int64_t>(kLanes, w.channels - first_c);
    const int64_t filters = std::min<int64_t>(kLanes, w.filters - first_k);
    if (channels < kLanes || filters < kLanes) std::memset(taps, 0, sizeof taps);
    for (int tap = 0; tap < 9; ++tap)
      if (w.turned)
        for (int64_t c = 0; c < channels; ++c) std::copy_n(&w(tap, first_c + c, first_k), filters, taps[tap][c]);
      else
        for (int64_t k = 0; k < filters; ++k)
          for (int64_t c = 0; c < channels; ++c) taps[tap][c][k] = w(tap, first_c + c, first_k + k);
    for (int64_t c = 0; c < kLanes; ++c)
      transform<3, F::in, filter<F>>([&](int i, int j) NORMA_INLINE { return load(taps[i * 3 + j][c]); },
                                     [put = u + offset + c * step, plane](int, int, Vec v) mutable NORMA_INLINE {
                                       store(put, v);
                                       put += plane;
                                     });
  });
}

// V (Y) of all tiles, which are one block.
template <class F, int size, auto line>
void read_all_tiles(const Plan<F>& plan, const float* x, const Images& in, Pair padding, int64_t channels,
                    const float* zeros, float* v) {
  parallel_for(plan.tiles, 4, [&](int64_t begin, int64_t end) {
    read_tiles<F, size, line>(plan, x, in, padding, begin, end - begin, 0, channels, zeros, v + begin * kLanes);
  });
}

// y (+)= the convolution of x with w.
template <class F>
void convolve(int64_t n, const float* x, const Images& in, const Filters<const float>& w, Pair padding,
              const float* bias, float* y, const Images& out, bool add, const ConvEpilogue* after) {
  Plan<F> plan(n, out.h, out.w, in.c, out.c, in.c <= 256 ? 16 : 32);
  const bool wide = plan.make_wide(plan.c);
  if (!wide)
    plan.parts =
        std::clamp<int64_t>(4 / std::max<int64_t>(1, plan.blocks), 1, std::max<int64_t>(1, plan.k / kMaxVectors));
  const Scratch zeros(F::in * in.c);
  std::fill_n(static_cast<float*>(zeros), F::in * in.c, 0.F);
  const int64_t size_v = plan.size(plan.c), size_m = plan.size(plan.largest_part());

  // The vectors [from, to) of y of the tiles from `first` on: from their V, and U of the vectors [from_u, to_u).
  const auto finish = [&](int64_t first, const float* v, const float* u, int64_t from_u, int64_t to_u, float* m,
                          int64_t from, int64_t to) {
    const int64_t count = std::min(plan.block, plan.tiles - first), next = first + plan.block;
    Prefetch<F, false> read(plan, x, in, 2 - padding.h, next, std::clamp<int64_t>(plan.tiles - next, 0, plan.block));
    Prefetch<F, true> write(plan, y, out, 0, first, wide || (after && after->max_pool) ? 0 : count);
    const float* residual = after ? after->residual : nullptr;
    Prefetch<F, false> read_residual(plan, residual, out, 0, first, residual && !wide ? count : 0);
    for (int place = 0; place < plan.places; ++place) {
      read(place, plan.places);
      write(place, plan.places);
      read_residual(place, plan.places);
      for_groups(from, to, [&]<int K>(int64_t group) {
        multiply<K>(plan.c, plan.block, count, v + place * plan.stride(plan.c),
                    u + place * plan.plane(to_u - from_u) + (group - from_u) * plan.c * kLanes * kLanes,
                    m + place * plan.stride(to - from) + (group - from) * plan.block * kLanes);
      });
    }
    const auto output = [&](bool max_pool, auto make) {
      write_output(plan, y, out, first, count, from, to, bias, m, max_pool, make);
    };
    if (!after) return output(false, [=](int64_t, int64_t left) NORMA_INLINE { return Plain{left, add}; });
    with_epilogue(*after, [&]<class E>() {
      output(after->max_pool, [=](int64_t channel, int64_t left) NORMA_INLINE { return E(*after, y, channel, left); });
    });
  };

  // All threads read the one U or, where wide, the one V; the other is each task's own.
  const int64_t size_u = plan.places * plan.plane(wide ? plan.largest_part() : plan.k);
  const int64_t size_shared = wide ? size_v : size_u, size_own = wide ? size_u : size_v;
  const Scratch shared(size_shared);
  if (wide) read_all_tiles<F, F::in, F::input>(plan, x, in, padding, plan.c, zeros, shared);
  else transform_weights(plan, w, 0, plan.k, shared);
  reserve(size_own, size_m);
  parallel_for(plan.blocks * plan.parts, 1, [&](int64_t begin, int64_t end) {
    const Scratch own(size_own), other(size_m);
    // A product whose vectors all go into one register tile may overwrite its factor: less to keep in the cache.
    float* const m = !wide && plan.c == plan.k && plan.k <= kMaxVectors && plan.parts == 1 ? own : other;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t part = item / plan.blocks, first = item % plan.blocks * plan.block;
      const int64_t from = plan.part(part), to = plan.part(part + 1);
      if (wide) {
        transform_weights(plan, w, from, to, own);
        finish(first, shared, own, from, to, m, from, to);
      } else {
        const int64_t count = std::min(plan.block, plan.tiles - first);
        read_tiles<F, F::in, F::input>(plan, x, in, padding, first, count, 0, plan.c, zeros, own);
        finish(first, own, shared, 0, plan.k, m, from, to);
      }
    }
  });
}

// dw (+)= G^T dU G of the vectors [from, to) of k, where dU is the sum of `slots` buffers.
template <class F>
void transform_gradient(const Plan<F>& plan, const float* u, int64_t from, int64_t to, int64_t slots,
                        const Filters<float>& w, bool add) {
  const int64_t plane = plan.plane(to - from);
  plan.for_weights(from, to, [&](int64_t first_c, int64_t first_k, int64_t offset, int64_t step) {
    float taps[9][kLanes][kLanes];
    for (int64_t c = 0; c < kLanes; ++c)
      transform<F::in, 3, filter_gradient<F>>(
          [&](int i, int j) NORMA_INLINE {
            const float* p = u + offset + c * step + (i * F::in + j) * plane;
            Vec sum = load(p);
            for (int64_t slot = 1; slot < slots; ++slot) sum += load(p + slot * plan.places * plane);
            return sum;
          },
          [&](int i, int j, Vec v) NORMA_INLINE { store(taps[i * 3 + j][c], v); });
    const int64_t channels = std::min<int64_t>(kLanes, w.channels - first_c);
    const int64_t filters = std::min<int64_t>(kLanes, w.filters - first_k);
    for (int64_t k = 0; k < filters; ++k)
      for (int tap = 0; tap < 9; ++tap) {
        float* put = &w(tap, first_c, first_k + k);
        for (int64_t c = 0; c < channels; ++c) put[c] = add ? put[c] + taps[tap][c][k] : taps[tap][c][k];
      }
  });
}

// dw (+)= the gradient of the convolution's weight, added up in slots of blocks.
template <class F>
void gradient(int64_t n, const float* x, const Images& in, const float* dy, const Images& out, Pair padding,
              const Filters<float>& w, bool add) {
  if (n == 0 && !add) std::fill_n(w.data, 9 * in.c * out.c, 0.F);
  if (n == 0) return;
  const int64_t most = std::max(in.c, out.c);
  Plan<F> plan(n, out.h, out.w, in.c, out.c, most <= 64 ? 16 : most <= 128 ? 32 : 64);
  const bool wide = plan.make_wide(plan.c + plan.k);
  int64_t slots = 1;
  if (!wide) {
    const int64_t buffers = std::max<int64_t>(1, kBufferElements / (plan.places * plan.plane(plan.k)));
    slots = std::clamp<int64_t>(plan.tiles / kSlotTiles, 1, std::min<int64_t>(16, buffers));
    plan.parts = std::clamp<int64_t>(8 / slots, 1, std::max<int64_t>(1, plan.k / 8));
  }
  const Scratch zeros(F::in * most);
  std::fill_n(static_cast<float*>(zeros), F::in * most, 0.F);

  // Where wide, all threads read the one V and Y, and a task has a dU of its part; else it reads blocks into a V and Y
  // of its own, and its slot has a dU of all parts.
  const int64_t size_v = plan.size(plan.c), size_y = plan.size(wide ? plan.k : plan.largest_part());
  const int64_t size_u = plan.places * plan.plane(wide ? plan.largest_part() : plan.k);
  const Scratch all_v(wide ? size_v : 0), all_y(wide ? size_y : 0), all_u(wide ? 0 : slots * size_u);
  if (wide) {
    read_all_tiles<F, F::in, F::input>(plan, x, in, padding, plan.c, zeros, all_v);
    read_all_tiles<F, F::out, F::gradient>(plan, dy, out, 0, plan.k, zeros, all_y);
  }
  const int64_t size_own = wide ? size_u : size_v, size_own_y = wide ? 0 : size_y;
  reserve(size_own, size_own_y);
  parallel_slots(static_cast<int>(slots * plan.parts), [&](int64_t item) {
    const int64_t slot = item % slots, part = item / slots, from = plan.part(part), to = plan.part(part + 1);
    const Scratch own(size_own), own_y(size_own_y);
    float *v = wide ? all_v : own, *y = wide ? all_y : own_y, *u = wide ? own : all_u + slot * size_u;
    // The vectors that Y and dU have.
    const int64_t first_y = wide ? 0 : from, count_y = wide ? plan.k : to - from;
    const int64_t first_u = wide ? from : 0, count_u = wide ? to - from : plan.k;
    const int64_t begin = plan.blocks * slot / slots, end = plan.blocks * (slot + 1) / slots;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * plan.block, count = std::min(plan.block, plan.tiles - first);
      const int64_t next = first + plan.block, ahead = std::clamp<int64_t>(plan.tiles - next, 0, plan.block);
      if (!wide) {
        read_tiles<F, F::in, F::input>(plan, x, in, padding, first, count, 0, plan.c, zeros, v);
        read_tiles<F, F::out, F::gradient>(plan, dy, out, 0, first, count, from, to, zeros, y);
      }
      Prefetch<F, false> read_x(plan, x, in, 2 - padding.h, next, ahead), read_y(plan, dy, out, 0, next, ahead);
      for (int place = 0; place < plan.places; ++place) {
        read_x(place, plan.places);
        read_y(place, plan.places);
        for_groups(from, to, [&]<int K>(int64_t group) {
          multiply_transposed<K>(plan.c, plan.block, count, v + place * plan.stride(plan.c),
                                 y + place * plan.stride(count_y) + (group - first_y) * plan.block * kLanes,
                                 u + place * plan.plane(count_u) + (group - first_u) * plan.c * kLanes * kLanes,
                                 block > begin);
        });
      }
    }
    if (wide) transform_gradient(plan, u, from, to, 1, w, add);
  });
  if (!wide) transform_gradient(plan, all_u, 0, plan.k, slots, w, add);
}

template <class F>
struct Winograd {
  static void forward(const ConvGeometry& g, const float* x, const float* weight, const float* bias, float* y,
                      const ConvEpilogue* after) {
    convolve<F>(g.n, x, {g.h, g.w, g.c}, {weight, g.c, g.oc, false}, g.padding, bias, y, {g.oh, g.ow, g.oc}, false,
                after);
  }
  static void data(const ConvGeometry& g, const float* dy, const float* weight, float* dx, bool add) {
    const Pair padding = {2 - g.padding.h, 2 - g.padding.w};
    convolve<F>(g.n, dy, {g.oh, g.ow, g.oc}, {weight, g.oc, g.c, true}, padding, nullptr, dx, {g.h, g.w, g.c}, add,
                nullptr);
  }
  static void weights(const ConvGeometry& g, const float* x, const float* dy, float* dw, bool add) {
    gradient<F>(g.n, x, {g.h, g.w, g.c}, dy, {g.oh, g.ow, g.oc}, g.padding, {dw, g.c, g.oc, false}, add);
  }
};

}  // namespace

const ConvKernel winograd = {Winograd<F4>::forward, Winograd<F4>::data, Winograd<F4>::weights};
const ConvKernel winograd2 = {Winograd<F2>::forward, Winograd<F2>::data, Winograd<F2>::weights};

NORMA_SIMD_END
