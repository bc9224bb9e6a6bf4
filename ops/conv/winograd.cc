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
// A thread takes a block from one end to the other while it is in its cache. backward_input is the same with the
// filters turned round, backward_weight its transpose: dU[i] += V[i]^T (A dy A^T)[i], dw = G^T dU G.
//
// Channels are cut into vectors of kLanes. V and M are [place][vector][tile][lane], the places a cache line further
// apart than that (else they fall on each other in the cache); U and dU are [place][group of vectors][C][vector][lane],
// a group being what a register tile of the product covers.
#include "norma/core/scratch.h"
#include "norma/ops/conv/packed_weights.h"
#include "norma/ops/conv/winograd_plan.h"
#include "norma/ops/conv/winograd_transforms.h"

NORMA_SIMD_BEGIN
namespace {

// Images whose tiles are transformed: x or dy.
template <class F>
struct Source {
  const float* data;
  const Images size;
  const Pair padding;  // pixels from where a tile of y begins back to where the pixels it needs begin
  const Tensor zeros = norma::zeros(F::in * size.c);                    // a row of pixels above or below the image
  const float* const below = data + (2 - padding.h) * size.w * size.c;  // what no tile before has read, roughly
};

// V = B^T d B (Y = A dy A^T): transforms the `size` x `size` pixels of each of the tiles [first, first + count), for
// the vectors `of` of channels.
template <class F, int size, auto line>
void read_tiles(const WinogradPlan<F>& plan, const Source<F>& source, int64_t first, int64_t count, Range of,
                float* v) {
  const Images& in = source.size;
  const int64_t stride = plan.stride(of.size()), row = in.w * in.c;
  const float* zeros = source.zeros.template data<float>();
  for (int64_t t = 0; t < count; ++t) {
    const auto& tile = plan.order[first + t];
    const int64_t top = tile.top - source.padding.h, left = tile.left - source.padding.w;
    const float* corner = source.data + ((tile.image * in.h + top) * in.w + left) * in.c;
    const bool inside = top >= 0 && left >= 0 && top + size <= in.h && left + size <= in.w;
    const float* rows[size];
    for (int i = 0; i < size; ++i) rows[i] = top + i >= 0 && top + i < in.h ? corner + i * row : zeros;
    const int64_t first_column = -left, columns = in.w - left;
    for (int64_t b = of.begin; b < of.end; ++b) {
      float* to = v + ((b - of.begin) * plan.block + t) * kLanes;
      const int64_t channel = b * kLanes, n = in.c - channel;
      const auto put = [to, stride](int, int, Vec value) NORMA_MUTABLE_INLINE {
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
        const auto at = [walk = Walk<size>{corner + channel, row, in.c}](int i, int)
                            NORMA_MUTABLE_INLINE { return load(walk(i)); };
        transform<size, F::in, line>(at, put);
      }
    }
  }
}

// The same of all tiles, which are one block.
template <class F, int size, auto line>
void read_all_tiles(const WinogradPlan<F>& plan, const Source<F>& source, float* v) {
  parallel_for(plan.tiles, 4, [&](int64_t begin, int64_t end) {
    read_tiles<F, size, line>(plan, source, begin, end - begin, {0, vectors(source.size.c)}, v + begin * kLanes);
  });
}

// M[t][k] = the sum of V[t][c] U[c][k] for the tiles `of` the block, or some more, c vectors of channels, and K vectors
// of k.
template <int K>
void multiply(int64_t c, int64_t block, Range of, const float* v, const float* u, float* m) {
  constexpr int R = tile_rows(K);
  for (int64_t t = of.begin / R * R; t < of.end; t += R) {
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

// dU[c][k] (+)= the sum of V[t][c] Y[t][k], likewise. The groups are smaller here: with 32 registers a tile of 8 x 2
// takes a fifth less time than one of 4 x 4. From 8 vectors of channels on, dU is larger than a core's cache, and
// adding to it would wait for memory.
constexpr int kGradientVectors = std::min(kMaxVectors, kRegisters == 32 ? 2 : 3);
template <int K>
void multiply_transposed(int64_t c, int64_t block, Range of, const float* v, const float* y, float* u, bool add) {
  constexpr int R = std::min(tile_rows(K), kLanes);
  for (int64_t i = 0; i < c * kLanes; i += R, u += R * K * kLanes) {
    Vec sum[R][K];
    for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { s = add ? load(u + (r * K + k) * kLanes) : Vec{}; });
    if (add && c >= 8) prefetch<true>(u + 2 * R * K * kLanes, R * K * kLanes);
    const float *from = v + (i / kLanes * block + of.begin) * kLanes + i % kLanes, *from_y = y + of.begin * kLanes;
    for (int64_t t = of.begin; t < of.end; ++t, from += kLanes, from_y += kLanes)
      add_products(
          sum, [&](int r) NORMA_INLINE { return from[r]; },
          [&](int k) NORMA_INLINE { return load(from_y + k * block * kLanes); });
    for_tile(sum, [&](Vec& s, int r, int k) NORMA_INLINE { store(u + (r * K + k) * kLanes, s); });
  }
}

// The weight [C_out, 3, 3, C_in], whose c are the channels on the side of V and k those on the other.
struct Filters {
  const float* data;
  int64_t channels, filters;  // c, k
  bool turned;                // for backward_input: c is C_out and k C_in, and the taps run backwards
};

// The weights of kLanes channels by kLanes filters from (first_c, first_k) on, by the taps as they are used; zeros
// where there are none.
void read_taps(const Filters& w, int64_t first_c, int64_t first_k, float (&taps)[9][kLanes][kLanes]) {
  const int64_t channels = std::min<int64_t>(kLanes, w.channels - first_c);
  const int64_t filters = std::min<int64_t>(kLanes, w.filters - first_k);
  if (channels < kLanes || filters < kLanes) std::memset(taps, 0, sizeof taps);
  for (int tap = 0; tap < 9; ++tap)
    if (w.turned)
      for (int64_t c = 0; c < channels; ++c)
        std::copy_n(w.data + ((first_c + c) * 9 + 8 - tap) * w.filters + first_k, filters, taps[tap][c]);
    else
      for (int64_t k = 0; k < filters; ++k)
        for (int64_t c = 0; c < channels; ++c)
          taps[tap][c][k] = w.data[((first_k + k) * 9 + tap) * w.channels + first_c + c];
}

// U = G w G^T of the vectors `of` of k.
template <class F>
void transform_weights(const WinogradPlan<F>& plan, const Filters& w, Range of, float* u) {
  const int64_t plane = plan.plane(of.size());
  plan.template for_weights<kMaxVectors>(of, [&](int64_t first_c, int64_t first_k, int64_t offset, int64_t step) {
    float taps[9][kLanes][kLanes];
    read_taps(w, first_c, first_k, taps);
    for (int64_t c = 0; c < kLanes; ++c)
      transform<3, F::in, filter<F>>([&](int i, int j) NORMA_INLINE { return load(taps[i * 3 + j][c]); },
                                     [put = u + offset + c * step, plane](int, int, Vec v) NORMA_MUTABLE_INLINE {
                                       store(put, v);
                                       put += plane;
                                     });
  });
}

// y (+)= bias + the convolution of x with w, or the epilogue of that.
template <class F>
struct WinogradConvolution {
  const int64_t n;  // images
  const Source<F> x;
  const Filters w;
  float* y;
  const Images out;             // y's
  const float* bias = nullptr;  // or [C_out]
  bool add = false;
  const ConvEpilogue* after = nullptr;
  const WinogradPlan<F> plan = WinogradPlan<F>::of_convolution(n, out, x.size.c);

  // All threads read the one U or, where the plan is wide, the one V; the other is each task's own.
  void run() const {
    const int64_t size_v = plan.size(plan.c), size_m = plan.size(plan.largest_part());
    const int64_t size_u = plan.places * plan.plane(plan.wide ? plan.largest_part() : plan.k);
    const int64_t size_own = plan.wide ? size_u : size_v;
    const Scratch shared(plan.wide ? size_v : 0);
    const PackedWeights::Form form = {w.data, {kLanes, F::in, w.turned, w.channels, w.filters, plan.parts}};
    const auto transform_all = [&](float* to) { transform_weights(plan, w, {0, plan.k}, to); };
    if (plan.wide) read_all_tiles<F, F::in, F::input>(plan, x, shared);
    const Tensor all_u = plan.wide ? Tensor() : PackedWeights::find(form, size_u, transform_all);
    const float* const u = all_u.data_or_null<float>();
    reserve(size_own, size_m);
    parallel_for(plan.blocks * plan.parts, 1, [&](int64_t begin, int64_t end) {
      const Scratch own(size_own), other(size_m);
      // A product whose vectors all go into one register tile may overwrite its factor: less to keep in the cache.
      float* const m = !plan.wide && plan.c == plan.k && plan.k <= kMaxVectors && plan.parts == 1 ? own : other;
      for (int64_t item = begin; item < end; ++item) {
        const int64_t first = item % plan.blocks * plan.block, count = plan.tiles_from(first);
        const Range part = plan.part(item / plan.blocks);
        if (plan.wide) transform_weights(plan, w, part, own);
        else read_tiles<F, F::in, F::input>(plan, x, first, count, {0, plan.c}, own);
        multiply_block(first, part, plan.wide ? shared : own, plan.wide ? own : u, m);
        with_epilogue(after, [&]<class E>() { write_block<E>(first, count, part, m); });
      }
    });
  }

  // M of the block that begins at tile `first`, for the vectors `part` of output channels. On the way fetches what is
  // used next: the pixels of the next block, and those that this one's output goes to.
  void multiply_block(int64_t first, Range part, const float* v, const float* u, float* m) const {
    const float* residual = after ? after->residual : nullptr;
    const auto read = plan.pixels(x.below, x.size, first + plan.block);
    const auto write = plan.template pixels<true>(y, out, first, !plan.wide && !(after && after->max_pool));
    const auto read_residual = plan.pixels(residual ? residual : y, out, first, residual && !plan.wide);
    const Range in_u = plan.wide ? part : Range{0, plan.k};
    const auto cuts = plan.cuts(first);
    for (int place = 0; place < plan.places; ++place) {
      read(place, plan.places);
      write(place, plan.places);
      read_residual(place, plan.places);
      for_groups(part.begin, part.end, [&]<int K>(int64_t group) {
        multiply<K>(plan.c, plan.block, plan.in_need(cuts, place), v + place * plan.stride(plan.c),
                    u + place * plan.plane(in_u.size()) + (group - in_u.begin) * plan.c * kLanes * kLanes,
                    m + place * plan.stride(part.size()) + (group - part.begin) * plan.block * kLanes);
      });
    }
  }

  // Whether the M of these vectors and tiles, cut in one way, have seen finite pixels only, none so large that V was
  // not. Each pixel that the outputs depend on has its largest coefficient of B^T in the first or the last line or,
  // where the last is left out, in the first, the second or the last but one.
  bool finite(const float* m, int64_t vectors_of_m, Range of, int cut, int64_t stride) const {
    const bool right = cut % 3 == 0, below = cut >= 2;
    const int64_t down[] = {0, below ? 1 : F::in - 1, F::in - 2}, along[] = {0, right ? 1 : F::in - 1, F::in - 2};
    Vec sum{};
    for (int64_t b = 0; b < vectors_of_m; ++b)
      for (int i = 0; i < 2 + below; ++i)
        for (int j = 0; j < 2 + right; ++j)
          for (int64_t t = of.begin; t < of.end; ++t)
            sum += load(m + (down[i] * F::in + along[j]) * stride + (b * plan.block + t) * kLanes);
    for (int lane = 0; lane < kLanes; ++lane)
      if (!std::isfinite(sum[lane])) return false;
    return true;
  }

  // Calls put(i, j, output) for the outputs of a tile, from `channel` on, each from its own window only: the transforms
  // would spread an infinity or a NaN over the tile.
  template <class Put>
  void convolve(const typename WinogradPlan<F>::Tile& tile, int64_t channel, const Vec& offset, Put&& put) const {
    Vec sums[F::out][F::out];
    for_tile(sums, [&](Vec& sum, int, int) { sum = offset; });
    for (int64_t c = 0; c < w.channels; c += kLanes) {
      float taps[9][kLanes][kLanes];
      read_taps(w, c, channel, taps);
      for (int place = 0; place < F::out * F::out * 9; ++place) {
        const int i = place / 9 / F::out, j = place / 9 % F::out, tap = place % 9;
        const int64_t row = tile.top + i + tap / 3 - x.padding.h, column = tile.left + j + tap % 3 - x.padding.w;
        if (row < 0 || row >= x.size.h || column < 0 || column >= x.size.w) continue;
        const float* pixel = x.data + ((tile.image * x.size.h + row) * x.size.w + column) * w.channels + c;
        for (int64_t k = 0; k < std::min<int64_t>(kLanes, w.channels - c); ++k)
          sums[i][j] += pixel[k] * load(taps[tap][k]);
      }
    }
    for_tile(sums, [&](const Vec& sum, int i, int j) { put(i, j, sum); });
  }

  // Writes A^T M A + bias to y, or the largest of each 2 x 2 of them, by E: Plain or an Epilogue.
  template <class E>
  void write_block(int64_t first, int64_t count, Range part, const float* m) const {
    const int64_t stride = plan.stride(part.size()), c = out.c, row = out.w * c;
    const auto cuts = plan.cuts(first);
    bool all_finite = true;
    for (int cut = 0; cut < 4; ++cut) all_finite &= finite(m, part.size(), {cuts[cut], cuts[cut + 1]}, cut, stride);
    for (int64_t t = 0; t < count; ++t) {
      const auto& tile = plan.order[first + t];
      const int64_t height = out.h - tile.top, width = out.w - tile.left;
      for (int64_t b = part.begin; b < part.end; ++b) {
        const int64_t channel = b * kLanes, left = c - channel;
        const float* from = m + ((b - part.begin) * plan.block + t) * kLanes;
        float* to = y + ((tile.image * out.h + tile.top) * out.w + tile.left) * c + channel;
        // A constant is in M a single place, that of point 1 on both axes.
        // (Where a tile is cut, the last line of M is whatever is in memory, and the outputs it has a part in are not
        // put.)
        const Vec offset = !bias ? Vec{} : load(bias + channel, std::min<int64_t>(left, kLanes));
        const auto transform_to = [&](auto&& put) NORMA_INLINE {
          if (!all_finite && !finite(from, 1, {0, 1}, plan.cut(tile), stride)) [[unlikely]]
            return convolve(tile, channel, offset, put);
          transform<F::in, F::out, F::output>(
              [walk = Walk<F::in>{from, F::in * stride, stride}, &offset](int i, int j) NORMA_MUTABLE_INLINE {
                const Vec value = load(walk(i));
                return i == 1 && j == 1 ? value + offset : value;
              },
              put);
        };
        const E finish = {after, y, channel, left, add};
        if (after && after->max_pool) {  // a tile has whole windows
          const int64_t line = out.w / 2 * c;
          float* corner = y + (tile.image * (out.h / 2) + tile.top / 2) * line + tile.left / 2 * c + channel;
          transform_to([&](int i, int j, Vec value) NORMA_INLINE {
            if ((i | 1) < height && (j | 1) < width)
              finish.pool(corner + i / 2 * line + j / 2 * c, value, (i | j) % 2 == 0);
          });
        } else if (height >= F::out && width >= F::out && left >= kLanes)
          transform_to([walk = Walk<F::out>{to, c, row}, whole = E{after, y, channel, kLanes, add}](
                           int, int j, Vec value) NORMA_MUTABLE_INLINE { whole(walk(j), value); });
        else
          transform_to([&](int i, int j, Vec value) NORMA_INLINE {
            if (i < height && j < width) finish(to + i * row + j * c, value);
          });
      }
    }
  }
};

// dw (+)= G^T dU G of the vectors `of` of k, where dU is the sum of all slots'.
template <class F>
void transform_gradient(const WinogradPlan<F>& plan, const float* u, Range of, float* dw, bool add) {
  const int64_t plane = plan.plane(of.size());
  plan.template for_weights<kGradientVectors>(of, [&](int64_t first_c, int64_t first_k, int64_t offset, int64_t step) {
    float taps[9][kLanes][kLanes];
    for (int64_t c = 0; c < kLanes; ++c)
      transform<F::in, 3, filter_gradient<F>>(
          [&](int i, int j) NORMA_INLINE {
            const float* p = u + offset + c * step + (i * F::in + j) * plane;
            Vec sum = load(p);
            for (int64_t slot = 1; slot < plan.slots; ++slot) sum += load(p + slot * plan.places * plane);
            return sum;
          },
          [&](int i, int j, Vec v) NORMA_INLINE { store(taps[i * 3 + j][c], v); });
    const int64_t channels = std::min<int64_t>(kLanes, plan.channels - first_c);
    const int64_t filters = std::min<int64_t>(kLanes, plan.out.c - first_k);
    for (int64_t k = 0; k < filters; ++k)
      for (int tap = 0; tap < 9; ++tap) {
        float* put = dw + ((first_k + k) * 9 + tap) * plan.channels + first_c;
        for (int64_t c = 0; c < channels; ++c) put[c] = add ? put[c] + taps[tap][c][k] : taps[tap][c][k];
      }
  });
}

// dw (+)= the weight's gradient, added up in slots of blocks.
template <class F>
struct WinogradWeightGradient {
  const int64_t n;  // images
  const Source<F> x, dy;
  const WinogradPlan<F> plan = WinogradPlan<F>::of_weight_gradient(n, dy.size, x.size.c);

  // Where the plan is wide, all threads read the one V and Y, and a task has a dU of its part; else it reads blocks
  // into a V and Y of its own, and its slot has a dU of all parts.
  void run(float* dw, bool add) const {
    const bool wide = plan.wide;
    const int64_t size_v = plan.size(plan.c), size_y = plan.size(wide ? plan.k : plan.largest_part());
    const int64_t size_u = plan.places * plan.plane(wide ? plan.largest_part() : plan.k);
    const Scratch all_v(wide ? size_v : 0), all_y(wide ? size_y : 0), all_u(wide ? 0 : plan.slots * size_u);
    if (wide) {
      read_all_tiles<F, F::in, F::input>(plan, x, all_v);
      read_all_tiles<F, F::out, F::gradient>(plan, dy, all_y);
    }
    const int64_t size_own = wide ? size_u : size_v, size_own_y = wide ? 0 : size_y;
    reserve(size_own, size_own_y);
    parallel_slots(static_cast<int>(plan.slots * plan.parts), [&](int64_t item) {
      const int64_t slot = item % plan.slots;
      const Range part = plan.part(item / plan.slots);
      const Scratch own(size_own), own_y(size_own_y);
      if (wide) {
        sum_slot(slot, part, all_v, all_y, own);
        transform_gradient(plan, own, part, dw, add);
      } else sum_slot(slot, part, own, own_y, all_u + slot * size_u);
    });
    if (!wide) transform_gradient(plan, all_u, {0, plan.k}, dw, add);
  }

  // dU of one slot's blocks, for the vectors `part` of k.
  void sum_slot(int64_t slot, Range part, float* v, float* y, float* u) const {
    const Range all = {0, plan.k}, in_y = plan.wide ? all : part, in_u = plan.wide ? part : all;
    const int64_t begin = plan.blocks * slot / plan.slots, end = plan.blocks * (slot + 1) / plan.slots;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * plan.block, count = plan.tiles_from(first);
      if (!plan.wide) {
        read_tiles<F, F::in, F::input>(plan, x, first, count, {0, plan.c}, v);
        read_tiles<F, F::out, F::gradient>(plan, dy, first, count, part, y);
      }
      const auto read_x = plan.pixels(x.below, x.size, first + plan.block),
                 read_y = plan.pixels(dy.data, dy.size, first + plan.block);
      const auto cuts = plan.cuts(first);
      for (int place = 0; place < plan.places; ++place) {
        read_x(place, plan.places);
        read_y(place, plan.places);
        for_groups<kGradientVectors>(part.begin, part.end, [&]<int K>(int64_t group) {
          multiply_transposed<K>(plan.c, plan.block, plan.in_need(cuts, place), v + place * plan.stride(plan.c),
                                 y + place * plan.stride(in_y.size()) + (group - in_y.begin) * plan.block * kLanes,
                                 u + place * plan.plane(in_u.size()) + (group - in_u.begin) * plan.c * kLanes * kLanes,
                                 block > begin);
        });
      }
    }
  }
};

template <class F>
struct Winograd {
  static void forward(const ConvGeometry& g, const float* x, const float* weight, const float* bias, float* y,
                      const ConvEpilogue* after) {
    const Source<F> from = {x, {g.h, g.w, g.c}, g.padding};
    WinogradConvolution<F>{g.n, from, {weight, g.c, g.oc, false}, y, {g.oh, g.ow, g.oc}, bias, false, after}.run();
  }
  static void backward_input(const ConvGeometry& g, const float* dy, const float* weight, float* dx, bool add) {
    const Source<F> from = {dy, {g.oh, g.ow, g.oc}, {2 - g.padding.h, 2 - g.padding.w}};
    WinogradConvolution<F>{g.n, from, {weight, g.oc, g.c, true}, dx, {g.h, g.w, g.c}, nullptr, add}.run();
  }
  static void backward_weight(const ConvGeometry& g, const float* x, const float* dy, float* dw, bool add) {
    WinogradWeightGradient<F>{.n = g.n, .x = {x, {g.h, g.w, g.c}, g.padding}, .dy = {dy, {g.oh, g.ow, g.oc}, 0}}.run(
        dw, add);
  }
  static constexpr ConvKernel kernel = {forward, backward_input, backward_weight};
};

}  // namespace

const ConvKernel winograd = Winograd<F4>::kernel;
const ConvKernel winograd2 = Winograd<F2>::kernel;

NORMA_SIMD_END
