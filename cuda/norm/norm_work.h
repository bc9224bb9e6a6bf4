// How the work of cuda/norm/norm.cu is cut up. Rows of channels are cut into pieces of one set each; a CUDA
// block takes some columns of a piece, a thread one column. What is summed by piece and column is then combined by
// cell, or by channel, in an order that depends on the shapes alone. Not a public header.
#pragma once

#include <numeric>

#include "norma/cuda/sums.h"
#include "norma/ops/norm/cell_math.h"
#include "norma/ops/norm/kernels.h"

namespace norma::cuda {

// Count, mean and sum of squared deviations; + is of two disjoint sets of elements (Chan et al. 1979).
struct Moment {
  double count, mean, m2;
  __device__ Moment operator+(const Moment& b) const {
    const double n = count + b.count, delta = b.mean - mean;
    if (n == 0) return {};
    const double weight = b.count / n;
    return {n, mean + delta * weight, m2 + b.m2 + delta * delta * count * weight};
  }
};
// Of n elements whose deviations from `shift` have the sums s and q (of squares).
__device__ inline Moment shifted(double n, double shift, double s, double q) {
  const double m2 = q - s * s / n;
  return {n, shift + s / n, m2 > 0 ? m2 : 0};
}

struct Piece {  // consecutive rows of one tensor in one set
  int64_t first_row, rows, set;
};

// dx = scale dy - (x - high) rstd slope - offset, of a cell. (Divided by s, so that neither factor is beyond float.)
template <class T>
struct CellSlope {
  T rstd = 0, slope = 0, offset = 0;
};

// Where every row is a set, what an element needs of its cell, in T, or each would convert it from double; xhat is
// (x - high) inv + shift.
template <class T>
struct RowCell {
  T high, inv, shift;
  CellSlope<T> gradient;
};

// What every kernel of a call of norm knows.
template <class T>
struct Passes : NormDims {
  bool center;
  Activation::Kind kind;
  T leak;
  int width, lanes;                       // of a block: columns, and threads of each
  const Piece* pieces;                    // by tensor
  const int64_t *set_begin, *set_pieces;  // the pieces of a set: set_pieces[set_begin[set]] and on
  const double* parts;                    // [kNormCellParts, cells]
  const T *gamma, *beta, *post_bias;      // null: 1, 0, 0
  const RowCell<T>* row_cells;            // [cells], where every row is a set

  __device__ double part(NormCellPart k, int64_t cell) const { return parts[k * cells() + cell]; }
  // The entry of gamma and beta of their set and of channel c.
  __device__ int64_t affine(int64_t of, int64_t c) const {
    return of * affine_size() + (c < affine_channels ? c : c % affine_channels);  // few wrap, and a division is long
  }
  __device__ T weight(int64_t set, int64_t c) const { return gamma ? gamma[affine(affine_set(set), c)] : T(1); }
  __device__ T bias(int64_t set, int64_t c) const { return beta ? beta[affine(affine_set(set), c)] : T(0); }
};

// A thread's part of a piece: the rows of one column from `row` on, every `step`-th.
struct Tile {
  int64_t set, c, first, row, end, step;  // first: of the piece
  int64_t place;                          // of the column's result, piece by piece; -1: another thread writes it
};

template <class T, class F>
__global__ void tile_kernel(Passes<T> call, int64_t first_piece, F f) {
  const int64_t tiles = (call.channels + call.width - 1) / call.width, lane = threadIdx.x / call.width;
  const int64_t piece = first_piece + blockIdx.x / tiles,
                c = blockIdx.x % tiles * call.width + threadIdx.x % call.width;
  const Piece& p = call.pieces[piece];
  const bool inside = c < call.channels;  // else there is no row to work on
  f(call, Tile{p.set, c, p.first_row, p.first_row + lane, inside ? p.first_row + p.rows : 0, call.lanes,
               inside && lane == 0 ? piece * call.channels + c : -1});
}

// Thread (i, lane) combines make(call, i, k) for k = lane, lane + lanes, ... below count(call, i).
template <class T, class Count, class Make, class Store>
__global__ void combine_kernel(Passes<T> call, int64_t n, Count count, Make make, Store store) {
  const int64_t i = int64_t{blockIdx.x} * call.width + threadIdx.x % call.width;
  decltype(make(call, i, i)) sum{};
  for (int64_t k = threadIdx.x / call.width, end = i < n ? count(call, i) : 0; k < end; k += call.lanes)
    sum = sum + make(call, i, k);
  sum = reduce_block(sum, call.width, Plus());
  if (i < n && static_cast<int>(threadIdx.x) < call.width) store(call, i, sum);
}

// A table on the device; kept, since each step asks for the same ones: then it copies nothing.
Tensor on_device(PoolVector<int64_t> table, Device device);

// The work cut up: on the host, and on the device as far as the kernels read it.
template <class T>
class Work {
 public:
  Passes<T> call;

  explicit Work(const NormCall& of) {
    const NormPlan& plan = of.plan;
    static_cast<NormDims&>(call) = plan;
    call.center = of.center;
    call.kind = of.activation.kind;
    call.leak = static_cast<T>(of.activation.slope);
    call.parts = of.cells.cuda_data<double>();
    call.gamma = of.gamma.data_or_null<T>();
    call.beta = of.beta.data_or_null<T>();
    call.post_bias = of.post_bias.data_or_null<T>();
    call.row_cells = nullptr;
    call.width = width_for(plan.channels);
    const int64_t all = std::accumulate(plan.rows.begin(), plan.rows.end(), int64_t{0});
    const int64_t most = std::clamp<int64_t>(all * tiles() / 2048, 4 * kThreads / call.width, 4096);  // rows of a piece
    int64_t longest = 0;
    PoolVector<int64_t> table;  // of pieces, tensor by tensor
    const auto cut = [&](const NormPlan::Run& run) {
      const int64_t parts = (run.rows + most - 1) / most;
      for (int64_t i = 0; i < parts; ++i) {
        const int64_t begin = run.rows * i / parts, rows = run.rows * (i + 1) / parts - begin;
        table.insert(table.end(), {run.first_row + begin, rows, run.set});
        longest = std::max(longest, rows);
      }
    };
    for (int64_t t = 0; t < std::ssize(plan.rows); ++t) {
      const int64_t each = plan.row_sets ? plan.rows[t] / std::max<int64_t>(plan.affine_sets, 1) : 0;
      for (int64_t set = 0; set < plan.affine_sets && plan.row_sets; ++set) cut({t, set * each, each, set});
      for (const NormPlan::Run& run : plan.runs)
        if (run.tensor == t) cut(run);
      tensor_begin_.push_back(std::ssize(table) / 3);
    }
    call.lanes = lanes_for(longest, call.width);
    // (Where every row is a set of its own, those of pieces are the rows with one gamma and beta.)
    const Buckets of_set(pieces(), sets_of_pieces(), [&](int64_t i) { return table[3 * i + 2]; });
    table.insert(table.end(), of_set.begin.begin(), of_set.begin.end());
    table.insert(table.end(), of_set.items.begin(), of_set.items.end());
    memory_ = on_device(std::move(table), of.cells.device());
    const int64_t* to = memory_.cuda_data<int64_t>();
    call.pieces = reinterpret_cast<const Piece*>(to);
    call.set_begin = to + 3 * pieces();
    call.set_pieces = call.set_begin + of_set.begin.size();
  }

  int64_t pieces() const { return tensor_begin_.back(); }
  int64_t sets_of_pieces() const { return call.row_sets ? call.affine_sets : call.sets; }
  int64_t pieces_a_set() const { return pieces() / std::max<int64_t>(sets_of_pieces(), 1) + 1; }

  // A value for each piece and column.
  template <class V>
  Tensor partial(Device device) const {
    return Tensor({pieces(), call.channels, static_cast<int64_t>(sizeof(V) / sizeof(double))}, f64, device);
  }
  // f(call, tile) for the tiles of a tensor's pieces.
  template <class F>
  void for_each_tile(size_t tensor, F f) const {
    const int64_t blocks = (tensor_begin_[tensor + 1] - tensor_begin_[tensor]) * tiles();
    if (blocks > 0)
      launch("norm", static_cast<unsigned>(blocks), static_cast<unsigned>(call.width * call.lanes), tile_kernel<T, F>,
             call, tensor_begin_[tensor], f);
  }
  // store(call, i, the sum of make(call, i, k) for k in [0, count(call, i))) for i in [0, n); a count is about `items`.
  template <class Count, class Make, class Store>
  void combine(int64_t n, int64_t items, Count count, Make make, Store store) const {
    if (n == 0) return;
    Passes<T> own = call;
    own.width = std::min(width_for(n), kThreads / lanes_for(items, 1));
    own.lanes = lanes_for(items, own.width);
    launch("norm", static_cast<unsigned>((n + own.width - 1) / own.width), static_cast<unsigned>(own.width * own.lanes),
           combine_kernel<T, Count, Make, Store>, own, n, count, make, store);
  }

 private:
  int64_t tiles() const { return (call.channels + call.width - 1) / call.width; }

  PoolVector<int64_t> tensor_begin_ = {0};  // the first piece of each tensor, and the number of all
  Tensor memory_;
};

// The first half of norm_forward: completes the cells.
void norm_cells(const Tensor& x, const NormCall& call);

// Where dy is that of a max-pooling behind the norm, whose windows do not overlap: of each row of x the row of dy, or
// -1, and its place in the window; and of each element of dy the winner's.
struct Pooled {
  const int64_t* window = nullptr;
  const uint8_t *tap = nullptr, *place = nullptr;
};
void norm_backward(std::span<const Tensor> x, const NormCall& call, const NormGradients& to, const Pooled& pooled);

// What a cell is made of, for combine(): the results of its set's pieces in its channels.
template <class T>
struct CellItems {
  __device__ int64_t operator()(const Passes<T>& call, int64_t cell) const {
    const int64_t set = cell / call.groups;
    return (call.set_begin[set + 1] - call.set_begin[set]) * call.group_size;
  }
  // The piece and the channel of item k.
  __device__ static Tile at(const Passes<T>& call, int64_t cell, int64_t k) {
    const int64_t set = cell / call.groups, piece = call.set_pieces[call.set_begin[set] + k / call.group_size];
    const int64_t c = cell % call.groups * call.group_size + k % call.group_size;
    return {set, c, 0, 0, call.pieces[piece].rows, 1, piece * call.channels + c};
  }
};

// What a column of a set needs of its cell.
template <class T>
struct Column : ForwardColumn<T> {
  double low = 0;  // mean - high
  __device__ Column(const Passes<T>& call, int64_t set, int64_t c) : ForwardColumn<T>{0, 1, 0} {
    if (c >= call.normalized) return;  // passes through
    const int64_t cell = set * call.groups + c / call.group_size;
    const double mean = call.part(kCellMean, cell);
    low = low_part<T>(mean);
    static_cast<ForwardColumn<T>&>(*this) = forward_column<T>(
        mean, call.part(kCellInv, cell), call.part(kCellOffset, cell), call.weight(set, c), call.bias(set, c));
  }
};
// Of a row that is a set, with the gamma and beta of its channel.
template <class T>
__device__ ForwardColumn<T> row_column(const RowCell<T>& cell, T weight, T bias) {
  return {cell.high, weight * cell.inv, bias + weight * cell.shift};
}
// Channel c of a piece of rows that are sets, which have one gamma and beta.
template <class T>
class RowColumns {
 public:
  __device__ RowColumns(const Passes<T>& call, const Tile& tile)
      : cells_(call.row_cells + tile.c / call.group_size),
        groups_(call.groups),
        weight_(call.gamma ? call.gamma[call.affine(tile.set, tile.c)] : T(1)),
        bias_(call.beta ? call.beta[call.affine(tile.set, tile.c)] : T(0)) {}
  __device__ const RowCell<T>& cell(int64_t row) const { return cells_[row * groups_]; }
  __device__ ForwardColumn<T> operator()(const RowCell<T>& cell) const { return row_column(cell, weight_, bias_); }

 private:
  const RowCell<T>* cells_;
  int64_t groups_;
  T weight_, bias_;
};

// `totals` [2, cells]: the sums of g (x - mean), or of what share a variance the slopes, and of g = gamma inv dy.
template <class T>
__device__ CellSlope<T> slope_of_cell(const Passes<T>& call, const double* totals, int64_t cell) {
  const double share = call.part(kCellShare, cell), rstd = call.part(kCellRstd, cell);
  if (share == 0 && call.pool == 1) return {};
  const double slope = call.pool > 1 ? totals[cell] / rstd : totals[cell] * share * rstd,
               away = call.part(kCellOwn, cell) - call.part(kCellMean, cell),
               offset = gradient_offset(totals[call.cells() + cell], share, slope * rstd, away);
  return {static_cast<T>(rstd), static_cast<T>(slope),
          static_cast<T>(offset_from_high<T>(call.center ? offset : 0, slope * rstd, call.part(kCellMean, cell)))};
}

template <class T>
__device__ T activate(const Passes<T>& call, T v) {
  if (call.kind == Activation::Kind::relu) return v < 0 ? T(0) : v;
  return call.kind == Activation::Kind::none || v > 0 ? v : call.leak * v;
}
// Whether the activation passes on the gradient as it is. A relu does at NaN, as maximum(v, 0) does.
template <class T>
__device__ bool passes(const Passes<T>& call, T v) {
  return call.kind == Activation::Kind::relu ? !(v <= 0) : v > 0;
}
// dy behind the activation.
template <class T>
__device__ T behind(const Passes<T>& call, T dy, T x, const uint8_t* mask, int64_t i, const ForwardColumn<T>& column) {
  if (call.kind == Activation::Kind::none || (mask ? mask[i] != 0 : passes(call, column(x)))) return dy;
  return call.kind == Activation::Kind::relu ? T(0) : call.leak * dy;
}

}  // namespace norma::cuda
