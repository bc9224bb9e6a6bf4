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

#include "norma/core/communicator.h"
#include "norma/core/tensor.h"

namespace norma {

// The samples that share statistics.
struct Samples {
  enum class Kind : uint8_t { whole, chunks, each, labels, across };
  Kind kind = Kind::whole;
  int64_t size = 0;              // chunks: samples a chunk; labels: number of labels
  Tensor ids{};                  // labels: i64 [N] on the CPU, each in [0, size)
  Communicator* comm = nullptr;  // across: every sample of every worker; with labels: those with the same id. Not owned

  static Samples whole() { return {}; }
  // ceil(N/k) runs of consecutive samples whose sizes differ by at most one, the longer ones first; fewer while k > 1
  // and some run would hold a single sample. So any k from N up is the whole batch.
  static Samples chunks(int64_t k) { return {Kind::chunks, k}; }
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
  static Channels groups(int64_t count) {
    check(count >= 1, "grouping", "{} channel groups: want at least 1", count);
    return {count};
  }
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

}  // namespace norma

template <>
struct fmt::formatter<norma::Grouping> : norma::Formatter<&norma::Grouping::str> {};
