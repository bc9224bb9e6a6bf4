// Grouping: which elements of a batch share a mean and a variance. A value, not a class for each paper.
//
// x is [N, spatial..., C] with P positions. A grouping is the product of three partitions - of the samples, the
// positions and the channels - and so cuts the elements into cells:
//
//   known as                        samples      positions  channels
//   BatchNorm                       whole        all        each         Ioffe & Szegedy 2015
//   Ghost BatchNorm                 chunks(k)    all        each         Hoffer et al. 2017
//   SyncBN                          across       all        each         Peng et al. 2017
//   domain-specific BN, split BN    labels       all        each         Chang et al. 2019; Xie et al. 2020
//   GroupNorm                       each         all        groups(G)    Wu & He 2018
//   LayerNorm over the sample       each         all        all          Ba et al. 2016
//   LayerNorm over the features     each         each       all          ConvNeXt, transformers
//   InstanceNorm                    each         all        each         Ulyanov et al. 2016
//   Batch Group Norm                whole        all        groups(G)    Zhou et al. 2020
#pragma once

#include <span>

#include "norma/core/communicator.h"
#include "norma/core/memory.h"
#include "norma/core/tensor.h"

namespace norma {

// The samples that share statistics.
struct Samples {
  enum class Kind : uint8_t { whole, chunks, each, labels, across };
  Kind kind = Kind::whole;
  int64_t size = 0;              // chunks: samples a chunk; labels: number of labels
  Tensor ids{};                  // labels: i64 [N] on the CPU, each in [0, size)
  Communicator* comm = nullptr;  // across: every sample of every worker; not owned

  static Samples whole() { return {}; }
  // ceil(N/k) runs of consecutive samples whose sizes differ by at most one, the longer ones first; fewer while k > 1
  // and some run would hold a single sample.
  static Samples chunks(int64_t k);
  static Samples each() { return {Kind::each}; }
  static Samples labels(const Tensor& ids, int64_t count);  // samples with the same id
  static Samples across(Communicator& comm) { return {Kind::across, 0, {}, &comm}; }
};

enum class Positions : uint8_t { all, each };  // every position of a sample, or each by itself

// The channels that share statistics: `count` groups of C / count consecutive ones.
struct Channels {
  int64_t count = 0;  // 0: one group a channel
  static Channels each() { return {0}; }
  static Channels all() { return {1}; }
  static Channels groups(int64_t count);
};

struct Grouping {
  Samples samples{};
  Positions positions = Positions::all;
  Channels channels{};

  bool over_samples() const { return samples.kind != Samples::Kind::each; }  // y of a sample depends on other samples
  std::string str() const;                                                   // "chunks(16) x all x each"
};

inline Grouping whole() { return {}; }
inline Grouping chunks(int64_t k) { return {Samples::chunks(k)}; }
inline Grouping labels(const Tensor& ids, int64_t count) { return {Samples::labels(ids, count)}; }
inline Grouping across(Communicator& comm) { return {Samples::across(comm)}; }
inline Grouping instance() { return {Samples::each()}; }
inline Grouping groups(int64_t count) { return {Samples::each(), Positions::all, Channels::groups(count)}; }
inline Grouping layer() { return {Samples::each(), Positions::all, Channels::all()}; }
inline Grouping features() { return {Samples::each(), Positions::each, Channels::all()}; }

// A grouping applied to shapes: what the kernels work from. The samples x positions of each tensor are rows of
// `channels` elements, contiguous; a row belongs to one of `sets` row sets, a channel to one of `groups` groups of
// `group_size`; cell (set, group) has number set * groups + group. Where every position is by itself, the positions
// become samples (if so are the samples) or channels (if not), so that kernels never see that case: `channels` is then
// P * C, `affine_channels` still C.
struct NormDims {  // what fits into a kernel's arguments
  int64_t channels = 0, affine_channels = 0;
  int64_t sets = 0, groups = 0, group_size = 0;
  int64_t normalized = 0;  // channels below this are normalized, those above pass through (half instance norm)
  bool row_sets = false;   // every row is a set of its own; runs is then empty

  constexpr int64_t cells() const { return sets * groups; }
  constexpr int64_t affine_size() const { return affine_channels < normalized ? affine_channels : normalized; }
};
struct NormPlan : NormDims {
  struct Run {  // consecutive rows of one tensor in one set
    int64_t tensor, first_row, rows, set;
  };
  PoolVector<int64_t> rows;       // of each tensor
  PoolVector<Run> runs;           // by set
  PoolVector<int64_t> set_begin;  // [sets + 1] into runs
  PoolVector<int64_t> set_rows;   // rows of a set; empty if row_sets

  int64_t rows_of(int64_t set) const { return row_sets ? 1 : set_rows[static_cast<size_t>(set)]; }
  int64_t elements(int64_t set) const { return rows_of(set) * group_size; }  // of each cell of the set
};

// The numbers [0, n) by their key in [0, keys): those of key k are items[begin[k]] to items[begin[k + 1] - 1], in
// order.
struct Buckets {
  PoolVector<int64_t> begin, items;
  template <class F>
  Buckets(int64_t n, int64_t keys, F&& key) : begin(static_cast<size_t>(keys) + 2, 0), items(static_cast<size_t>(n)) {
    for (int64_t i = 0; i < n; ++i) ++begin[static_cast<size_t>(key(i)) + 2];
    for (size_t k = 2; k < begin.size(); ++k) begin[k] += begin[k - 1];
    for (int64_t i = 0; i < n; ++i) items[static_cast<size_t>(begin[static_cast<size_t>(key(i)) + 1]++)] = i;
    begin.pop_back();
  }
};

// Checks the grouping against the shapes (all of one rank >= 2, one C; the same N unless the samples are taken whole).
// `leading` >= 0: only the first `leading` channels are normalized, each by itself. Errors are in the name of `op`.
NormPlan plan_norm(const char* op, const Grouping& grouping, std::span<const Tensor> xs, int64_t leading = -1);

}  // namespace norma
