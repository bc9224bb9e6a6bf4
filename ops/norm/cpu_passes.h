// The passes of the norm family over x where sets share rows, on the CPU, for ops/norm/cpu_sets.cc and
// ops/norm/norm_max_pool_cpu.cc: which rows are taken together, and in which order partial results are merged. What is
// done to the elements of a block, beyond measuring them, is passed in. Not a public header.
//
// One design for all groupings. Where a set of rows fits into a core's cache, a task does both of its passes while it
// is there; larger sets are cut into blocks that do not depend on the number of threads, in two parallel passes.
#pragma once

#include "norma/core/parallel.h"
#include "norma/ops/norm/cpu_tiles.h"

NORMA_SIMD_BEGIN
namespace norm_kernel {

// A set of rows up to this size is done in one go, where there are enough of them.
inline constexpr int64_t kSetBytes = 512 * 1024;
inline constexpr int64_t kEnoughSets = 16;
inline constexpr int64_t kBlockElements = 16 * 1024;  // of a block of a larger set, about

inline NormBlock whole_set(const NormPlan& plan, int64_t set) { return {set, plan.runs_of(set)}; }

inline NormBlocks cut_into_blocks(const NormPlan& plan) {
  const int64_t rows = std::accumulate(plan.rows.begin(), plan.rows.end(), int64_t{0});
  const bool scattered = std::ssize(plan.runs) > plan.sets * std::ssize(plan.rows);  // each part has all sets, then
  const int64_t elements = kBlockElements * (scattered ? plan.sets : 1);
  return NormBlocks(plan, std::clamp<int64_t>(rows * plan.channels / elements, 1, kMaxSlots));
}

// Calls f(list) for the rows of a block, as wide rows where enough of them lie together.
template <class F>
void for_each_row_list(const NormPlan& plan, const NormBlock& block, F&& f) {
  const int64_t unit = rows_per_wide_row(plan.channels);
  RowList list;
  const auto flush = [&] {
    if (list.count > 0) f(list);
    list.count = 0;
  };
  for (const NormPlan::Run& run : block.runs) {
    int64_t rows = run.rows, at = run.first_row * plan.channels;
    for (int64_t together = unit; rows > 0; together = 1) {  // then what is less than a wide row, one by one
      const int64_t width = together * plan.channels;
      if (list.tensor != run.tensor || list.width != width) flush();
      list.tensor = run.tensor;
      list.width = width;
      while (rows >= together) {
        const int64_t n = std::min(together == 1 ? rows : rows / together, kListRows - list.count);
        for (int64_t i = 0; i < n; ++i) list.at[list.count + i] = at + i * width;
        list.count += n;
        at += n * width;
        rows -= n * together;
        if (list.count == kListRows) flush();
      }
    }
  }
  flush();
}

// A task's scratch memory.
template <class T>
struct TaskScratch {
  Columns<T> columns;             // [width] each
  T* accumulators;                // [3, width]
  double *mean, *inv, *offset;    // [C]: ChannelStatistics where a cell has several channels
  double *sum_of_g_x, *sum_of_g;  // [C]: of each channel, and then its slope and offset
  double* totals;                 // [2, groups]: the same of each cell
  double* sums;                   // [2, C]: what a block adds up

  TaskScratch(int64_t channels, int64_t width)
      : columns(scratch<T, 0>((kColumnParts + 3) * width), width), accumulators(columns.high + kColumnParts * width) {
    double* next = scratch<double, 1>(9 * channels);
    for (double** part : {&mean, &inv, &offset, &sum_of_g_x, &sum_of_g}) *part = next, next += channels;
    totals = next;
    sums = next + 2 * channels;
  }
};

// A call of norm, made ready for the passes of both directions.
template <class T>
struct Passes {
  const NormCall& call;
  const NormPlan& plan = call.plan;
  const CellArrays cells{call};
  const int64_t width = rows_per_wide_row(plan.channels) * plan.channels;  // of a wide row
  // [affine sets, channels], 1 and 0 where there are none; and [channels].
  const PoolVector<double> gammas = by_channel(call.gamma, 1), betas = by_channel(call.beta, 0);
  const PoolVector<double> zeros = PoolVector<double>(plan.channels, 0.0);

  // Whether each set is to be done in one go by one task.
  bool one_go() const {
    return !call.comm && plan.sets >= kEnoughSets &&
           plan.rows_of(0) * plan.channels * static_cast<int64_t>(sizeof(T)) <= kSetBytes;
  }
  TaskScratch<T> task_scratch() const { return {plan.channels, width}; }

  // Calls f(block, i, scratch) for all blocks, in parallel.
  template <class F>
  void for_each_block(const NormBlocks& blocks, F&& f) const {
    parallel_each(std::ssize(blocks.list), 1, [&](int64_t i) { f(blocks.list[i], i, task_scratch()); });
  }
  // Calls f(set, scratch) for all sets, in parallel if there is enough to do: about `work` values a channel.
  template <class F>
  void for_each_set(int64_t work, F&& f) const {
    const int64_t grain = kBlockElements / 4 / (work * plan.channels) + 1;
    parallel_each(plan.sets, grain, [&](int64_t set) { f(set, task_scratch()); });
  }

  // A value a cell as a value a channel, `other` for those that pass through: in place where they are the same.
  const double* spread(const double* by_cell, double other, double* to) const {
    if (plan.group_size > 1) spread_groups(by_cell, plan.groups, plan.group_size, to);
    else if (plan.normalized == plan.channels) return by_cell;
    else std::fill(std::copy_n(by_cell, plan.normalized, to), to + plan.channels, other);
    return to;
  }
  ChannelStatistics statistics(int64_t set, const TaskScratch<T>& scratch) const {
    const int64_t first = set * plan.groups;
    return {spread(cells.mean + first, 0, scratch.mean), spread(cells.inv + first, 1, scratch.inv),
            call.source == Statistics::Source::renorm ? spread(cells.offset + first, 0, scratch.offset) : zeros.data()};
  }
  const double* gamma(int64_t set) const { return gammas.data() + plan.affine_at(set); }

  void fill_forward(int64_t set, const ChannelStatistics& s, const Columns<T>& to) const {
    const double *weight = gamma(set), *bias = betas.data() + plan.affine_at(set);
    for (int64_t c = 0; c < plan.channels; ++c) {
      const ForwardColumn<T> column = forward_column<T>(s.mean[c], s.inv[c], s.offset[c], weight[c], bias[c]);
      to.high[c] = column.high;
      to.scale[c] = column.scale;
      to.shift[c] = column.shift;
    }
    for (T* part : {to.high, to.scale, to.shift}) widen(part);
  }
  // totals [2, groups]: the sums over a set's cells of g (x - mean) and of g = gamma inv dy, from the sums of its
  // channels. Adds what they say of dgamma and dbeta to these, [2, C].
  void total(int64_t set, const ChannelStatistics& s, const double* sums, double* totals, double* dgamma,
             const TaskScratch<T>& scratch) const {
    const int64_t channels = plan.channels, size = plan.group_size;
    double *of_g_x = size == 1 ? totals : scratch.sum_of_g_x, *of_g = of_g_x + plan.groups * size;
    weigh_sums<T>(plan.normalized, s, gamma(set), sums, sums + channels, of_g, of_g_x, dgamma, dgamma + channels);
    if (size > 1) sum_groups(of_g_x, 2 * plan.groups, size, totals);
  }
  // From these totals, which it overwrites by the slopes and offsets of the cells, those of the columns.
  void fill_gradient(int64_t set, const ChannelStatistics& s, double* totals, const Columns<T>& to,
                     const TaskScratch<T>& scratch) const {
    solve_gradients(cells, set * plan.groups, plan.groups, plan.pool, call.center, totals, totals + plan.groups);
    const double *slope = spread(totals, 0, scratch.sum_of_g_x),
                 *offset = spread(totals + plan.groups, 0, scratch.sum_of_g);
    for (int64_t c = 0; c < plan.channels; ++c) {
      to.slope[c] = static_cast<T>(slope[c]);
      to.offset[c] = static_cast<T>(offset_from_high<T>(offset[c], slope[c], s.mean[c]));
    }
    for (T* part : {to.slope, to.offset}) widen(part);
  }
  // The forward columns of all sets, in parallel: a function that returns those of a set.
  auto columns_of_sets() const {
    T* memory = scratch<T, 3>(plan.sets * width * kColumnParts);
    const auto of_set = [=, w = width](int64_t set) { return Columns<T>(memory + set * w * kColumnParts, w); };
    for_each_set(1, [&](int64_t set, const TaskScratch<T>& scratch) {
      fill_forward(set, statistics(set, scratch), of_set(set));
    });
    return of_set;
  }
  // Repeats what stands there for the channels, for all of a wide row.
  void widen(T* part) const {
    for (int64_t at = plan.channels; at < width; at += plan.channels) std::copy_n(part, plan.channels, part + at);
  }

  PoolVector<double> by_channel(const Tensor& parameter, double otherwise) const {
    PoolVector<double> result(plan.affine_sets * plan.channels, otherwise);
    if (!parameter.defined()) return result;
    const T* from = parameter.data<T>();
    const int64_t size = plan.affine_size();  // parameters a set
    for (int64_t begin = 0; begin < std::ssize(result); begin += plan.channels, from += size)
      // More than once where positions are channels.
      for (int64_t at = 0; at < plan.normalized; at += plan.affine_channels)
        std::copy_n(from, size, result.begin() + begin + at);
    return result;
  }
};

// The moments of the channels of a block, in `memory` [2, C].
template <class T>
ChannelMoments measure(const NormPlan& plan, const NormBlock& block, const PoolVector<const T*>& xs, double* memory,
                       T* accumulators) {
  std::fill_n(memory, 2 * plan.channels, 0.0);
  ChannelMoments moments{0, memory, memory + plan.channels};
  for_each_row_list(plan, block, [&](const RowList& list) {
    add_moments(xs[list.tensor], list, plan.channels, moments, accumulators);
  });
  return moments;
}

// The first pass over large sets: blocks in parallel, then merged by set in the order of the blocks.
template <class T>
void measure_blocks(const Passes<T>& passes, const NormBlocks& blocks, const PoolVector<const T*>& xs) {
  const NormPlan& plan = passes.plan;
  const int64_t pair = 2 * plan.channels;  // mean and M2
  double* partial = scratch<double, 2>(std::ssize(blocks.list) * pair);
  PoolVector<double> rows(blocks.list.size());
  passes.for_each_block(blocks, [&](const NormBlock& block, int64_t i, const TaskScratch<T>& scratch) {
    rows[i] = measure(plan, block, xs, partial + i * pair, scratch.accumulators).count;
  });
  passes.for_each_set(blocks.per_set(plan), [&](int64_t set, const TaskScratch<T>& scratch) {
    std::fill_n(scratch.sums, pair, 0.0);
    ChannelMoments moments{0, scratch.sums, scratch.sums + plan.channels};
    for (int64_t i : blocks.of_set[set])
      moments.merge(plan.channels, rows[i], partial + i * pair, partial + i * pair + plan.channels);
    store_cells(plan, moments, passes.cells, set);
  });
}

// Fills the cells and calls apply(block, columns) for all rows of y. `out` is the plan of y's rows: x's own, or, where
// a max-pool follows, the same sets with fewer rows.
template <class T, class F>
void run_forward(const Passes<T>& passes, const NormPlan& out, const PoolVector<const T*>& xs, F&& apply) {
  const NormCall& call = passes.call;
  const NormPlan& plan = passes.plan;
  if (passes.one_go())
    return parallel_each(plan.sets, 1, [&](int64_t set) {
      const TaskScratch<T> scratch = passes.task_scratch();
      const NormBlock rows = whole_set(plan, set);
      if (call.measured())
        store_cells(plan, measure(plan, rows, xs, scratch.sums, scratch.accumulators), passes.cells, set);
      solve_cells(call, passes.cells, set * plan.groups, (set + 1) * plan.groups);
      passes.fill_forward(set, passes.statistics(set, scratch), scratch.columns);
      apply(whole_set(out, set), scratch.columns);
    });
  const NormBlocks blocks = cut_into_blocks(plan);
  if (call.measured()) measure_blocks<T>(passes, blocks, xs);
  call.merge_over_workers();
  solve_cells(call, passes.cells, 0, plan.cells());
  const auto columns_of = passes.columns_of_sets();
  const auto apply_to = [&](const NormBlock& block, int64_t, const TaskScratch<T>&) {
    apply(block, columns_of(block.set));
  };
  if (&out == &plan) passes.for_each_block(blocks, apply_to);
  else passes.for_each_block(cut_into_blocks(out), apply_to);
}

// The passes of the gradient. sum(block, columns, sums, accumulators) adds the block's sums of dy and of dy (x - high),
// dy behind the activation, to sums [2, C]; accumulators are [2, width]. gradient(block, columns) writes dx.
template <class T, class Sum, class Gradient>
void run_backward(const NormCall& call, const Tensor& affine, const Sum& sum, const Gradient& gradient) {
  using Scratch = TaskScratch<T>;
  const Passes<T> passes{call};
  const NormPlan& plan = call.plan;
  const int64_t pair = 2 * plan.channels;
  const bool per_set = plan.affine_sets > 1, one_go = passes.one_go();
  // dgamma and dbeta of sets or slots, [sets or slots, 2, C].
  PoolVector<double> parts(pair * (per_set || !one_go ? plan.sets : slot_count(plan.sets, 1)));
  if (one_go) {  // both passes over a set by one task
    parallel_ranges(plan.sets, 1, [&](int slot, int64_t begin, int64_t end) {
      const Scratch scratch = passes.task_scratch();
      for (int64_t set = begin; set < end; ++set) {
        const NormBlock block = whole_set(plan, set);
        const ChannelStatistics statistics = passes.statistics(set, scratch);
        passes.fill_forward(set, statistics, scratch.columns);
        std::fill_n(scratch.sums, pair, 0.0);
        sum(block, scratch.columns, scratch.sums, scratch.accumulators);
        double* part = parts.data() + (per_set ? set : slot) * pair;
        passes.total(set, statistics, scratch.sums, scratch.totals, part, scratch);
        passes.fill_gradient(set, statistics, scratch.totals, scratch.columns, scratch);
        gradient(block, scratch.columns);
      }
    });
  } else {  // each pass over all blocks, with the totals of the cells between them
    const NormBlocks blocks = cut_into_blocks(plan);
    double* partial = scratch<double, 2>(std::ssize(blocks.list) * pair);
    const Tensor totals({plan.sets, 2, plan.groups}, f64);
    const auto totals_of = [&, to = totals.mutable_data<double>()](int64_t set) { return to + set * 2 * plan.groups; };
    const auto columns_of = passes.columns_of_sets();
    passes.for_each_block(blocks, [&](const NormBlock& block, int64_t i, const Scratch& scratch) {
      std::fill_n(partial + i * pair, pair, 0.0);
      sum(block, columns_of(block.set), partial + i * pair, scratch.accumulators);
    });
    passes.for_each_set(blocks.per_set(plan), [&](int64_t set, const Scratch& scratch) {
      double* __restrict sums = scratch.sums;
      std::fill_n(sums, pair, 0.0);
      for (int64_t i : blocks.of_set[set]) {
        const double* __restrict add = partial + i * pair;
        for (int64_t c = 0; c < pair; ++c) sums[c] += add[c];
      }
      passes.total(set, passes.statistics(set, scratch), sums, totals_of(set), parts.data() + set * pair, scratch);
    });
    if (call.comm && call.measured()) call.comm->all_reduce(totals);
    passes.for_each_set(1, [&](int64_t set, const Scratch& scratch) {
      passes.fill_gradient(set, passes.statistics(set, scratch), totals_of(set), columns_of(set), scratch);
    });
    passes.for_each_block(
        blocks, [&](const NormBlock& block, int64_t, const Scratch&) { gradient(block, columns_of(block.set)); });
  }
  sum_affine_gradients(plan, parts, affine);
}

}  // namespace norm_kernel
NORMA_SIMD_END
