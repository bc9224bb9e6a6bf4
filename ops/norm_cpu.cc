// The CPU kernel of the norm family: which rows are summed and normalized together, and in which order partial results
// are merged. One design for all groupings. Where a set of rows fits into a core's cache, a task does both of its
// passes while it is there; larger sets are cut into blocks that do not depend on the number of threads, in two
// parallel passes. Where each row is a set of its own (layer norm over features), ops/norm_cpu_rows.cc takes over.
#include "norma/ops/norm_cpu.h"

#include "norma/core/parallel.h"
#include "norma/ops/norm_rows.h"

namespace norma {
namespace {

using namespace norm_rows;

constexpr int64_t kSetBytes = 512 * 1024;  // a set of rows up to this size is done in one go
constexpr int64_t kBlockElements = 16 * 1024;

template <class T>
const T* elements(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}

// A task's scratch memory, taken from the pool once for all that the task does.
template <class T>
struct Room {
  int64_t width, channels;
  PoolVector<T> wide;         // 7 * width: five columns tables, two accumulators
  PoolVector<double> narrow;  // 6 * channels: three spread cells, two sums, totals
  explicit Room(int64_t c)
      : width(rows_per_wide_row(c) * c),
        channels(c),
        wide(7 * static_cast<size_t>(width)),
        narrow(6 * static_cast<size_t>(c)) {}
  T* table() { return wide.data(); }
  T* sums() { return wide.data() + 5 * width; }
  double* spread(int64_t i) { return narrow.data() + i * channels; }
  double* totals() { return narrow.data() + 4 * channels; }
};

// Calls f(task, room) for tasks [0, count) in parallel, one room a slot.
template <class T, class F>
void for_each_task(int64_t count, int64_t channels, F&& f) {
  parallel_for(count, 1, [&](int64_t begin, int64_t end) {
    Room<T> room(channels);
    for (int64_t i = begin; i < end; ++i) f(i, room);
  });
}

// What both directions need to know about a call.
template <class T>
struct Call {
  const NormPlan& plan;
  const NormSpec& spec;
  const T* gamma;  // [affine sets, affine channels] or null
  const T* beta;
  bool affine_per_set;
  const CellArrays cells;
  int64_t unit, width;

  Call(const NormPlan& p, const NormSpec& s, const Tensor& g, const Tensor& b, double* c)
      : plan(p),
        spec(s),
        gamma(elements<T>(g)),
        beta(elements<T>(b)),
        affine_per_set((g.defined() && g.rank() == 2) || (b.defined() && b.rank() == 2)),
        cells(c, p.cells()),
        unit(rows_per_wide_row(p.channels)),
        width(unit * p.channels) {}

  bool measured() const { return spec.source != Statistics::Source::given; }
  int64_t affine_size() const { return std::min(plan.affine_channels, plan.normalized); }
  int64_t affine_begin(int64_t set) const { return affine_per_set ? set * affine_size() : 0; }

  // Whether each set is to be done in one go by one task.
  bool one_go() const {
    return !spec.comm && plan.sets >= 8 &&
           plan.set_rows[0] * plan.channels * static_cast<int64_t>(sizeof(T)) <= kSetBytes;
  }

  // A value a cell as a value a channel: in place where they are the same, else in `to`.
  const double* by_channel(const double* by_cell, int64_t set, double* to) const {
    by_cell += set * plan.groups;
    if (plan.group_size == 1) return by_cell;
    for (int64_t g = 0; g < plan.groups; ++g) std::fill_n(to + g * plan.group_size, plan.group_size, by_cell[g]);
    return to;
  }

  // Calls f(c, gamma, beta) for the normalized channels; parameters that are not there are 1 and 0.
  template <class F>
  void for_each_channel(int64_t set, F&& f) const {
    const T *g = gamma ? gamma + affine_begin(set) : nullptr, *b = beta ? beta + affine_begin(set) : nullptr;
    for (int64_t from = 0; from < plan.normalized; from += plan.affine_channels) {
      const int64_t n = affine_size();
      if (g && b) {
        for (int64_t c = 0; c < n; ++c) f(from + c, double{g[c]}, double{b[c]});
      } else {
        for (int64_t c = 0; c < n; ++c) f(from + c, g ? double{g[c]} : 1.0, b ? double{b[c]} : 0.0);
      }
    }
  }

  // The columns of a set, in `table` (5 * width). For the gradient with `totals`: [2, groups], see Backward::total.
  Columns<T> columns(int64_t set, T* table, Room<T>& room, const double* totals = nullptr) const {
    T *high = table, *scale = table + width, *shift = table + 2 * width, *slope = table + 3 * width,
      *offset = table + 4 * width;
    const double *mean = by_channel(cells.mean, set, room.spread(0)), *inv = by_channel(cells.inv, set, room.spread(1)),
                 *middle = by_channel(cells.offset, set, room.spread(2));
    for_each_channel(set, [&](int64_t c, double g, double b) {
      const double weight = g * inv[c];
      high[c] = static_cast<T>(mean[c]);
      scale[c] = static_cast<T>(weight);
      shift[c] = static_cast<T>(b + g * middle[c] - (mean[c] - high[c]) * weight);
    });
    if (totals) {
      const double *k = by_channel(totals, 0, room.spread(1)), *o = by_channel(totals + plan.groups, 0, room.spread(2));
      for (int64_t c = 0; c < plan.normalized; ++c) {
        slope[c] = static_cast<T>(k[c]);
        offset[c] = static_cast<T>(o[c] - (mean[c] - high[c]) * k[c]);
      }
    }
    for (int64_t c = plan.normalized; c < plan.channels; ++c) {
      high[c] = shift[c] = slope[c] = offset[c] = 0;
      scale[c] = 1;
    }
    for (int64_t part = 0; part < (totals ? 5 : 3); ++part)
      for (int64_t u = 1; u < unit; ++u)
        std::copy_n(table + part * width, plan.channels, table + part * width + u * plan.channels);
    return {high, scale, shift, slope, offset};
  }
};

// Pieces of runs, of about equal size, for the parallel passes over large sets.
PoolVector<NormPlan::Run> cut_into_blocks(const NormPlan& plan) {
  int64_t rows = 0;
  for (int64_t n : plan.rows) rows += n;
  const int64_t target = std::max((rows + kMaxSlots - 1) / kMaxSlots, kBlockElements / plan.channels + 1);
  PoolVector<NormPlan::Run> blocks;
  for (const NormPlan::Run& run : plan.runs) {
    const int64_t pieces = std::max<int64_t>(1, (run.rows + target / 2) / target);
    for (int64_t i = 0; i < pieces; ++i) {
      const int64_t begin = run.rows * i / pieces, end = run.rows * (i + 1) / pieces;
      blocks.push_back({run.tensor, run.first_row + begin, end - begin, run.set});
    }
  }
  return blocks;
}

// The cells of a set from the moments of its channels, merged group by group.
void store_cells(const NormPlan& plan, const ChannelMoments& channel, const CellArrays& cells, int64_t set) {
  const int64_t first = set * plan.groups;
  if (plan.group_size == 1) {
    std::fill_n(cells.count + first, plan.groups, channel.count);
    std::copy_n(channel.mean, plan.groups, cells.mean + first);
    std::copy_n(channel.m2, plan.groups, cells.m2 + first);
    return;
  }
  // All channels count alike: the mean of the means, and the squares of what is between them.
  const double n = static_cast<double>(plan.group_size);
  for (int64_t g = 0; g < plan.groups; ++g) {
    const double *means = channel.mean + g * plan.group_size, *m2s = channel.m2 + g * plan.group_size;
    double mean = 0, m2 = 0;
    for (int64_t c = 0; c < plan.group_size; ++c) mean += means[c] - means[0];
    mean = means[0] + mean / n;
    for (int64_t c = 0; c < plan.group_size; ++c) m2 += m2s[c] + channel.count * (means[c] - mean) * (means[c] - mean);
    cells.count[first + g] = channel.count * n;
    cells.mean[first + g] = mean;
    cells.m2[first + g] = m2;
  }
}

template <class T>
void add_run(std::span<const Tensor> xs, const NormPlan& plan, const NormPlan::Run& run, ChannelMoments& moments,
             Room<T>& room) {
  const T* x = xs[static_cast<size_t>(run.tensor)].data<T>() + run.first_row * plan.channels;
  add_moments(x, run.rows, plan.channels, moments, room.table());
}

// The first pass over large sets: blocks in parallel, then merged by set in the order of the blocks.
template <class T>
void moments_of_blocks(const NormPlan& plan, std::span<const Tensor> xs, const CellArrays& cells) {
  const PoolVector<NormPlan::Run> blocks = cut_into_blocks(plan);
  const int64_t channels = plan.channels;
  const size_t pair = 2 * static_cast<size_t>(channels);
  PoolVector<double> partial(blocks.size() * pair, 0.0);
  for_each_task<T>(static_cast<int64_t>(blocks.size()), channels, [&](int64_t i, Room<T>& room) {
    double* mean = partial.data() + static_cast<size_t>(i) * pair;
    ChannelMoments moments{0, mean, mean + channels};
    add_run(xs, plan, blocks[static_cast<size_t>(i)], moments, room);
  });
  PoolVector<size_t> begin(static_cast<size_t>(plan.sets) + 1, 0);  // blocks of a set; they are in order of sets
  for (const NormPlan::Run& block : blocks) ++begin[static_cast<size_t>(block.set) + 1];
  for (size_t set = 0; set < static_cast<size_t>(plan.sets); ++set) begin[set + 1] += begin[set];
  for_each_task<T>(plan.sets, channels, [&](int64_t set, Room<T>& room) {
    std::fill_n(room.spread(0), pair, 0.0);
    ChannelMoments moments{0, room.spread(0), room.spread(1)};
    for (size_t i = begin[static_cast<size_t>(set)]; i < begin[static_cast<size_t>(set) + 1]; ++i) {
      const double* mean = partial.data() + i * pair;
      if (blocks[i].rows > 0) moments.merge(channels, static_cast<double>(blocks[i].rows), mean, mean + channels);
    }
    store_cells(plan, moments, cells, set);
  });
}

template <class T>
class Forward : Call<T> {
 public:
  Forward(const Call<T>& call, const Tensor& population, const Tensor& all_cells, const NormTensors& tensors)
      : Call<T>(call), population_(population), tensors_(tensors), all_cells_(all_cells) {}

  void run() {
    if (this->measured() && this->one_go()) {
      for_each_task<T>(plan.sets, plan.channels, [&](int64_t set, Room<T>& room) { whole_set(set, room); });
      return;
    }
    if (this->measured()) moments_of_blocks<T>(plan, tensors_.x, cells);
    if (spec.comm) reduce_norm_cells(*spec.comm, all_cells_);
    solve_cells(spec, population_, cells, 0, plan.cells());
    const size_t table = 5 * static_cast<size_t>(width);
    PoolVector<T> tables(static_cast<size_t>(plan.sets) * table);
    PoolVector<Columns<T>> columns(static_cast<size_t>(plan.sets));
    for_each_task<T>(plan.sets, plan.channels, [&](int64_t set, Room<T>& room) {
      columns[static_cast<size_t>(set)] = this->columns(set, tables.data() + static_cast<size_t>(set) * table, room);
    });
    const PoolVector<NormPlan::Run> blocks = cut_into_blocks(plan);
    parallel_for(static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end) {
      for (size_t i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
        apply_run(blocks[i], columns[static_cast<size_t>(blocks[i].set)]);
    });
  }

 private:
  using Call<T>::plan, Call<T>::spec, Call<T>::cells, Call<T>::unit, Call<T>::width;

  void whole_set(int64_t set, Room<T>& room) {
    std::fill_n(room.spread(0), 2 * plan.channels, 0.0);
    ChannelMoments moments{0, room.spread(0), room.spread(1)};
    const auto begin = plan.runs.begin() + plan.set_begin[static_cast<size_t>(set)],
               end = plan.runs.begin() + plan.set_begin[static_cast<size_t>(set) + 1];
    for (auto run = begin; run != end; ++run) add_run(tensors_.x, plan, *run, moments, room);
    store_cells(plan, moments, cells, set);
    solve_cells(spec, population_, cells, set * plan.groups, (set + 1) * plan.groups);
    const Columns<T> columns = this->columns(set, room.table(), room);
    for (auto run = begin; run != end; ++run) apply_run(*run, columns);
  }

  void apply_run(const NormPlan::Run& run, const Columns<T>& columns) {
    const size_t t = static_cast<size_t>(run.tensor);
    const int64_t at = run.first_row * plan.channels, wide = run.rows / unit, rest = run.rows % unit,
                  tail = at + wide * width;
    const T *x = tensors_.x[t].template data<T>(),
            *residual = tensors_.residual.empty() ? nullptr : tensors_.residual[t].template data<T>();
    T* y = tensors_.y[t].template mutable_data<T>();
    uint8_t* mask = tensors_.mask.empty() ? nullptr : tensors_.mask[t].template mutable_data<uint8_t>();
    const auto from = [](auto* p, int64_t place) { return p ? p + place : nullptr; };
    with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
      const T leak = static_cast<T>(spec.activation.slope);
      apply<kind>(x + at, from(residual, at), y + at, from(mask, at), wide, width, columns, leak);
      apply<kind>(x + tail, from(residual, tail), y + tail, from(mask, tail), rest, plan.channels, columns, leak);
    });
  }

  Population population_;
  const NormTensors& tensors_;
  const Tensor& all_cells_;
};

template <class T>
class Backward : Call<T> {
 public:
  Backward(const Call<T>& call, const NormGradients& tensors)
      : Call<T>(call), tensors_(tensors), sums_(static_cast<size_t>(plan.sets * plan.channels) * 2, 0.0) {}

  void run() {
    if (this->one_go()) {
      for_each_task<T>(plan.sets, plan.channels, [&](int64_t set, Room<T>& room) { whole_set(set, room); });
      return;
    }
    const PoolVector<NormPlan::Run> blocks = cut_into_blocks(plan);
    const size_t table = 5 * static_cast<size_t>(width), pair = 2 * static_cast<size_t>(plan.channels);
    const int64_t count = static_cast<int64_t>(blocks.size());
    PoolVector<T> tables(static_cast<size_t>(plan.sets) * table);
    PoolVector<Columns<T>> columns(static_cast<size_t>(plan.sets));
    PoolVector<double> partial(blocks.size() * pair, 0.0), totals(static_cast<size_t>(plan.cells()) * 2);
    for_each_task<T>(plan.sets, plan.channels, [&](int64_t set, Room<T>& room) {
      columns[static_cast<size_t>(set)] = this->columns(set, tables.data() + static_cast<size_t>(set) * table, room);
    });
    for_each_task<T>(count, plan.channels, [&](int64_t i, Room<T>& room) {
      const NormPlan::Run& block = blocks[static_cast<size_t>(i)];
      sum_run(block, columns[static_cast<size_t>(block.set)], partial.data() + static_cast<size_t>(i) * pair, room);
    });
    for (size_t i = 0; i < blocks.size(); ++i) {  // in the order of the blocks
      double *sum = sums(blocks[i].set), *add = partial.data() + i * pair;
      for (size_t c = 0; c < pair; ++c) sum[c] += add[c];
    }
    Room<T> own(plan.channels);
    for (int64_t set = 0; set < plan.sets; ++set) total(set, totals.data() + set * plan.groups * 2, own);
    if (spec.comm && this->measured()) share(totals);
    for_each_task<T>(plan.sets, plan.channels, [&](int64_t set, Room<T>& room) {
      double* sum = totals.data() + set * plan.groups * 2;
      means_of_totals(set, sum);
      columns[static_cast<size_t>(set)] =
          this->columns(set, tables.data() + static_cast<size_t>(set) * table, room, sum);
    });
    parallel_for(count, 1, [&](int64_t begin, int64_t end) {
      for (size_t i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
        gradient_run(blocks[i], columns[static_cast<size_t>(blocks[i].set)]);
    });
  }

  // Sums over sets of dgamma and dbeta, into f64 [affine sets, affine channels].
  void affine_gradients(const Tensor& dgamma, const Tensor& dbeta) {
    if (!dgamma.defined() && !dbeta.defined()) return;
    Room<T> room(plan.channels);
    PoolVector<double> unused(static_cast<size_t>(affine_per_set ? plan.sets * plan.channels : plan.channels));
    double *g = dgamma.defined() ? dgamma.mutable_data<double>() : unused.data(),
           *b = dbeta.defined() ? dbeta.mutable_data<double>() : unused.data();
    std::fill_n(g, dgamma.defined() ? dgamma.numel() : 0, 0.0);
    std::fill_n(b, dbeta.defined() ? dbeta.numel() : 0, 0.0);
    for (int64_t set = 0; set < plan.sets; ++set) {
      const double *inv = this->by_channel(cells.inv, set, room.spread(0)),
                   *offset = this->by_channel(cells.offset, set, room.spread(1)), *sum = sums(set),
                   *sum_x = sum + plan.channels;
      double *to_g = g + this->affine_begin(set), *to_b = b + this->affine_begin(set);
      for (int64_t from = 0; from < plan.normalized; from += plan.affine_channels) {
        for (int64_t c = 0; c < this->affine_size(); ++c) {
          to_g[c] += inv[from + c] * sum_x[from + c] + offset[from + c] * sum[from + c];
          to_b[c] += sum[from + c];
        }
      }
    }
  }

 private:
  using Call<T>::plan, Call<T>::spec, Call<T>::cells, Call<T>::unit, Call<T>::width, Call<T>::affine_per_set;

  double* sums(int64_t set) { return sums_.data() + set * plan.channels * 2; }  // [2, C]: dy and dy (x - mean)

  template <class F>
  void with_kind(F&& f) {
    with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
      if (tensors_.mask.empty()) f.template operator()<kind, false>();
      else f.template operator()<kind, true>();
    });
  }

  struct Pointers {
    const T *dy, *x;
    const uint8_t* mask;
    T *dx, *dresidual;
    Pointers at(int64_t place) const {
      return {dy + place, x + place, mask ? mask + place : nullptr, dx ? dx + place : nullptr,
              dresidual ? dresidual + place : nullptr};
    }
  };
  Pointers pointers(const NormPlan::Run& run) const {
    const size_t t = static_cast<size_t>(run.tensor);
    const auto target = [&](std::span<const Tensor> all) -> T* {
      return all.empty() || !all[t].defined() ? nullptr : all[t].template mutable_data<T>();
    };
    return Pointers{tensors_.dy[t].template data<T>(), tensors_.x[t].template data<T>(),
                    tensors_.mask.empty() ? nullptr : tensors_.mask[t].template data<uint8_t>(), target(tensors_.dx),
                    target(tensors_.dresidual)}
        .at(run.first_row * plan.channels);
  }

  // Adds a run's sums to `sum` [2, C]: of dy and of dy (x - high).
  void sum_run(const NormPlan::Run& run, const Columns<T>& columns, double* sum, Room<T>& room) {
    Pointers p = pointers(run);
    T* scratch = room.sums();
    for (int64_t rows = run.rows; rows > 0;) {
      const int64_t wide = rows >= unit ? unit : 1, n = std::min(rows / wide, kChunkRows),
                    across = wide * plan.channels;
      std::fill_n(scratch, 2 * across, T(0));
      with_kind([&]<Activation::Kind kind, bool masked>() {
        add_sums<kind, masked>(p.dy, p.x, p.mask, n, across, columns, static_cast<T>(spec.activation.slope), scratch,
                               scratch + across);
      });
      for (int64_t u = 0; u < wide; ++u) {
        const T *s = scratch + u * plan.channels, *sx = s + across;
        for (int64_t c = 0; c < plan.channels; ++c) sum[c] += s[c];
        for (int64_t c = 0; c < plan.channels; ++c) sum[plan.channels + c] += sx[c];
      }
      p = p.at(n * across);
      rows -= n * wide;
    }
  }

  // totals [2, groups]: the sums over a set's cells of gamma inv dy (x - mean) and of gamma inv dy. Corrects the set's
  // channel sums on the way: (x - mean) for (x - high).
  void total(int64_t set, double* totals, Room<T>& room) {
    double *sum = sums(set), *sum_x = sum + plan.channels, *weighted = room.spread(2), *weighted_x = room.spread(3);
    const double *mean = this->by_channel(cells.mean, set, room.spread(0)),
                 *inv = this->by_channel(cells.inv, set, room.spread(1));
    this->for_each_channel(set, [&](int64_t c, double g, double) {
      sum_x[c] -= (mean[c] - static_cast<double>(static_cast<T>(mean[c]))) * sum[c];
      weighted[c] = g * inv[c] * sum[c];
      weighted_x[c] = g * inv[c] * sum_x[c];
    });
    std::fill_n(totals, plan.groups * 2, 0.0);
    for (int64_t g = 0; g * plan.group_size < plan.normalized; ++g) {
      for (int64_t c = g * plan.group_size; c < (g + 1) * plan.group_size; ++c) {
        totals[g] += weighted_x[c];
        totals[plan.groups + g] += weighted[c];
      }
    }
  }

  // From these totals, in place, the slope and offset of dx = scale dy - (x - mean) slope - offset.
  void means_of_totals(int64_t set, double* totals) {
    if (!this->measured()) std::fill_n(totals, plan.groups * 2, 0.0);
    for (int64_t g = 0; g < plan.groups; ++g) {
      const int64_t i = set * plan.groups + g;
      const double count = cells.count[i] > 0 ? cells.count[i] : 1;
      totals[g] *= cells.rstd[i] * cells.rstd[i] / count;
      totals[plan.groups + g] *= spec.center ? 1 / count : 0;
    }
  }

  void gradient_run(const NormPlan::Run& run, const Columns<T>& columns) {
    const Pointers p = pointers(run), q = p.at(run.rows / unit * width);
    const size_t t = static_cast<size_t>(run.tensor);
    const bool add_dx = p.dx && tensors_.add_dx[t], add_dresidual = p.dresidual && tensors_.add_dresidual[t];
    with_kind([&]<Activation::Kind kind, bool masked>() {
      const T leak = static_cast<T>(spec.activation.slope);
      apply_gradient<kind, masked>(p.dy, p.x, p.mask, p.dx, add_dx, p.dresidual, add_dresidual, run.rows / unit, width,
                                   columns, leak);
      apply_gradient<kind, masked>(q.dy, q.x, q.mask, q.dx, add_dx, q.dresidual, add_dresidual, run.rows % unit,
                                   plan.channels, columns, leak);
    });
  }

  void whole_set(int64_t set, Room<T>& room) {
    const auto begin = plan.runs.begin() + plan.set_begin[static_cast<size_t>(set)],
               end = plan.runs.begin() + plan.set_begin[static_cast<size_t>(set) + 1];
    const Columns<T> forward = this->columns(set, room.table(), room);
    for (auto run = begin; run != end; ++run) sum_run(*run, forward, sums(set), room);
    total(set, room.totals(), room);
    means_of_totals(set, room.totals());
    const Columns<T> columns = this->columns(set, room.table(), room, room.totals());
    for (auto run = begin; run != end; ++run) gradient_run(*run, columns);
  }

  // Sums the totals over all workers, by rank.
  void share(PoolVector<double>& totals) {
    const size_t n = totals.size(), workers = static_cast<size_t>(spec.comm->size());
    PoolVector<double> all(n * workers);
    spec.comm->all_gather(totals, all);
    std::fill(totals.begin(), totals.end(), 0.0);
    for (size_t i = 0; i < all.size(); ++i) totals[i % n] += all[i];
  }

  const NormGradients& tensors_;
  PoolVector<double> sums_;
};

}  // namespace

namespace cpu {

void norm_forward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                  const Tensor& population, const Tensor& cells, const NormTensors& tensors) {
  dispatch_floating("norm", tensors.x[0].dtype(), [&]<class T>() {
    if (plan.row_sets) norm_rows_forward<T>(plan, spec, gamma, beta, population, cells, tensors);
    else Forward<T>({plan, spec, gamma, beta, cells.mutable_data<double>()}, population, cells, tensors).run();
  });
}

void norm_backward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                   const Tensor& cells, const Tensor& dgamma, const Tensor& dbeta, const NormGradients& tensors) {
  dispatch_floating("norm", tensors.x[0].dtype(), [&]<class T>() {
    if (plan.row_sets) {
      norm_rows_backward<T>(plan, spec, gamma, beta, cells, dgamma, dbeta, tensors);
    } else {
      double* read_only = const_cast<double*>(cells.data<double>());  // the backward pass writes no cell
      Backward<T> backward({plan, spec, gamma, beta, read_only}, tensors);
      backward.run();
      backward.affine_gradients(dgamma, dbeta);
    }
  });
}

void norm_moments(const NormPlan& plan, const Tensor& cells, std::span<const Tensor> xs) {
  dispatch_floating("moments", xs[0].dtype(), [&]<class T>() {
    if (plan.row_sets) norm_rows_moments<T>(plan, cells, xs[0]);
    else moments_of_blocks<T>(plan, xs, CellArrays(cells.mutable_data<double>(), plan.cells()));
  });
}

}  // namespace cpu
}  // namespace norma
