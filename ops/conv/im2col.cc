// The column matrix has a row for each output pixel and a column for each weight of a filter, in the order of the
// weight's memory: y = columns weight^T, dcolumns = dy weight, dw = dy^T columns. It is made a block of output rows at
// a time, so that it stays in the cache. A 1x1 convolution needs no such matrix: its x is one.
#include "norma/core/parallel.h"
#include "norma/ops/conv/kernels.h"
#include "norma/ops/gemm.h"

namespace norma::cpu {
namespace {

constexpr int64_t kBlockElements = 1 << 16;   // of the column matrix: what a cache holds, except that
constexpr int64_t kBlockPixels = 128;         // with fewer output pixels a product is busy packing the weight
constexpr int64_t kSlotWork = 1 << 18;        // multiply-adds that are worth waking a thread
constexpr int64_t kBufferElements = 1 << 20;  // of the weight's gradient in all slots; but eight slots there are

// The sizes of the column matrix, and how its making is cut up.
struct Layout {
  const ConvGeometry& g;
  const int64_t channels = g.c / g.groups, filters = g.oc / g.groups;  // of a group
  const int64_t depth = g.kh * g.kw * channels;                        // columns of the matrix
  const int64_t rows = g.n * g.oh;                                     // output rows of all images
  // Output rows whose columns are made at a time, and those that a slot should have.
  const int64_t block = std::max(kBlockElements / depth, kBlockPixels) / g.ow + 1;
  const int64_t grain = std::max(kSlotWork / (g.oc * depth), kBlockPixels) / g.ow + 1;
  // x is the column matrix.
  const bool pointwise = g.kh == 1 && g.kw == 1 && g.padding == Pair(0) && g.oh == g.h && g.ow == g.w &&
                         (g.oh == 1 || g.stride.h == 1) && (g.ow == 1 || g.stride.w == 1);

  // Of a group: its filters, and their outputs in `count` output rows.
  template <class T>
  Matrix<T> weights(T* weight, int64_t group) const {
    return {weight + group * filters * depth, filters, depth};
  }
  template <class T>
  Matrix<T> outputs(T* y, int64_t row, int64_t count, int64_t group) const {
    return {y + row * g.ow * g.oc + group * filters, count * g.ow, filters, g.oc};
  }
};

// Walks the column matrix of output rows [begin, end) in runs that are contiguous in it and in x. Calls
// inside(place, offset in x, n), or outside(place, n) for padding.
template <class Inside, class Outside>
void for_runs(const ConvGeometry& g, int64_t group, int64_t begin, int64_t end, Inside&& inside, Outside&& outside) {
  const int64_t channels = g.c / g.groups, taps = g.groups == 1 && g.dilation.w == 1 ? g.kw : 1;  // of a run
  int64_t place = 0;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t image = row / g.oh, oy = row % g.oh;
    for (int64_t ox = 0; ox < g.ow; ++ox) {
      for (int64_t ky = 0; ky < g.kh; ++ky) {
        const int64_t iy = g.rows().input(oy, ky);
        for (int64_t kx = 0; kx < g.kw; kx += taps, place += taps * channels) {
          const int64_t ix = g.columns().input(ox, kx);
          const int64_t first = iy < 0 || iy >= g.h ? taps : std::clamp<int64_t>(-ix, 0, taps);
          const int64_t last = std::clamp<int64_t>(g.w - ix, first, taps);
          if (first > 0) outside(place, first * channels);
          if (first < last) {
            const int64_t offset = ((image * g.h + iy) * g.w + ix + first) * g.c + group * channels;
            inside(place + first * channels, offset, (last - first) * channels);
          }
          if (last < taps) outside(place + last * channels, (taps - last) * channels);
        }
      }
    }
  }
}

// Blocks of the column matrix, one after another in the same memory.
template <class T>
struct Columns {
  const Layout& layout;
  const ConvGeometry& g = layout.g;
  const Tensor memory{{layout.pointwise ? 0 : std::min(layout.block, layout.rows) * g.ow * layout.depth},
                      dtype_of<T>()};
  T* const data = memory.mutable_data<T>();

  // The columns of `rows` output rows from `begin` on, for the channels of one group.
  Matrix<const T> unfold(const T* x, int64_t group, int64_t begin, int64_t rows) const {
    if (layout.pointwise) return {x + begin * g.w * g.c + group * layout.channels, rows * g.ow, layout.depth, g.c};
    for_runs(
        g, group, begin, begin + rows,
        [&](int64_t place, int64_t offset, int64_t n) { std::copy_n(x + offset, n, data + place); },
        [&](int64_t place, int64_t n) { std::fill_n(data + place, n, T(0)); });
    return {data, rows * g.ow, layout.depth};
  }

  // The way back: adds the columns of output rows [begin, end) into the input's gradient.
  void add_into(T* dx, int64_t group, int64_t begin, int64_t end) const {
    for_runs(
        g, group, begin, end,
        [&](int64_t place, int64_t offset, int64_t n) {
          const T* __restrict from = data + place;
          T* __restrict to = dx + offset;
          for (int64_t i = 0; i < n; ++i) to[i] += from[i];
        },
        [](int64_t, int64_t) {});
  }
};

// Calls f(row, rows, group) for blocks that cover output rows [begin, end), group by group.
template <class F>
void for_blocks(const Layout& layout, int64_t begin, int64_t end, F&& f) {
  for (int64_t row = begin; row < end; row += layout.block)
    for (int64_t group = 0; group < layout.g.groups; ++group) f(row, std::min(layout.block, end - row), group);
}

template <class T>
void forward(const ConvGeometry& g, const T* x, const T* weight, const T* bias, T* y, const ConvEpilogue*) {
  const Layout layout = {g};
  parallel_for(layout.rows, layout.grain, [&](int64_t begin, int64_t end) {
    const Columns<T> columns = {layout};
    for_blocks(layout, begin, end, [&](int64_t row, int64_t rows, int64_t group) {
      if (bias && group == 0)
        for (int64_t pixel = row * g.ow; pixel < (row + rows) * g.ow; ++pixel)
          std::copy_n(bias, g.oc, y + pixel * g.oc);
      gemm(columns.unfold(x, group, row, rows), layout.weights(weight, group).transpose(),
           layout.outputs(y, row, rows, group), bias != nullptr);
    });
  });
}

template <class T>
void backward_input(const ConvGeometry& g, const T* dy, const T* weight, T* dx, bool add) {
  const Layout layout = {g};
  // columns (+)= dy weight, for one group.
  const auto product = [&](int64_t row, int64_t rows, int64_t group, T* columns, int64_t stride, bool onto) {
    gemm(layout.outputs(dy, row, rows, group), layout.weights(weight, group),
         Matrix<T>{columns, rows * g.ow, layout.depth, stride}, onto);
  };
  if (layout.pointwise)
    return parallel_for(layout.rows, layout.grain, [&](int64_t begin, int64_t end) {
      for (int64_t group = 0; group < g.groups; ++group)
        product(begin, end - begin, group, dx + begin * g.w * g.c + group * layout.channels, g.c, add);
    });
  // Windows overlap, so it is the images of dx that are shared out.
  parallel_for(g.n, layout.grain / g.oh + 1, [&](int64_t begin, int64_t end) {
    const Columns<T> columns = {layout};
    const int64_t image = g.h * g.w * g.c;
    if (!add) std::fill(dx + begin * image, dx + end * image, T(0));
    for_blocks(layout, begin * g.oh, end * g.oh, [&](int64_t row, int64_t rows, int64_t group) {
      product(row, rows, group, columns.data, layout.depth, false);
      columns.add_into(dx, group, row, row + rows);
    });
  });
}

template <class T>
void backward_weight(const ConvGeometry& g, const T* x, const T* dy, T* dw, bool add) {
  const Layout layout = {g};
  const int64_t size = g.oc * layout.depth;
  const int slots =
      slot_count(layout.rows, layout.grain, static_cast<int>(std::clamp<int64_t>(kBufferElements / size, 8, 32)));
  const Tensor buffer = zeros({slots, size}, dtype_of<T>());  // [slot][oc][depth]
  T* const partial = buffer.mutable_data<T>();
  parallel_slots(slots, [&](int slot) {
    const Columns<T> columns = {layout};
    const auto add_block = [&](int64_t row, int64_t rows, int64_t group) {
      gemm(layout.outputs(dy, row, rows, group).transpose(), columns.unfold(x, group, row, rows),
           layout.weights(partial + slot * size, group), true);
    };
    for_blocks(layout, layout.rows * slot / slots, layout.rows * (slot + 1) / slots, add_block);
  });
  parallel_each(size, 4096, [&](int64_t i) {
    double sum = add ? dw[i] : 0;
    for (int slot = 0; slot < slots; ++slot) sum += partial[slot * size + i];
    dw[i] = static_cast<T>(sum);
  });
}

}  // namespace

const ConvPasses<float> im2col_f32 = {forward<float>, backward_input<float>, backward_weight<float>};
const ConvPasses<double> im2col_f64 = {forward<double>, backward_input<double>, backward_weight<double>};

}  // namespace norma::cpu
