// The norm family, one design for all groupings (cuda/norm/norm_work.h): moments by piece and column, merged by cell;
// then one pass over the rows. Likewise the gradient. Where every row is a set of its own (layer norm over features),
// some threads of a warp sum each cell, and pieces are merely rows that lie together.
#include <map>
#include <mutex>

#include "norma/cuda/norm/norm_work.h"

namespace norma::cuda {

Tensor on_device(PoolVector<int64_t> table, Device device) {
  constexpr size_t kMost = 256;  // where batches differ (by the domains of their samples), tables do not come back
  static std::mutex mutex;
  static auto* const tables = new std::map<std::pair<int, PoolVector<int64_t>>, Tensor>;  // never destroyed
  const std::lock_guard lock(mutex);
  if (tables->size() == kMost) tables->clear();
  const auto [entry, fresh] = tables->try_emplace({device.index, std::move(table)});
  if (fresh) entry->second = tensor(entry->first.second, std::ssize(entry->first.second)).to(device);
  return entry->second;
}

namespace {

// --- The moments of cells.

template <class T>
void measure_pieces(const Work<T>& work, size_t tensor, const T* x, Sums* partial) {  // mean and m2
  work.for_each_tile(tensor, [=] __device__(const Passes<T>& call, const Tile& tile) {
    Sums sums{};
    T shift = 0;
    if (tile.row < tile.end) {
      const int64_t channels = call.channels;
      shift = x[tile.first * channels + tile.c];  // one for all lanes: what they have may be added
      sums = deviations(x + tile.c, tile.row * channels, tile.end * channels, tile.step * channels, shift);
    }
    sums = reduce_block(sums, call.width, Plus());
    if (tile.place < 0) return;
    const Moment moment = shifted(static_cast<double>(tile.end - tile.first), shift, sums.plain, sums.product);
    partial[tile.place] = {moment.mean, moment.m2};
  });
}

template <class T>
__device__ void store_moment(const Passes<T>& call, int64_t cell, const Moment& moment, double* cells) {
  cells[kCellCount * call.cells() + cell] = moment.count;
  cells[kCellMean * call.cells() + cell] = moment.mean;
  cells[kCellM2 * call.cells() + cell] = moment.m2;
}

template <class T>
void merge_pieces(const Work<T>& work, const Sums* partial, double* cells) {
  work.combine(
      work.call.cells(), work.pieces_a_set() * work.call.group_size, CellItems<T>(),
      [=] __device__(const Passes<T>& call, int64_t cell, int64_t k) {
        const Tile item = CellItems<T>::at(call, cell, k);
        return Moment{static_cast<double>(item.end), partial[item.place].plain, partial[item.place].product};
      },
      [=] __device__(const Passes<T>& call, int64_t cell, const Moment& moment) {
        store_moment(call, cell, moment, cells);
      });
}

// Where a cell is some channels of one row: its elements lie together.
template <class T>
void measure_rows(const Passes<T>& call, const T* x, double* cells) {
  for_each_row("norm", call.cells(), call.group_size, [=] __device__(int64_t cell, const Lane& lane) {
    const T *from = x + cell * call.group_size, shift = from[0];
    const Sums sums = deviations(from, lane.index, call.group_size, lane.count, shift);
    const double s = reduce_row(sums.plain, lane, Plus()), q = reduce_row(sums.product, lane, Plus());
    if (lane.index == 0) store_moment(call, cell, shifted(static_cast<double>(call.group_size), shift, s, q), cells);
  });
}

template <class T>
void measure(const Work<T>& work, std::span<const Tensor> xs, const Tensor& cells) {
  double* to = cells.mutable_cuda_data<double>();
  if (work.call.row_sets) return measure_rows(work.call, xs[0].cuda_data<T>(), to);
  const Tensor memory = work.template partial<Sums>(cells.device());
  Sums* partial = reinterpret_cast<Sums*>(memory.mutable_cuda_data<double>());
  for (size_t t = 0; t < xs.size(); ++t) measure_pieces(work, t, xs[t].cuda_data<T>(), partial);
  merge_pieces(work, partial, to);
}

// Shares out, among the cells that share a variance, values of which each cell has one. Does nothing where none do.
void share_evenly(const NormPlan& plan, double* values) {
  if (const int64_t pool = plan.pool; pool > 1)
    for_each("norm", plan.cells() / pool, [=] __device__(int64_t i) { norma::share_evenly(values + i * pool, pool); });
}

// Where cells share a variance, their sums of g (x - mean) become the slope that they share.
void share_slopes(const NormCall& call, double* sums) {
  if (call.plan.pool == 1) return;
  const int64_t n = call.plan.cells();
  const double* cells = call.cells.cuda_data<double>();
  for_each("norm", n, [=] __device__(int64_t i) {
    sums[i] = gradient_slope(sums[i], cells[kCellShare * n + i], cells[kCellRstd * n + i]);
  });
  share_evenly(call.plan, sums);
}

// Completes the cells from their moments, or from the population.
void solve(const NormCall& call) {
  const Tensor &population = call.population, &cells = call.cells;
  const int64_t n = cells.dim(1), entries = population.defined() ? population.dim(1) : 1;
  const double* known = population.data_or_null<double>();
  double* to = cells.mutable_cuda_data<double>();
  const bool renorm = call.source == Statistics::Source::renorm, of_mixture = call.of_mixture;
  const double eps = call.eps, r_max = call.r_max, d_max = call.d_max;
  const bool center = call.center;
  share_evenly(call.plan, to + kCellM2 * n);
  for_each("norm", n, [=] __device__(int64_t i) {
    double &mean = to[kCellMean * n + i], &m2 = to[kCellM2 * n + i];
    const double count = to[kCellCount * n + i], variance = cell_variance(count, mean, m2, center);
    if (!center) {
      m2 += count * mean * mean;
      mean = 0;
    }
    const auto part = [=](int64_t k) { return known ? known[k * entries + i % entries] : 1; };  // alpha: of the cell
    const SolvedCell solved =
        solve_cell(count, mean, variance, eps, part(0), part(1), part(2), of_mixture, renorm, r_max, d_max);
    for (int64_t k = 0; k < 6; ++k) to[(kCellMean + k) * n + i] = solved.parts[k];
  });
}

template <class T>
void solve_cells(const Work<T>& work, std::span<const Tensor> x, const NormCall& call) {
  if (call.measured()) measure(work, x, call.cells);
  call.merge_over_workers();
  solve(call);
}

// Where every row is a set, what its elements need of the cells, for the passes that follow as long as the tensor
// lives; what the gradient needs, too, if `totals` are there.
template <class T>
Tensor prepare_rows(Work<T>& work, const double* totals, Device device) {
  if (!work.call.row_sets) return {};
  const int64_t n = work.call.cells();
  const Tensor memory({n, static_cast<int64_t>(sizeof(RowCell<T>) / sizeof(T))}, dtype_of<T>(), device);
  RowCell<T>* to = reinterpret_cast<RowCell<T>*>(memory.mutable_cuda_data<T>());
  work.call.row_cells = to;
  for_each("norm", n, [=, call = work.call] __device__(int64_t cell) {
    const double mean = call.part(kCellMean, cell), inv = call.part(kCellInv, cell);
    to[cell] = {static_cast<T>(mean), static_cast<T>(inv),
                static_cast<T>(call.part(kCellOffset, cell) - low_part<T>(mean) * inv),
                totals ? slope_of_cell(call, totals, cell) : CellSlope<T>{}};
  });
  return memory;
}

template <class T>
void normalize(const Work<T>& work, size_t tensor, const T* x, const T* residual, T* y, uint8_t* mask) {
  work.for_each_tile(tensor, [=] __device__(const Passes<T>& call, const Tile& tile) {
    if (tile.row >= tile.end) return;
    const auto pass = [&](const auto& column_of) {
      const auto make = [&](int64_t row) {
        const int64_t i = row * call.channels + tile.c;
        return column_of(row)(x[i]) + (residual ? residual[i] : T(0));
      };
      map_range(tile.row, tile.end, tile.step, make, [&](int64_t row, T v) {
        const int64_t i = row * call.channels + tile.c;
        if (mask) mask[i] = passes(call, v);
        y[i] = activate(call, v);
        if (call.post_bias) y[i] += call.post_bias[tile.c % call.affine_channels];
      });
    };
    if (call.row_sets) {
      const RowColumns<T> columns(call, tile);
      pass([&](int64_t row) { return columns(columns.cell(row)); });
    } else {
      const ForwardColumn<T> column = Column<T>(call, tile.set, tile.c);
      pass([&](int64_t) { return column; });
    }
  });
}

// --- The gradient.

// behind_pool: of a pooling behind the norm. Known to the compiler, since of what branches it would not load many at a
// time.
template <class T, bool behind_pool>
struct Gradients {
  const T *dy, *x;
  const uint8_t* mask;
  T *dx, *dresidual;  // null: not wanted
  bool add_dx, add_dresidual;
  Pooled pooled;

  __device__ T upstream(int64_t row, int64_t c, int64_t channels) const {
    if constexpr (!behind_pool) return dy[row * channels + c];
    const int64_t at = pooled.window[row] * channels + c;
    return at >= 0 && pooled.place[at] == pooled.tap[row] ? dy[at] : T(0);
  }
};

// The sums of dy and dy (x - mean); where rows are sets, what they add to dbeta and dgamma.
template <class T, class G>
void sum_pieces(const Work<T>& work, size_t tensor, const G& g, Sums* partial) {
  work.for_each_tile(tensor, [=] __device__(const Passes<T>& call, const Tile& tile) {
    Sums sums{};
    if (tile.row < tile.end && call.row_sets) {
      const RowColumns<T> columns(call, tile);
      sums = sums_of<T>(tile.row, tile.end, tile.step, [&](int64_t row) {
        const int64_t i = row * call.channels + tile.c;
        const RowCell<T>& cell = columns.cell(row);
        const T d = behind(call, g.upstream(row, tile.c, call.channels), g.x[i], g.mask, i, columns(cell));
        return Factors<T>{d, (g.x[i] - cell.high) * cell.inv + cell.shift};
      });
    } else if (tile.row < tile.end) {
      const Column<T> column(call, tile.set, tile.c);
      sums = sums_of<T>(tile.row, tile.end, tile.step, [&](int64_t row) {
        const int64_t i = row * call.channels + tile.c;
        return Factors<T>{behind(call, g.upstream(row, tile.c, call.channels), g.x[i], g.mask, i, column),
                          g.x[i] - column.high};
      });
      sums.product -= column.low * sums.plain;
    }
    sums = reduce_block(sums, call.width, Plus());
    if (tile.place >= 0) partial[tile.place] = sums;
  });
}

// totals [2, cells]: the sums of gamma inv dy (x - mean) and of gamma inv dy.
template <class T>
void total_pieces(const Work<T>& work, const Sums* partial, double* totals) {
  work.combine(
      work.call.cells(), work.pieces_a_set() * work.call.group_size, CellItems<T>(),
      [=] __device__(const Passes<T>& call, int64_t cell, int64_t k) {
        const Tile item = CellItems<T>::at(call, cell, k);
        const double weight = call.weight(item.set, item.c) * call.part(kCellInv, cell);
        return Sums{weight * partial[item.place].plain, weight * partial[item.place].product};
      },
      [=] __device__(const Passes<T>& call, int64_t cell, const Sums& sums) {
        totals[cell] = sums.product;
        totals[call.cells() + cell] = sums.plain;
      });
}

template <class T, class G>
void total_rows(const Passes<T>& call, const G& g, double* totals) {
  for_each_row("norm", call.cells(), call.group_size, [=] __device__(int64_t cell, const Lane& lane) {
    const int64_t row = cell / call.groups, first = cell % call.groups * call.group_size;
    const int64_t affine = call.affine_set(row);
    const RowCell<T>& own = call.row_cells[cell];
    const Sums sums = sums_of<T>(first + lane.index, first + call.group_size, lane.count, [&](int64_t c) {
      const int64_t i = row * call.channels + c, entry = call.affine(affine, c);
      const T weight = call.gamma ? call.gamma[entry] : T(1), bias = call.beta ? call.beta[entry] : T(0);
      const T d = behind(call, g.upstream(row, c, call.channels), g.x[i], g.mask, i, row_column(own, weight, bias));
      return Factors<T>{weight * d, g.x[i] - own.high};
    });
    const double plain = reduce_row(sums.plain, lane, Plus()), product = reduce_row(sums.product, lane, Plus());
    if (lane.index > 0) return;
    const double inv = call.part(kCellInv, cell), low = low_part<T>(call.part(kCellMean, cell));
    totals[cell] = inv * (product - low * plain);
    totals[call.cells() + cell] = inv * plain;
  });
}

// dgamma and dbeta, [affine sets, affine size] each.
template <class T>
void affine_gradients(const Work<T>& work, const Sums* partial, double* dgamma, double* dbeta) {
  const int64_t pieces = work.pieces(), sets = work.call.affine_sets,
                each =
                    sets > 1 ? work.sets_of_pieces() / sets : work.sets_of_pieces();  // sets of pieces with one gamma
  const int64_t times = work.call.channels / work.call.affine_channels;  // more than once where positions are channels
  work.combine(
      sets * work.call.affine_size(), pieces / sets * times,
      [=] __device__(const Passes<T>& call, int64_t entry) {
        const int64_t* begin = call.set_begin + entry / call.affine_size() * each;
        return (begin[each] - begin[0]) * times;
      },
      [=] __device__(const Passes<T>& call, int64_t entry, int64_t k) {
        const int64_t first = call.set_begin[entry / call.affine_size() * each],
                      piece = call.set_pieces[first + k / times],
                      c = k % times * call.affine_channels + entry % call.affine_size(),
                      cell = call.pieces[piece].set * call.groups + c / call.group_size;
        const Sums from = partial[piece * call.channels + c];
        if (call.row_sets) return from;
        return Sums{from.plain, call.part(kCellInv, cell) * from.product + call.part(kCellOffset, cell) * from.plain};
      },
      [=] __device__(const Passes<T>&, int64_t entry, const Sums& sums) {
        dgamma[entry] = sums.product;
        dbeta[entry] = sums.plain;
      });
}

template <class T, class G>
void gradient(const Work<T>& work, size_t tensor, const G& g, const double* totals) {
  work.for_each_tile(tensor, [=] __device__(const Passes<T>& call, const Tile& tile) {
    if (tile.row >= tile.end) return;
    const auto pass = [&](const auto& of_row) {
      const auto make = [&](int64_t row) {
        const auto [column, of_cell] = of_row(row);
        const int64_t i = row * call.channels + tile.c;
        const T d = behind(call, g.upstream(row, tile.c, call.channels), g.x[i], g.mask, i, column);
        // Where there is no slope, as with given statistics, x has no part in dx, not even an infinite one.
        const T xhat = of_cell.slope != 0 ? (g.x[i] - column.high) * of_cell.rstd : T(0);
        const T value = column.scale * d - xhat * of_cell.slope - of_cell.offset;
        return Factors<T>{g.dx && g.add_dx ? g.dx[i] + value : value,
                          g.dresidual && g.add_dresidual ? g.dresidual[i] + d : d};
      };
      map_range<2>(tile.row, tile.end, tile.step, make, [&](int64_t row, const Factors<T>& made) {
        const int64_t i = row * call.channels + tile.c;
        if (g.dx) g.dx[i] = made.a;
        if (g.dresidual) g.dresidual[i] = made.b;
      });
    };
    using OfRow = std::pair<ForwardColumn<T>, CellSlope<T>>;
    if (call.row_sets) {
      const RowColumns<T> columns(call, tile);
      pass([&](int64_t row) {
        const RowCell<T>& cell = columns.cell(row);
        return OfRow(columns(cell), cell.gradient);
      });
    } else {
      const int64_t cell = tile.set * call.groups + tile.c / call.group_size;
      const OfRow of_all(Column<T>(call, tile.set, tile.c),
                         tile.c < call.normalized ? slope_of_cell(call, totals, cell) : CellSlope<T>{});
      pass([&](int64_t) { return of_all; });
    }
  });
}

template <bool behind_pool, class T>
void backward(Work<T> work, std::span<const Tensor> x, const NormCall& call, const NormGradients& to,
              const Pooled& pooled) {
  PoolVector<Gradients<T, behind_pool>> gradients;
  for (size_t t = 0; t < x.size(); ++t) {
    const Sink::Target &dx = to.dx[t], &dresidual = to.dresidual[t];
    gradients.push_back({to.dy[t].cuda_data<T>(), x[t].cuda_data<T>(), to.mask[t].data_or_null<uint8_t>(),
                         dx.grad.mutable_data_or_null<T>(), dresidual.grad.mutable_data_or_null<T>(), dx.add,
                         dresidual.add, pooled});
  }
  const Device device = x[0].device();
  const Tensor memory = work.template partial<Sums>(device), totals({2, work.call.cells()}, f64, device);
  Sums* partial = reinterpret_cast<Sums*>(memory.mutable_cuda_data<double>());
  double* total = totals.mutable_cuda_data<double>();
  Tensor rows = prepare_rows(work, nullptr, device);
  for (size_t t = 0; t < gradients.size(); ++t) sum_pieces(work, t, gradients[t], partial);
  if (work.call.row_sets) total_rows(work.call, gradients[0], total);
  else total_pieces(work, partial, total);
  if (double* dgamma = to.affine.mutable_data_or_null<double>())
    affine_gradients(work, partial, dgamma, dgamma + to.affine.numel() / 2);
  if (call.comm && call.measured()) call.comm->all_reduce(totals);
  share_slopes(call, total);
  rows = prepare_rows(work, total, device);
  for (size_t t = 0; t < gradients.size(); ++t) gradient(work, t, gradients[t], total);
}

}  // namespace

void norm_forward(std::span<const Tensor> x, const NormCall& call, const NormOutputs& to) {
  dispatch_floating("norm", x[0].dtype(), [&]<class T>() {
    Work<T> work(call);
    solve_cells(work, x, call);
    const Tensor rows = prepare_rows<T>(work, nullptr, x[0].device());
    for (size_t t = 0; t < x.size(); ++t)
      normalize(work, t, x[t].cuda_data<T>(), to.residual[t].data_or_null<T>(), to.y[t].mutable_cuda_data<T>(),
                to.mask[t].mutable_data_or_null<uint8_t>());
  });
}

void norm_cells(const Tensor& x, const NormCall& call) {
  dispatch_floating("norm", x.dtype(), [&]<class T>() { solve_cells(Work<T>(call), {&x, 1}, call); });
}

void norm_backward(std::span<const Tensor> x, const NormCall& call, const NormGradients& to, const Pooled& pooled) {
  dispatch_floating("norm", x[0].dtype(), [&]<class T>() { backward<true>(Work<T>(call), x, call, to, pooled); });
}

void norm_backward(std::span<const Tensor> x, const NormCall& call, const NormGradients& to) {
  dispatch_floating("norm", x[0].dtype(), [&]<class T>() { backward<false>(Work<T>(call), x, call, to, {}); });
}

void norm_moments(std::span<const Tensor> x, const NormCall& call) {
  dispatch_floating("moments", x[0].dtype(), [&]<class T>() { measure(Work<T>(call), x, call.cells); });
}

}  // namespace norma::cuda
