// The CPU kernel of the norm family: which rows are summed and normalized together, and in which order partial results
// are merged. One design for all groupings. Where a set of rows fits into a core's cache, a task does both of its
// passes while it is there; larger sets are cut into blocks that do not depend on the number of threads, in two
// parallel passes. Where each row is a set of its own (layer norm over features), ops/norm_cpu_rows.cc takes over.
#include "norma/ops/norm_cpu.h"

#include "norma/ops/norm_blocks.h"

NORMA_SIMD_BEGIN
namespace {

using namespace norm_rows;

constexpr int64_t kSetBytes = 512 * 1024;  // a set of rows up to this size is done in one go, where there are enough
constexpr int64_t kEnoughSets = 16;

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
  const int64_t affine_size;       // parameters a set
  PoolVector<double> gamma, beta;  // [affine sets, channels]; 1 and 0 where there are none
  PoolVector<double> zero;         // [channels]

  Call(const NormPlan& p, const NormSpec& s, const Tensor& g, const Tensor& b, double* c)
      : plan(p),
        spec(s),
        cells(c, p.cells()),
        width(rows_per_wide_row(p.channels) * p.channels),
        affine_per_set((g.defined() && g.rank() == 2) || (b.defined() && b.rank() == 2)),
        affine_size(std::min(p.affine_channels, p.normalized)),
        gamma(by_channel(g, 1)),
        beta(by_channel(b, 0)),
        zero(static_cast<size_t>(p.channels), 0.0) {}

  PoolVector<double> by_channel(const Tensor& parameter, double otherwise) const {
    PoolVector<double> result(static_cast<size_t>((affine_per_set ? plan.sets : 1) * plan.channels), otherwise);
    if (!parameter.defined()) return result;
    const T* from = parameter.data<T>();
    for (size_t set = 0; set * static_cast<size_t>(plan.channels) < result.size(); ++set, from += affine_size)
      for (int64_t at = 0; at < plan.normalized;
           at += plan.affine_channels)  // more than once where positions are channels
        std::copy_n(from, affine_size, result.begin() + static_cast<int64_t>(set) * plan.channels + at);
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
  void repeat(T* part) const {
    for (int64_t at = plan.channels; at < width; at += plan.channels) std::copy_n(part, plan.channels, part + at);
  }
};

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

template <class T>
class Forward : Call<T> {
 public:
  Forward(Call<T>&& call, const Tensor& population, const Tensor& all_cells, const NormTensors& tensors)
      : Call<T>(std::move(call)), population_(population), tensors_(tensors), all_cells_(all_cells) {}

  void run() {
    if (this->measured() && this->one_go()) {
      parallel_for(plan.sets, 1, [&](int64_t begin, int64_t end) {
        const Room<T> room = this->room();
        for (int64_t set = begin; set < end; ++set) one_set(set, room);
      });
      return;
    }
    const Blocks blocks(plan);
    if (this->measured()) measure_blocks<T>(*this, blocks, tensors_.x);
    if (spec.comm) reduce_norm_cells(*spec.comm, all_cells_);
    solve_cells(spec, population_, cells, 0, plan.cells());
    T* tables = scratch<T, 3>(plan.sets * width * kColumnParts);
    const auto table = [=, this](int64_t set) { return tables + set * width * kColumnParts; };
    this->for_each_set(
        1, [&](int64_t set, const Room<T>& room) { this->columns(set, this->spread(set, room), table(set)); });
    this->for_each(blocks, [&](const Block& block, size_t, const Room<T>&) {
      apply_block(block, {table(block.set), width});
    });
  }

 private:
  using Call<T>::plan, Call<T>::spec, Call<T>::cells, Call<T>::width;

  void one_set(int64_t set, const Room<T>& room) {
    const Block block = whole_set(plan, set);
    double* mean = room.narrow;
    store_cells(plan, measure(plan, block, tensors_.x, mean, mean + plan.channels, room), cells, set);
    solve_cells(spec, population_, cells, set * plan.groups, (set + 1) * plan.groups);
    apply_block(block, this->columns(set, this->spread(set, room), room.wide));
  }

  void apply_block(const Block& block, const Columns<T>& columns) {
    with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
      for_each_chunk(plan, block, [&](const Chunk& chunk) {
        const size_t t = static_cast<size_t>(chunk.tensor);
        apply<kind>(tensors_.x[t].template data<T>(),
                    tensors_.residual.empty() ? nullptr : tensors_.residual[t].template data<T>(),
                    tensors_.y[t].template mutable_data<T>(),
                    tensors_.mask.empty() ? nullptr : tensors_.mask[t].template mutable_data<uint8_t>(), chunk, columns,
                    static_cast<T>(spec.activation.slope));
      });
    });
  }

  Population population_;
  const NormTensors& tensors_;
  const Tensor& all_cells_;
};

template <class T>
class Backward : Call<T> {
 public:
  Backward(Call<T>&& call, const NormGradients& tensors)
      : Call<T>(std::move(call)),
        tensors_(tensors),
        parts_(affine_per_set || !this->one_go() ? plan.sets : slot_count(plan.sets, 1)),
        affine_(static_cast<size_t>(parts_ * 2 * plan.channels), 0.0) {}

  void run() {
    if (this->one_go()) {
      parallel_ranges(plan.sets, 1, [&](int slot, int64_t begin, int64_t end) {
        const Room<T> room = this->room();
        for (int64_t set = begin; set < end; ++set) one_set(set, affine_per_set ? set : slot, room);
      });
      return;
    }
    const Blocks blocks(plan);
    const int64_t pair = 2 * plan.channels;
    T* tables = scratch<T, 3>(plan.sets * width * kColumnParts);
    const auto table = [=, this](int64_t set) { return tables + set * width * kColumnParts; };
    double* partial = scratch<double, 2>(static_cast<int64_t>(blocks.list.size()) * pair);
    PoolVector<double> totals(static_cast<size_t>(plan.cells()) * 2);
    this->for_each_set(
        1, [&](int64_t set, const Room<T>& room) { this->columns(set, this->spread(set, room), table(set)); });
    this->for_each(blocks, [&](const Block& block, size_t i, const Room<T>& room) {
      sum_block(block, {table(block.set), width}, partial + i * static_cast<size_t>(pair), room);
    });
    this->for_each_set(blocks.a_set(plan), [&](int64_t set, const Room<T>& room) {
      double* __restrict sum = room.row(7, plan.channels);
      std::fill_n(sum, pair, 0.0);
      blocks.for_each_of(set, [&](size_t i) {
        const double* __restrict add = partial + i * static_cast<size_t>(pair);
        for (int64_t c = 0; c < pair; ++c) sum[c] += add[c];
      });
      total(set, this->spread(set, room), set, sum, totals.data() + set * plan.groups * 2, room);
    });
    if (spec.comm && this->measured()) share(totals);
    this->for_each_set(1, [&](int64_t set, const Room<T>& room) {
      gradient_columns(set, this->spread(set, room), totals.data() + set * plan.groups * 2, {table(set), width}, room);
    });
    this->for_each(blocks, [&](const Block& block, size_t, const Room<T>&) {
      gradient_block(block, {table(block.set), width});
    });
  }

  // Sums over sets and positions of dgamma and dbeta, into f64 [affine sets, affine channels].
  void affine_gradients(const Tensor& dgamma, const Tensor& dbeta) {
    for (int64_t half = 0; half < 2; ++half) {
      const Tensor& out = half == 0 ? dgamma : dbeta;
      if (!out.defined()) continue;
      double* to = out.mutable_data<double>();
      std::fill_n(to, out.numel(), 0.0);
      for (int64_t part = 0; part < parts_; ++part) {
        const double* from = affine_.data() + (part * 2 + half) * plan.channels;
        double* set = to + (affine_per_set ? part * affine_size : 0);
        for (int64_t at = 0; at < plan.normalized; at += plan.affine_channels)
          for (int64_t c = 0; c < affine_size; ++c) set[c] += from[at + c];
      }
    }
  }

 private:
  using Call<T>::plan, Call<T>::spec, Call<T>::cells, Call<T>::width, Call<T>::affine_per_set, Call<T>::affine_size;
  using typename Call<T>::Spread;

  void one_set(int64_t set, int64_t part, const Room<T>& room) {
    const Block block = whole_set(plan, set);
    double *totals = room.row(5, plan.channels), *sums = room.row(7, plan.channels);
    const Spread spread = this->spread(set, room);
    const Columns<T> columns = this->columns(set, spread, room.wide);
    sum_block(block, columns, sums, room);
    total(set, spread, part, sums, totals, room);
    gradient_columns(set, spread, totals, columns, room);
    gradient_block(block, columns);
  }

  // Calls f.operator()<kind, masked>(chunk, tensor, mask) for the chunks of a block.
  template <class F>
  void for_each_chunk_of(const Block& block, F&& f) {
    with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
      for_each_chunk(plan, block, [&](const Chunk& chunk) {
        const size_t t = static_cast<size_t>(chunk.tensor);
        if (tensors_.mask.empty()) f.template operator()<kind, false>(chunk, t, nullptr);
        else f.template operator()<kind, true>(chunk, t, tensors_.mask[t].template data<uint8_t>());
      });
    });
  }

  // The sums of dy and of dy (x - high) of a block's channels, in `sum` [2, C].
  void sum_block(const Block& block, const Columns<T>& columns, double* sum, const Room<T>& room) {
    std::fill_n(sum, 2 * plan.channels, 0.0);
    for_each_chunk_of(
        block, [&]<Activation::Kind kind, bool masked>(const Chunk& chunk, size_t t, const uint8_t* mask) {
          add_sums<kind, masked>(tensors_.dy[t].template data<T>(), tensors_.x[t].template data<T>(), mask, chunk,
                                 plan.channels, columns, static_cast<T>(spec.activation.slope),
                                 room.wide + kColumnParts * width, sum);
        });
  }

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

  void gradient_block(const Block& block, const Columns<T>& columns) {
    const auto target = [](std::span<const Tensor> all, size_t t) -> T* {
      return all.empty() || !all[t].defined() ? nullptr : all[t].template mutable_data<T>();
    };
    for_each_chunk_of(
        block, [&]<Activation::Kind kind, bool masked>(const Chunk& chunk, size_t t, const uint8_t* mask) {
          T *dx = target(tensors_.dx, t), *dresidual = target(tensors_.dresidual, t);
          apply_gradient<kind, masked>(tensors_.dy[t].template data<T>(), tensors_.x[t].template data<T>(), mask, dx,
                                       dx && tensors_.add_dx[t], dresidual, dresidual && tensors_.add_dresidual[t],
                                       chunk, columns, static_cast<T>(spec.activation.slope));
        });
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
  const int64_t parts_;  // sets or slots, whose dgamma and dbeta [parts, 2, C] are added at the end
  PoolVector<double> affine_;
};

}  // namespace

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
    if (plan.row_sets) return norm_rows_moments<T>(plan, cells, xs[0]);
    const NormSpec plain{};
    measure_blocks<T>({plan, plain, {}, {}, cells.mutable_data<double>()}, Blocks(plan), xs);
  });
}

NORMA_SIMD_END
