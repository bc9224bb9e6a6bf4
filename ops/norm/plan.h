// A grouping applied to shapes: what the norm family's kernels work from, on the CPU and on CUDA. Which rows share
// their statistics, and how the rows are cut into blocks. Numbers only: no tensor is read or written here.
#pragma once

#include <span>

#include "norma/core/memory.h"
#include "norma/ops/norm/grouping.h"

namespace norma {

// The samples x positions of each tensor are rows of `channels` elements, contiguous. A row belongs to one of `sets`
// sets, a channel to one of `groups` groups of `group_size`; cell (set, group) has number set * groups + group.
// Where every position is by itself, kernels never see that: the positions become samples (if the samples are by
// themselves, too) or channels (if not). In the second case `channels` is P * C, and `affine_channels` still C.
struct NormDims {  // what fits into a kernel's arguments
  int64_t channels = 0, affine_channels = 0;
  int64_t sets = 0, groups = 0, group_size = 0;
  int64_t normalized = 0;   // channels below this are normalized, those above pass through (half instance norm)
  int64_t pool = 1;         // consecutive groups that share a variance
  bool row_sets = false;    // every row is a set of its own; runs is then empty
  int64_t affine_sets = 1;  // rows of gamma and beta: 1 for all sets, or one for every sets / affine_sets in turn

  constexpr int64_t cells() const { return sets * groups; }
  constexpr int64_t affine_set(int64_t set) const { return affine_sets == 1 ? 0 : set / (sets / affine_sets); }
  constexpr int64_t affine_at(int64_t set) const { return affine_set(set) * channels; }  // where its row begins
  // Entries of gamma and beta.
  constexpr int64_t affine_size() const { return affine_channels < normalized ? affine_channels : normalized; }
};

// The numbers [0, n) by their key in [0, keys): those of key k are items[begin[k]] to items[begin[k + 1] - 1], in
// order.
struct Buckets {
  PoolVector<int64_t> begin, items;

  Buckets() = default;
  template <class F>
  Buckets(int64_t n, int64_t keys, F&& key) : begin(keys + 2, 0), items(n) {
    for (int64_t i = 0; i < n; ++i) ++begin[key(i) + 2];
    for (int64_t k = 2; k < keys + 2; ++k) begin[k] += begin[k - 1];
    for (int64_t i = 0; i < n; ++i) items[begin[key(i) + 1]++] = i;
    begin.pop_back();
  }
  std::span<const int64_t> operator[](int64_t k) const {
    return {items.data() + begin[k], static_cast<size_t>(begin[k + 1] - begin[k])};
  }
};

struct NormPlan : NormDims {
  struct Run {  // consecutive rows of one tensor in one set
    int64_t tensor, first_row, rows, set;
  };
  PoolVector<int64_t> rows;       // of each tensor
  PoolVector<Run> runs;           // by set
  PoolVector<int64_t> set_begin;  // [sets + 1] into runs

  std::span<const Run> runs_of(int64_t set) const {
    return {runs.data() + set_begin[set], static_cast<size_t>(set_begin[set + 1] - set_begin[set])};
  }
  int64_t rows_of(int64_t set) const {
    int64_t sum = row_sets;
    for (const Run& run : row_sets ? std::span<const Run>() : runs_of(set)) sum += run.rows;
    return sum;
  }
  int64_t elements(int64_t set) const { return rows_of(set) * group_size; }  // of each cell of the set
};

// Checks the grouping against the shapes (all of one rank >= 2, one C; the same N unless the samples are taken whole).
// `normalized_channels` >= 0: only the first so many channels are normalized, each by itself. `rows_apart`: rows may be
// sets of their own (NormDims::row_sets). Errors are in the name of `op`.
NormPlan plan_norm(const char* op, const Grouping& grouping, std::span<const Tensor> xs,
                   int64_t normalized_channels = -1, bool rows_apart = true);

// The rows of one set that one task takes together.
struct NormBlock {
  int64_t set;
  std::span<const NormPlan::Run> runs;
};

// The rows of a plan cut into blocks, for the CPU: equal parts of memory, so that a thread meets the same rows in every
// pass, each part a block for each of its sets. How depends on shapes alone, never on the number of threads.
struct NormBlocks {
  PoolVector<NormPlan::Run> runs;
  PoolVector<NormBlock> list;
  Buckets of_set;  // numbers of the blocks of each set

  NormBlocks(const NormPlan& plan, int64_t parts);
  NormBlocks& operator=(NormBlocks&&) = delete;  // neither moved nor copied: blocks point into `runs`

  int64_t per_set(const NormPlan& plan) const { return std::ssize(list) / plan.sets + 1; }  // blocks, about
};

}  // namespace norma
