// The passes of the norm family over x, for the CPU kernels of ops/norm/norm_cpu.cc and ops/norm/norm_max_pool.cc:
// which rows are taken together, and in which order partial results are merged. One design for all groupings. Where a
// set of rows fits into a core's cache, a task does both of its passes while it is there; larger sets are cut into
// blocks that do not depend on the number of threads, in two parallel passes. What is done to the elements of a block,
// beyond measuring them, is passed in. Not a public header.
#pragma once

#include "norma/ops/norm/norm_blocks.h"
#include "norma/ops/norm/norm_cpu.h"

NORMA_SIMD_BEGIN
namespace norm_rows {

// A set of rows up to this size is done in one go, where there are enough of them.
inline constexpr int64_t kSetBytes = 512 * 1024;
inline constexpr int64_t kEnoughSets = 16;

// A task's scratch memory: rows of `width` for columns and accumulators, rows of `channels` for 0 to 2 spread cells, 3
// and 4 weighted sums, 5 and 6 totals, 7 and 8 sums.
template <class T>
struct Room {
  T* wide;
  double* narrow;
  double* row(int64_t i, int64_t channels) const { return narrow + i * channels; }
};

// What both directions need to know about a call.
template <class T>
struct Call {
  const NormPlan& plan;
  const NormSpec& spec;
  const CellArrays cells;
  const int64_t width;
  const bool affine_per_set;
  PoolVector<double> gamma, beta;  // [affine sets, channels]; 1 and 0 where there are none
  PoolVector<double> zero;         // [channels]

  Call(const NormPlan& p, const NormSpec& s, const Tensor& g, const Tensor& b, const Tensor& c)
      : plan(p),
        spec(s),
        cells(const_cast<double*>(c.data<double>()), p.cells()),  // which only the forward pass writes
        width(rows_per_wide_row(p.channels) * p.channels),
        affine_per_set((g.defined() && g.rank() == 2) || (b.defined() && b.rank() == 2)),
        gamma(by_channel(g, 1)),
        beta(by_channel(b, 0)),
        zero(static_cast<size_t>(p.channels), 0.0) {}

  PoolVector<double> by_channel(const Tensor& parameter, double otherwise) const {
    PoolVector<double> result(static_cast<size_t>((affine_per_set ? plan.sets : 1) * plan.channels), otherwise);
    if (!parameter.defined()) return result;
    const T* from = parameter.data<T>();
    const int64_t size = plan.affine_size();  // parameters a set
    for (size_t set = 0; set * static_cast<size_t>(plan.channels) < result.size(); ++set, from += size)
      // More than once where positions are channels.
      for (int64_t at = 0; at < plan.normalized; at += plan.affine_channels)
        std::copy_n(from, size, result.begin() + static_cast<int64_t>(set) * plan.channels + at);
    return result;
  }
  int64_t affine_at(int64_t set) const { return affine_per_set ? set * plan.channels : 0; }

  bool measured() const { return spec.source != Statistics::Source::given; }
  // Whether each set is to be done in one go by one task.
  bool one_go() const {
    return !spec.comm && plan.sets >= kEnoughSets &&
           plan.set_rows[0] * plan.channels * static_cast<int64_t>(sizeof(T)) <= kSetBytes;
  }

  Room<T> room() const { return {scratch<T, 0>((kColumnParts + 3) * width), scratch<double, 1>(9 * plan.channels)}; }
  // Calls f(block, room) for all blocks, in parallel.
  template <class F>
  void for_each(const Blocks& blocks, F&& f) const {
    parallel_for(static_cast<int64_t>(blocks.list.size()), 1, [&](int64_t begin, int64_t end) {
      for (size_t i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) f(blocks.list[i], i, room());
    });
  }
  // Calls f(set, room) for all sets, in parallel if there is enough to do: about `work` values a channel.
  template <class F>
  void for_each_set(int64_t work, F&& f) const {
    parallel_for(plan.sets, kBlockElements / 4 / (work * plan.channels) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t set = begin; set < end; ++set) f(set, room());
    });
  }

  // A value a cell as a value a channel, `other` for those that pass through: in place where they are the same.
  const double* spread(const double* by_cell, double other, double* to) const {
    if (plan.group_size > 1) spread_groups(by_cell, plan.groups, plan.group_size, to);
    else if (plan.normalized == plan.channels) return by_cell;
    else std::fill(std::copy_n(by_cell, plan.normalized, to), to + plan.channels, other);
    return to;
  }

  struct Spread {
    const double *mean, *inv, *offset;
  };
  Spread spread(int64_t set, const Room<T>& room) const {
    const int64_t first = set * plan.groups;
    const bool moved = spec.source == Statistics::Source::renorm;
    return {spread(cells.mean + first, 0, room.row(0, plan.channels)),
            spread(cells.inv + first, 1, room.row(1, plan.channels)),
            moved ? spread(cells.offset + first, 0, room.row(2, plan.channels)) : zero.data()};
  }

  // The columns of a set, but for those of the gradient.
  Columns<T> columns(int64_t set, const Spread& s, T* table) const {
    const Columns<T> to(table, width);
    fill_columns(plan.channels, s.mean, s.inv, s.offset, gamma.data() + affine_at(set), beta.data() + affine_at(set),
                 to.high, to.scale, to.shift);
    for (T* part : {to.high, to.scale, to.shift}) repeat(part);
    return to;
  }
  // The same for all sets, in parallel: a function that returns those of a set.
  auto columns_of_sets() const {
    T* tables = scratch<T, 3>(plan.sets * width * kColumnParts);
    const auto of_set = [=, w = width](int64_t set) { return Columns<T>(tables + set * w * kColumnParts, w); };
    for_each_set(1, [&](int64_t set, const Room<T>& room) { columns(set, spread(set, room), of_set(set).high); });
    return of_set;
  }
  void repeat(T* part) const {
    for (int64_t at = plan.channels; at < width; at += plan.channels) std::copy_n(part, plan.channels, part + at);
  }
};

// The cells of a set from the moments of its channels, merged group by group.
inline void store_cells(const NormPlan& plan, const ChannelMoments& channel, const CellArrays& cells, int64_t set) {
  const int64_t first = set * plan.groups;
  if (plan.group_size == 1) {
    std::fill_n(cells.count + first, plan.groups, channel.count);
    std::copy_n(channel.mean, plan.groups, cells.mean + first);
    std::copy_n(channel.m2, plan.groups, cells.m2 + first);
    return;
  }
  // All channels count alike: the mean of the means, and the squares of what is between them.
  with_group_size(plan.group_size, [&]<int64_t kSize>() {
    const int64_t size = kSize > 0 ? kSize : plan.group_size;
    const double inverse = 1 / static_cast<double>(size), rows = channel.count;
    double *__restrict count = cells.count + first, *__restrict to_mean = cells.mean + first,
                       *__restrict to_m2 = cells.m2 + first;
    for (int64_t g = 0; g < plan.groups; ++g) {
      const double *means = channel.mean + g * size, *m2s = channel.m2 + g * size;
      double away = 0, m2 = 0, between = 0;
      for (int64_t c = 0; c < size; ++c) away += means[c] - means[0];
      const double mean = means[0] + away * inverse;
      for (int64_t c = 0; c < size; ++c) {
        m2 += m2s[c];
        between += (means[c] - mean) * (means[c] - mean);
      }
      count[g] = rows * static_cast<double>(size);
      to_mean[g] = mean;
      to_m2[g] = m2 + rows * between;
    }
  });
}

// The moments of the channels of a block, in mean, m2 [C].
template <class T>
ChannelMoments measure(const NormPlan& plan, const Block& block, std::span<const Tensor> xs, double* mean, double* m2,
                       const Room<T>& room) {
  std::fill_n(mean, plan.channels, 0.0);
  std::fill_n(m2, plan.channels, 0.0);
  ChannelMoments moments{0, mean, m2};
  for_each_chunk(plan, block, [&](const Chunk& chunk) {
    add_moments(xs[static_cast<size_t>(chunk.tensor)].data<T>(), chunk, plan.channels, moments, room.wide);
  });
  return moments;
}

// The first pass over large sets: blocks in parallel, then merged by set in the order of the blocks.
template <class T>
void measure_blocks(const Call<T>& call, const Blocks& blocks, std::span<const Tensor> xs) {
  const NormPlan& plan = call.plan;
  const int64_t channels = plan.channels;
  double* partial = scratch<double, 2>(static_cast<int64_t>(blocks.list.size()) * 2 * channels);
  PoolVector<double> rows(blocks.list.size());
  call.for_each(blocks, [&](const Block& block, size_t i, const Room<T>& room) {
    double* mean = partial + i * 2 * static_cast<size_t>(channels);
    rows[i] = measure(plan, block, xs, mean, mean + channels, room).count;
  });
  call.for_each_set(blocks.a_set(plan), [&](int64_t set, const Room<T>& room) {
    double* own = room.narrow;
    std::fill_n(own, 2 * channels, 0.0);
    ChannelMoments moments{0, own, own + channels};
    blocks.for_each_of(set, [&](size_t i) {
      const double* mean = partial + i * 2 * static_cast<size_t>(channels);
      moments.merge(channels, rows[i], mean, mean + channels);
    });
    store_cells(plan, moments, call.cells, set);
  });
}

// Fills the cells and calls apply(block, columns) for all rows of y. Their plan is `out`: x's, or one with the same
// sets of other rows.
template <class T, class F>
void run_forward(const Call<T>& call, const NormPlan& out, const Population& population, const Tensor& all_cells,
                 std::span<const Tensor> xs, F&& apply) {
  const NormPlan& plan = call.plan;
  if (call.measured() && call.one_go()) {
    parallel_for(plan.sets, 1, [&](int64_t begin, int64_t end) {
      const Room<T> room = call.room();
      for (int64_t set = begin; set < end; ++set) {
        double* mean = room.narrow;
        store_cells(plan, measure(plan, whole_set(plan, set), xs, mean, mean + plan.channels, room), call.cells, set);
        solve_cells(call.spec, population, call.cells, set * plan.groups, (set + 1) * plan.groups);
        apply(whole_set(out, set), call.columns(set, call.spread(set, room), room.wide));
      }
    });
    return;
  }
  const Blocks blocks(plan);
  if (call.measured()) measure_blocks<T>(call, blocks, xs);
  if (call.spec.comm) reduce_norm_cells(*call.spec.comm, all_cells);
  solve_cells(call.spec, population, call.cells, 0, plan.cells());
  const auto columns_of = call.columns_of_sets();
  const auto apply_to = [&](const Block& block, size_t, const Room<T>&) { apply(block, columns_of(block.set)); };
  if (&out == &plan) call.for_each(blocks, apply_to);
  else call.for_each(Blocks(out), apply_to);
}

template <class T>
class Backward : Call<T> {
 public:
  explicit Backward(Call<T>&& call)
      : Call<T>(std::move(call)),
        affine_(static_cast<size_t>(2 * plan.channels *
                                    (affine_per_set || !this->one_go() ? plan.sets : slot_count(plan.sets, 1)))) {}

  // sum(block, columns, sums, scratch) adds the block's sums of dy and of dy (x - high), dy behind the activation, to
  // sums [2, C]; scratch has 2 * width elements. gradient(block, columns) writes dx.
  template <class Sum, class Gradient>
  void run(Sum&& sum, Gradient&& gradient) {
    const int64_t channels = plan.channels, pair = 2 * channels;
    const auto sum_block = [&](const Block& block, const Columns<T>& columns, double* sums, const Room<T>& room) {
      std::fill_n(sums, pair, 0.0);
      sum(block, columns, sums, room.wide + kColumnParts * width);
    };
    if (this->one_go()) {
      parallel_ranges(plan.sets, 1, [&](int slot, int64_t begin, int64_t end) {
        const Room<T> room = this->room();
        for (int64_t set = begin; set < end; ++set) {
          const Block block = whole_set(plan, set);
          double *totals = room.row(5, channels), *sums = room.row(7, channels);
          const Spread spread = this->spread(set, room);
          const Columns<T> columns = this->columns(set, spread, room.wide);
          sum_block(block, columns, sums, room);
          total(set, spread, affine_per_set ? set : slot, sums, totals, room);
          gradient_columns(set, spread, totals, columns, room);
          gradient(block, columns);
        }
      });
      return;
    }
    const Blocks blocks(plan);
    double* partial = scratch<double, 2>(static_cast<int64_t>(blocks.list.size()) * pair);
    PoolVector<double> totals(static_cast<size_t>(plan.cells()) * 2);
    const auto columns_of = this->columns_of_sets();
    this->for_each(blocks, [&](const Block& block, size_t i, const Room<T>& room) {
      sum_block(block, columns_of(block.set), partial + i * static_cast<size_t>(pair), room);
    });
    this->for_each_set(blocks.a_set(plan), [&](int64_t set, const Room<T>& room) {
      double* __restrict sums = room.row(7, channels);
      std::fill_n(sums, pair, 0.0);
      blocks.for_each_of(set, [&](size_t i) {
        const double* __restrict add = partial + i * static_cast<size_t>(pair);
        for (int64_t c = 0; c < pair; ++c) sums[c] += add[c];
      });
      total(set, this->spread(set, room), set, sums, totals.data() + set * plan.groups * 2, room);
    });
    if (spec.comm && this->measured()) sum_over_workers(*spec.comm, totals);
    this->for_each_set(1, [&](int64_t set, const Room<T>& room) {
      gradient_columns(set, this->spread(set, room), totals.data() + set * plan.groups * 2, columns_of(set), room);
    });
    this->for_each(blocks, [&](const Block& block, size_t, const Room<T>&) { gradient(block, columns_of(block.set)); });
  }

  void affine_gradients(const Tensor& dgamma, const Tensor& dbeta) const {
    sum_affine_gradients(plan, affine_per_set, affine_, dgamma, dbeta);
  }

 private:
  using Call<T>::plan, Call<T>::spec, Call<T>::cells, Call<T>::width, Call<T>::affine_per_set;
  using typename Call<T>::Spread;

  // totals [2, groups]: the sums over a set's cells of gamma inv dy (x - mean) and of gamma inv dy, from the sums of
  // its channels; adds to the part's dgamma and dbeta.
  void total(int64_t set, const Spread& s, int64_t part, const double* sum, double* totals, const Room<T>& room) {
    const int64_t channels = plan.channels, size = plan.group_size;
    double *weighted_x = size == 1 ? totals : room.row(3, channels),
           *weighted = size == 1 ? totals + plan.groups : room.row(4, channels),
           *dgamma = affine_.data() + part * 2 * channels;
    weigh_sums<T>(plan.normalized, s.mean, s.inv, s.offset, this->gamma.data() + this->affine_at(set), sum,
                  sum + channels, weighted, weighted_x, dgamma, dgamma + channels);
    if (size == 1) return;
    sum_groups(weighted_x, plan.groups, size, totals);
    sum_groups(weighted, plan.groups, size, totals + plan.groups);
  }

  // From these totals, in place, the slope and offset of dx = scale dy - (x - mean) slope - offset, by cell; then by
  // column.
  void gradient_columns(int64_t set, const Spread& s, double* totals, const Columns<T>& columns, const Room<T>& room) {
    const int64_t first = set * plan.groups;
    means_of_totals(plan.groups, cells.count + first, cells.rstd + first, this->measured(), spec.center, totals,
                    totals + plan.groups);
    const int64_t channels = plan.channels;
    fill_gradient_columns(channels, s.mean, this->spread(totals, 0, room.row(3, channels)),
                          this->spread(totals + plan.groups, 0, room.row(4, channels)), columns.slope, columns.offset);
    for (T* part : {columns.slope, columns.offset}) this->repeat(part);
  }

  PoolVector<double> affine_;  // dgamma and dbeta of sets or slots, [sets or slots, 2, C]
};

}  // namespace norm_rows
NORMA_SIMD_END
