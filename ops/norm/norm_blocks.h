// Which rows the norm family's CPU kernel takes together, for ops/norm/norm_cpu.cc: the rows of a set in chunks, and
// large sets cut into blocks. Not a public header.
#pragma once

#include "norma/core/parallel.h"
#include "norma/ops/norm/norm_rows.h"

NORMA_SIMD_BEGIN
namespace norm_rows {

constexpr int64_t kBlockElements = 16 * 1024;

// Rows of one set that a task takes together: `count` runs.
struct Block {
  int64_t set;
  const NormPlan::Run* runs;
  int64_t count;
};

inline Block whole_set(const NormPlan& plan, int64_t set) {
  const int64_t begin = plan.set_begin[static_cast<size_t>(set)];
  return {set, plan.runs.data() + begin, plan.set_begin[static_cast<size_t>(set) + 1] - begin};
}

// Calls f(chunk) for the rows of a block, U rows as one where they lie together.
template <class F>
void for_each_chunk(const NormPlan& plan, const Block& block, F&& f) {
  const int64_t unit = rows_per_wide_row(plan.channels);
  Chunk chunk;
  const auto flush = [&] {
    if (chunk.count > 0) f(chunk);
    chunk.count = 0;
  };
  for (const NormPlan::Run* run = block.runs; run < block.runs + block.count; ++run) {
    int64_t rows = run->rows, at = run->first_row * plan.channels;
    for (int64_t together = unit; rows > 0; together = 1) {  // then what is less than U rows, one by one
      const int64_t width = together * plan.channels;
      if (chunk.tensor != run->tensor || chunk.width != width) flush();
      chunk.tensor = run->tensor;
      chunk.width = width;
      while (rows >= together) {
        const int64_t n = std::min(together == 1 ? rows : rows / together, kChunkRows - chunk.count);
        for (int64_t i = 0; i < n; ++i) chunk.at[chunk.count + i] = at + i * width;
        chunk.count += n;
        at += n * width;
        rows -= n * together;
        if (chunk.count == kChunkRows) flush();
      }
    }
  }
  flush();
}

// The rows in pieces of about equal size, by place in memory, so that a thread meets the same ones in every pass; each
// piece in blocks by set.
struct Blocks {
  PoolVector<NormPlan::Run> runs;
  PoolVector<Block> list;
  PoolVector<int64_t> set_begin, by_set;  // as in Buckets

  explicit Blocks(const NormPlan& plan) {
    const int64_t tensors = static_cast<int64_t>(plan.rows.size());
    PoolVector<int64_t> before(plan.rows.size(), 0);  // rows before each tensor
    for (size_t t = 1; t < before.size(); ++t) before[t] = before[t - 1] + plan.rows[t - 1];
    const int64_t all = before.back() + plan.rows.back(), run_count = static_cast<int64_t>(plan.runs.size());
    const int64_t sets_a_piece = run_count > plan.sets * tensors ? plan.sets : 1;
    const int64_t pieces = std::clamp<int64_t>(all * plan.channels / (kBlockElements * sets_a_piece), 1, kMaxSlots);
    PoolVector<NormPlan::Run> parts;
    PoolVector<int64_t> keys;
    parts.reserve(static_cast<size_t>(run_count + pieces));
    keys.reserve(static_cast<size_t>(run_count + pieces));
    int64_t piece = 0, piece_begin = 0, piece_end = 0;  // rows, counted over all tensors
    for (const NormPlan::Run& run : plan.runs) {
      int64_t row = before[static_cast<size_t>(run.tensor)] + run.first_row;
      for (int64_t end = row + run.rows; row < end; row = std::min(end, piece_end)) {
        if (row < piece_begin || row >= piece_end) {
          piece = row * pieces / all;
          piece_begin = (all * piece + pieces - 1) / pieces;
          piece_end = (all * (piece + 1) + pieces - 1) / pieces;
        }
        parts.push_back(
            {run.tensor, row - before[static_cast<size_t>(run.tensor)], std::min(end, piece_end) - row, run.set});
        keys.push_back(piece * plan.sets + run.set);
      }
    }
    const Buckets ordered(static_cast<int64_t>(parts.size()), pieces * plan.sets,
                          [&](int64_t i) { return keys[static_cast<size_t>(i)]; });
    runs.reserve(parts.size());
    for (int64_t i : ordered.items) runs.push_back(parts[static_cast<size_t>(i)]);
    for (size_t key = 0; key + 1 < ordered.begin.size(); ++key)
      if (const int64_t begin = ordered.begin[key], count = ordered.begin[key + 1] - begin; count > 0)
        list.push_back({static_cast<int64_t>(key) % plan.sets, runs.data() + begin, count});
    Buckets buckets(static_cast<int64_t>(list.size()), plan.sets,
                    [&](int64_t i) { return list[static_cast<size_t>(i)].set; });
    set_begin = std::move(buckets.begin);
    by_set = std::move(buckets.items);
  }

  // Calls f(i) for the blocks of a set, in order.
  template <class F>
  void for_each_of(int64_t set, F&& f) const {
    for (int64_t k = set_begin[static_cast<size_t>(set)]; k < set_begin[static_cast<size_t>(set) + 1]; ++k)
      f(static_cast<size_t>(by_set[static_cast<size_t>(k)]));
  }
  int64_t a_set(const NormPlan& plan) const { return static_cast<int64_t>(list.size()) / plan.sets + 1; }
};

}  // namespace norm_rows
NORMA_SIMD_END
