// The norm family, one design for all groupings. Rows of channels are cut into pieces of one set each; a block takes
// some columns of a piece, a thread one column. Moments and gradient sums are made by piece and column, then merged by
// cell in an order that depends on the shapes alone. Where every row is a set of its own (layer norm over features), a
// warp sums each cell, and pieces are merely rows that lie together.
#include "norma/cuda/launch.h"
#include "norma/ops/norm.h"

namespace norma::cuda {
namespace {

// Elements whose deviations from `mean` have the sum of squares m2.
struct Moment {
  double count, mean, m2;
};
struct Merge {  // Chan's rule
  __device__ Moment operator()(const Moment& a, const Moment& b) const {
    const double count = a.count + b.count;
    if (count == 0) return {};
    const double delta = b.mean - a.mean, weight = b.count / count;
    return {count, a.mean + delta * weight, a.m2 + b.m2 + delta * delta * a.count * weight};
  }
};
// Of n elements whose deviations from `shift` have the sums s and q (of squares).
__device__ inline Moment shifted(double n, double shift, double s, double q) {
  const double m2 = q - s * s / n;
  return {n, shift + s / n, m2 > 0 ? m2 : 0};
}

struct Sums {
  double plain, product;
};
struct AddSums {
  __device__ Sums operator()(const Sums& a, const Sums& b) const { return {a.plain + b.plain, a.product + b.product}; }
};

struct Piece {  // consecutive rows of one tensor in one set
  int64_t first_row, rows, set;
};

// What every kernel of a call knows.
template <class T>
struct Call {
  int64_t channels, groups, group_size, normalized, affine_channels, affine_size, sets, cells;
  bool row_sets, affine_per_set, measured, center;
  int width, lanes;                       // of a block: columns, and threads of each
  const Piece* pieces;                    // by tensor
  const int64_t *set_begin, *set_pieces;  // the pieces of a set: set_pieces[set_begin[set]] and on
  const double* parts;                    // [kNormCellParts, cells]
  const T *gamma, *beta;                  // null: 1, 0
  Activation::Kind kind;
  T leak;

  __device__ double part(NormCellPart k, int64_t cell) const { return parts[k * cells + cell]; }
  __device__ int64_t affine(int64_t set, int64_t c) const {
    return (affine_per_set ? set * affine_size : 0) + c % affine_channels;
  }
  __device__ double weight(int64_t set, int64_t c) const { return gamma ? gamma[affine(set, c)] : 1; }
};

// A thread's part of a piece: the rows of one column from `row` on, every `step`-th.
struct Tile {
  int64_t piece, set, c, row, end, step;
  bool inside, first;  // the column exists; the thread is the first of its column
};

template <class T, class F>
__global__ void tile_kernel(Call<T> call, int64_t first_piece, F f) {
  const int64_t tiles = (call.channels + call.width - 1) / call.width, lane = threadIdx.x / call.width;
  const int64_t piece = first_piece + blockIdx.x / tiles,
                c = blockIdx.x % tiles * call.width + threadIdx.x % call.width;
  const Piece& p = call.pieces[piece];
  f(call, Tile{piece, p.set, c, p.first_row + lane, p.first_row + p.rows, call.lanes, c < call.channels, lane == 0});
}

// The work cut up: on the host, and on the device as far as the kernels read it.
template <class T>
struct Work {
  Call<T> call;
  PoolVector<int64_t> tensor_begin;  // the first piece of each tensor, and the number of all
  Tensor memory;

  Work(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta, const Tensor& cells) {
    call = {plan.channels,
            plan.groups,
            plan.group_size,
            plan.normalized,
            plan.affine_channels,
            std::min(plan.affine_channels, plan.normalized),
            plan.sets,
            plan.cells(),
            plan.row_sets,
            (gamma.defined() && gamma.rank() == 2) || (beta.defined() && beta.rank() == 2),
            spec.source != Statistics::Source::given,
            spec.center,
            width_for(plan.channels),
            0,
            nullptr,
            nullptr,
            nullptr,
            cells.cuda_data<double>(),
            gamma.defined() ? gamma.cuda_data<T>() : nullptr,
            beta.defined() ? beta.cuda_data<T>() : nullptr,
            spec.activation.kind,
            static_cast<T>(spec.activation.slope)};
    int64_t all = 0;
    for (int64_t rows : plan.rows) all += rows;
    const int64_t tiles = (plan.channels + call.width - 1) / call.width;
    const int64_t most = std::clamp<int64_t>(all * tiles / 2048, 4 * kThreads / call.width, 4096);  // rows of a piece
    PoolVector<Piece> pieces;
    for (int64_t t = 0; t < static_cast<int64_t>(plan.rows.size()); ++t) {
      tensor_begin.push_back(static_cast<int64_t>(pieces.size()));
      const auto cut = [&](int64_t row, int64_t rows, int64_t set) {
        const int64_t parts = (rows + most - 1) / most;
        for (int64_t i = 0; i < parts; ++i)
          pieces.push_back({row + rows * i / parts, rows * (i + 1) / parts - rows * i / parts, set});
      };
      if (plan.row_sets) cut(0, plan.rows[static_cast<size_t>(t)], 0);
      for (const NormPlan::Run& run : plan.runs)
        if (run.tensor == t) cut(run.first_row, run.rows, run.set);
    }
    int64_t longest = 0;
    for (const Piece& p : pieces) longest = std::max(longest, p.rows);
    call.lanes = lanes_for(longest, call.width);
    const int64_t count = static_cast<int64_t>(pieces.size());
    tensor_begin.push_back(count);
    const Buckets by_set(count, plan.row_sets ? 1 : plan.sets,
                         [&](int64_t i) { return pieces[static_cast<size_t>(i)].set; });
    PoolVector<int64_t> words;
    for (const Piece& p : pieces) words.insert(words.end(), {p.first_row, p.rows, p.set});
    words.insert(words.end(), by_set.begin.begin(), by_set.begin.end());
    words.insert(words.end(), by_set.items.begin(), by_set.items.end());
    memory = Tensor({static_cast<int64_t>(words.size())}, i64, cells.device());
    int64_t* to = memory.mutable_cuda_data<int64_t>();
    backend(cells.device()).copy_from_host(words.data(), to, words.size() * sizeof(int64_t));
    call.pieces = reinterpret_cast<const Piece*>(to);
    call.set_begin = to + 3 * count;
    call.set_pieces = call.set_begin + by_set.begin.size();
  }

  int64_t pieces() const { return tensor_begin.back(); }
  // f(call, tile) for the tiles of a tensor's pieces.
  template <class F>
  void for_each_tile(size_t tensor, F f) const {
    const int64_t count = tensor_begin[tensor + 1] - tensor_begin[tensor];
    const int64_t tiles = (call.channels + call.width - 1) / call.width;
    if (count > 0)
      launch("norm", static_cast<unsigned>(count * tiles), static_cast<unsigned>(call.width * call.lanes),
             tile_kernel<T, F>, call, tensor_begin[tensor], f);
  }
  // f(call, i, lane, lanes, store) for i in [0, n) on as many threads each as there are `items`, at most a block; what
  // they reduce_block() with call.width is for the one with `store` to write.
  template <class F>
  void for_each_group(int64_t n, int64_t items, F f) const;
};

template <class T, class F>
__global__ void group_kernel(Call<T> call, int64_t n, F f) {
  const int64_t i = int64_t{blockIdx.x} * call.width + threadIdx.x % call.width;
  const int lane = static_cast<int>(threadIdx.x) / call.width;
  f(call, i < n ? i : n - 1, lane, call.lanes, lane == 0 && i < n);
}

template <class T>
template <class F>
void Work<T>::for_each_group(int64_t n, int64_t items, F f) const {
  if (n == 0) return;
  Call<T> own = call;
  own.width = std::min(width_for(n), kThreads / lanes_for(items, 1));
  own.lanes = lanes_for(items, own.width);
  launch("norm", static_cast<unsigned>((n + own.width - 1) / own.width), static_cast<unsigned>(own.width * own.lanes),
         group_kernel<T, F>, own, n, f);
}

// What a column of a set needs: y = (x - high) * scale + shift before the activation. `high` is the mean rounded to T,
// so that the difference keeps its digits; what the rounding left is in `shift`.
template <class T>
struct Column {
  T high, scale, shift;
  double low;  // mean - high
  __device__ Column(const Call<T>& call, int64_t set, int64_t c) {
    if (c >= call.normalized) {  // passes through
      high = shift = low = 0;
      scale = 1;
      return;
    }
    const int64_t cell = set * call.groups + c / call.group_size;
    const double mean = call.part(kCellMean, cell), gamma = call.weight(set, c),
                 weight = gamma * call.part(kCellInv, cell);
    high = static_cast<T>(mean);
    low = mean - high;
    scale = static_cast<T>(weight);
    shift = static_cast<T>((call.beta ? call.beta[call.affine(set, c)] : 0) + gamma * call.part(kCellOffset, cell) -
                           low * weight);
  }
  __device__ T operator()(T x) const { return (x - high) * scale + shift; }
};

template <class T>
__device__ T activate(const Call<T>& call, T v) {
  if (call.kind == Activation::Kind::relu) return v < 0 ? T(0) : v;
  return call.kind == Activation::Kind::none || v > 0 ? v : call.leak * v;
}
// dy behind the activation.
template <class T>
__device__ T behind(const Call<T>& call, T dy, T x, const uint8_t* mask, int64_t i, const Column<T>& column) {
  if (call.kind == Activation::Kind::none || (mask ? mask[i] != 0 : column(x) > 0)) return dy;
  return call.kind == Activation::Kind::relu ? T(0) : call.leak * dy;
}

// --- The moments of cells.

// Of the rows of each piece's columns: [pieces, channels, 2], mean and m2.
template <class T>
void measure_pieces(const Work<T>& work, size_t tensor, const T* x, double* partial) {
  work.for_each_tile(tensor, [=] __device__(const Call<T>& call, const Tile& tile) {
    Moment moment{};
    if (tile.inside && tile.row < tile.end) {
      const T shift = x[tile.row * call.channels + tile.c];
      double s = 0, q = 0, n = 0;
      for (int64_t row = tile.row; row < tile.end; row += tile.step) {
        const double d = x[row * call.channels + tile.c] - shift;
        s += d;
        q += d * d;
        n += 1;
      }
      moment = shifted(n, shift, s, q);
    }
    moment = reduce_block(moment, call.width, Merge());
    if (!tile.inside || !tile.first) return;
    double* to = partial + (tile.piece * call.channels + tile.c) * 2;
    to[0] = moment.mean;
    to[1] = moment.m2;
  });
}

template <class T>
void merge_pieces(const Work<T>& work, const double* partial, double* cells) {
  const int64_t items = work.pieces() / std::max<int64_t>(work.call.sets, 1) * work.call.group_size;
  work.for_each_group(
      work.call.cells, items, [=] __device__(const Call<T>& call, int64_t cell, int lane, int lanes, bool store) {
        const int64_t set = cell / call.groups, first = cell % call.groups * call.group_size,
                      begin = call.set_begin[set], count = (call.set_begin[set + 1] - begin) * call.group_size;
        Moment moment{};
        for (int64_t i = lane; i < count; i += lanes) {
          const int64_t piece = call.set_pieces[begin + i / call.group_size];
          const double* from = partial + (piece * call.channels + first + i % call.group_size) * 2;
          moment = Merge()(moment, {static_cast<double>(call.pieces[piece].rows), from[0], from[1]});
        }
        moment = reduce_block(moment, call.width, Merge());
        if (!store) return;
        cells[kCellCount * call.cells + cell] = moment.count;
        cells[kCellMean * call.cells + cell] = moment.mean;
        cells[kCellM2 * call.cells + cell] = moment.m2;
      });
}

// Where a cell is some channels of one row: its elements lie together.
template <class T>
void measure_rows(const Call<T>& call, const T* x, double* cells) {
  const int64_t size = call.group_size, count = call.cells;
  for_each_row("norm", count, size, [=] __device__(int64_t cell, const Lane& lane) {
    const T *from = x + cell * size, shift = from[0];
    double s = 0, q = 0;
    for (int64_t k = lane.index; k < size; k += lane.count) {
      const double d = from[k] - shift;
      s += d;
      q += d * d;
    }
    s = reduce_row(s, lane, Plus());
    q = reduce_row(q, lane, Plus());
    if (lane.index != 0) return;
    const Moment moment = shifted(static_cast<double>(size), shift, s, q);
    cells[kCellCount * count + cell] = moment.count;
    cells[kCellMean * count + cell] = moment.mean;
    cells[kCellM2 * count + cell] = moment.m2;
  });
}

template <class T>
void measure(const Work<T>& work, std::span<const Tensor> xs, const Tensor& cells) {
  double* to = cells.mutable_cuda_data<double>();
  if (work.call.row_sets) return measure_rows(work.call, xs[0].cuda_data<T>(), to);
  const Tensor partial({work.pieces(), work.call.channels, 2}, f64, cells.device());
  for (size_t t = 0; t < xs.size(); ++t)
    measure_pieces(work, t, xs[t].cuda_data<T>(), partial.mutable_cuda_data<double>());
  merge_pieces(work, partial.cuda_data<double>(), to);
}

// Completes the cells from their moments, or from the population (f64 [2, entries]).
void solve(const NormSpec& spec, const Tensor& population, const Tensor& cells) {
  const int64_t n = cells.dim(1), entries = population.defined() ? population.dim(1) : 1;
  const double *mean = population.defined() ? population.cuda_data<double>() : nullptr, *var = mean + entries;
  double* to = cells.mutable_cuda_data<double>();
  const Statistics::Source source = spec.source;
  const double eps = spec.eps, r_max = spec.r_max, d_max = spec.d_max;
  const bool center = spec.center;
  for_each("norm", n, [=] __device__(int64_t i) {
    double &count = to[kCellCount * n + i], &own_mean = to[kCellMean * n + i], &m2 = to[kCellM2 * n + i];
    double r = 1, d = 0, about = 0;
    if (source == Statistics::Source::given) {
      count = m2 = 0;
      own_mean = center ? mean[i % entries] : 0;
      about = var[i % entries];
    } else {
      about = m2 / (count > 1 ? count : 1) + (center ? 0 : own_mean * own_mean);
      if (!center) own_mean = 0;
    }
    const double rstd = 1 / std::sqrt(about + eps);
    if (source == Statistics::Source::renorm) {
      const double deviation = std::sqrt(var[i % entries] + eps), ratio = 1 / (rstd * deviation),
                   away = (own_mean - mean[i % entries]) / deviation;
      r = ratio < 1 / r_max ? 1 / r_max : ratio > r_max ? r_max : ratio;
      d = away < -d_max ? -d_max : away > d_max ? d_max : away;
    }
    to[kCellInv * n + i] = rstd * r;
    to[kCellRstd * n + i] = rstd;
    to[kCellOffset * n + i] = d;
  });
}

template <class T>
void normalize(const Work<T>& work, size_t tensor, const T* x, const T* residual, T* y, uint8_t* mask) {
  work.for_each_tile(tensor, [=] __device__(const Call<T>& call, const Tile& tile) {
    if (!tile.inside || tile.row >= tile.end) return;
    Column<T> column(call, call.row_sets ? tile.row : tile.set, tile.c);
    for (int64_t row = tile.row; row < tile.end; row += tile.step) {
      if (call.row_sets) column = Column<T>(call, row, tile.c);
      const int64_t i = row * call.channels + tile.c;
      const T v = column(x[i]) + (residual ? residual[i] : T(0));
      if (mask) mask[i] = v > 0;
      y[i] = activate(call, v);
    }
  });
}

// --- The gradient: dx = scale dy - (x - mean) slope - offset, slope and offset a cell each.

template <class T>
struct Gradients {
  const T *dy, *x;
  const uint8_t* mask;
  T *dx, *dresidual;  // null: not wanted
  bool add_dx, add_dresidual;
};

// Of each piece's columns [pieces, channels, 2]: the sums of dy and dy (x - mean); where rows are sets, what they add
// to dbeta and dgamma.
template <class T>
void sum_pieces(const Work<T>& work, size_t tensor, const Gradients<T>& g, double* partial) {
  work.for_each_tile(tensor, [=] __device__(const Call<T>& call, const Tile& tile) {
    Sums sums{};
    if (tile.inside && tile.row < tile.end) {
      Column<T> column(call, call.row_sets ? tile.row : tile.set, tile.c);
      for (int64_t row = tile.row; row < tile.end; row += tile.step) {
        if (call.row_sets) column = Column<T>(call, row, tile.c);
        const int64_t i = row * call.channels + tile.c, cell = row * call.groups + tile.c / call.group_size;
        const double d = behind(call, g.dy[i], g.x[i], g.mask, i, column), v = (g.x[i] - column.high) - column.low;
        sums.plain += d;
        sums.product += call.row_sets ? d * (v * call.part(kCellInv, cell) + call.part(kCellOffset, cell)) : d * v;
      }
    }
    sums = reduce_block(sums, call.width, AddSums());
    if (!tile.inside || !tile.first) return;
    double* to = partial + (tile.piece * call.channels + tile.c) * 2;
    to[0] = sums.plain;
    to[1] = sums.product;
  });
}

// totals [cells, 2]: the sums of gamma inv dy and of gamma inv dy (x - mean).
template <class T>
void total_pieces(const Work<T>& work, const double* partial, double* totals) {
  const int64_t items = work.pieces() / std::max<int64_t>(work.call.sets, 1) * work.call.group_size;
  work.for_each_group(
      work.call.cells, items, [=] __device__(const Call<T>& call, int64_t cell, int lane, int lanes, bool store) {
        const int64_t set = cell / call.groups, first = cell % call.groups * call.group_size,
                      begin = call.set_begin[set], count = (call.set_begin[set + 1] - begin) * call.group_size;
        Sums sums{};
        for (int64_t i = lane; i < count; i += lanes) {
          const int64_t c = first + i % call.group_size;
          const double* from = partial + (call.set_pieces[begin + i / call.group_size] * call.channels + c) * 2;
          const double weight = call.weight(set, c);
          sums.plain += weight * from[0];
          sums.product += weight * from[1];
        }
        sums = reduce_block(sums, call.width, AddSums());
        if (!store) return;
        totals[2 * cell] = call.part(kCellInv, cell) * sums.plain;
        totals[2 * cell + 1] = call.part(kCellInv, cell) * sums.product;
      });
}

template <class T>
void total_rows(const Call<T>& call, const Gradients<T>& g, double* totals) {
  for_each_row("norm", call.cells, call.group_size, [=] __device__(int64_t cell, const Lane& lane) {
    const int64_t row = cell / call.groups, first = cell % call.groups * call.group_size;
    Sums sums{};
    for (int64_t c = first + lane.index; c < first + call.group_size; c += lane.count) {
      const Column<T> column(call, row, c);
      const int64_t i = row * call.channels + c;
      const double d = call.weight(row, c) * behind(call, g.dy[i], g.x[i], g.mask, i, column);
      sums.plain += d;
      sums.product += d * ((g.x[i] - column.high) - column.low);
    }
    const double plain = reduce_row(sums.plain, lane, Plus()), product = reduce_row(sums.product, lane, Plus());
    if (lane.index != 0) return;
    totals[2 * cell] = call.part(kCellInv, cell) * plain;
    totals[2 * cell + 1] = call.part(kCellInv, cell) * product;
  });
}

// dgamma and dbeta, [affine sets, affine size] each, may be null.
template <class T>
void affine_gradients(const Work<T>& work, const double* partial, double* dgamma, double* dbeta) {
  const int64_t pieces = work.pieces(), sets = work.call.affine_per_set ? work.call.sets : 1;
  const int64_t times = work.call.channels / work.call.affine_channels;  // more than once where positions are channels
  work.for_each_group(
      sets * work.call.affine_size, pieces / std::max<int64_t>(sets, 1) * times,
      [=] __device__(const Call<T>& call, int64_t entry, int lane, int lanes, bool store) {
        const int64_t set = entry / call.affine_size, channel = entry % call.affine_size;
        const int64_t begin = call.affine_per_set ? call.set_begin[set] : 0,
                      end = call.affine_per_set ? call.set_begin[set + 1] : pieces;
        Sums sums{};
        for (int64_t i = lane; i < (end - begin) * times; i += lanes) {
          const int64_t piece = call.set_pieces[begin + i / times], c = i % times * call.affine_channels + channel;
          const double* from = partial + (piece * call.channels + c) * 2;
          const int64_t cell = call.pieces[piece].set * call.groups + c / call.group_size;
          sums.plain += from[0];
          sums.product +=
              call.row_sets ? from[1] : call.part(kCellInv, cell) * from[1] + call.part(kCellOffset, cell) * from[0];
        }
        sums = reduce_block(sums, call.width, AddSums());
        if (!store) return;
        if (dgamma) dgamma[entry] = sums.product;
        if (dbeta) dbeta[entry] = sums.plain;
      });
}

template <class T>
void gradient(const Work<T>& work, size_t tensor, const Gradients<T>& g, const double* totals) {
  work.for_each_tile(tensor, [=] __device__(const Call<T>& call, const Tile& tile) {
    if (!tile.inside || tile.row >= tile.end) return;
    const bool passes = tile.c >= call.normalized;
    double slope = 0, offset = 0;
    const auto prepare = [&](int64_t set, const Column<T>& column) {
      if (passes || !call.measured) return;
      const int64_t cell = set * call.groups + tile.c / call.group_size;
      const double count = call.part(kCellCount, cell), rstd = call.part(kCellRstd, cell),
                   inverse = 1 / (count > 1 ? count : 1);
      slope = totals[2 * cell + 1] * inverse * rstd * rstd;
      offset = (call.center ? totals[2 * cell] * inverse : 0) - column.low * slope;
    };
    Column<T> column(call, call.row_sets ? tile.row : tile.set, tile.c);
    prepare(tile.set, column);
    for (int64_t row = tile.row; row < tile.end; row += tile.step) {
      if (call.row_sets) {
        column = Column<T>(call, row, tile.c);
        prepare(row, column);
      }
      const int64_t i = row * call.channels + tile.c;
      const T d = behind(call, g.dy[i], g.x[i], g.mask, i, column);
      const T value = column.scale * d - (g.x[i] - column.high) * static_cast<T>(slope) - static_cast<T>(offset);
      if (g.dx) g.dx[i] = g.add_dx ? g.dx[i] + value : value;
      if (g.dresidual) g.dresidual[i] = g.add_dresidual ? g.dresidual[i] + d : d;
    }
  });
}

template <class T>
void backward(const Work<T>& work, const NormSpec& spec, const Tensor& dgamma, const Tensor& dbeta,
              const NormGradients& tensors) {
  const Device device = tensors.x[0].device();
  const auto target = [](std::span<const Tensor> all, size_t t) -> T* {
    return all.empty() || !all[t].defined() ? nullptr : all[t].mutable_cuda_data<T>();
  };
  PoolVector<Gradients<T>> gradients;
  for (size_t t = 0; t < tensors.x.size(); ++t) {
    T *dx = target(tensors.dx, t), *dresidual = target(tensors.dresidual, t);
    gradients.push_back({tensors.dy[t].cuda_data<T>(), tensors.x[t].cuda_data<T>(),
                         tensors.mask.empty() ? nullptr : tensors.mask[t].cuda_data<uint8_t>(), dx, dresidual,
                         dx && tensors.add_dx[t], dresidual && tensors.add_dresidual[t]});
  }
  const Tensor partial({work.pieces(), work.call.channels, 2}, f64, device), totals({work.call.cells, 2}, f64, device);
  double* total = totals.mutable_cuda_data<double>();
  for (size_t t = 0; t < gradients.size(); ++t) sum_pieces(work, t, gradients[t], partial.mutable_cuda_data<double>());
  if (work.call.row_sets) total_rows(work.call, gradients[0], total);
  else total_pieces(work, partial.cuda_data<double>(), total);
  if (dgamma.defined() || dbeta.defined())
    affine_gradients(work, partial.cuda_data<double>(), dgamma.defined() ? dgamma.mutable_cuda_data<double>() : nullptr,
                     dbeta.defined() ? dbeta.mutable_cuda_data<double>() : nullptr);
  if (spec.comm && work.call.measured) {
    const Tensor host = totals.to(cpu_device);
    sum_over_workers(*spec.comm, std::span(host.mutable_data<double>(), static_cast<size_t>(host.numel())));
    totals.copy_from(host);
  }
  for (size_t t = 0; t < gradients.size(); ++t) gradient(work, t, gradients[t], total);
}

}  // namespace

void norm_forward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                  const Tensor& population, const Tensor& cells, const NormTensors& tensors) {
  dispatch_floating("norm", tensors.x[0].dtype(), [&]<class T>() {
    const Work<T> work(plan, spec, gamma, beta, cells);
    if (work.call.measured) measure(work, tensors.x, cells);
    if (spec.comm) reduce_norm_cells(*spec.comm, cells);
    solve(spec, population, cells);
    for (size_t t = 0; t < tensors.x.size(); ++t)
      normalize(work, t, tensors.x[t].cuda_data<T>(),
                tensors.residual.empty() ? nullptr : tensors.residual[t].cuda_data<T>(),
                tensors.y[t].mutable_cuda_data<T>(),
                tensors.mask.empty() ? nullptr : tensors.mask[t].mutable_cuda_data<uint8_t>());
  });
}

void norm_backward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                   const Tensor& cells, const Tensor& dgamma, const Tensor& dbeta, const NormGradients& tensors) {
  dispatch_floating("norm", tensors.x[0].dtype(), [&]<class T>() {
    backward<T>({plan, spec, gamma, beta, cells}, spec, dgamma, dbeta, tensors);
  });
}

void norm_moments(const NormPlan& plan, const Tensor& cells, std::span<const Tensor> xs) {
  dispatch_floating("moments", xs[0].dtype(), [&]<class T>() {
    measure<T>({plan, NormSpec{}, {}, {}, cells}, xs, cells);
  });
}

}  // namespace norma::cuda
