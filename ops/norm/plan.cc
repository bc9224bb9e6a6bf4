#include "norma/ops/norm/plan.h"

#include <algorithm>

namespace norma {
// Calls f(first, count, set) for the runs of consecutive samples of one set, of n samples. Gives the number of sets.
template <class F>
static int64_t for_each_sample_run(const char* op, const Samples& samples, int64_t n, F&& f) {
  const bool sized = samples.kind == Samples::Kind::chunks || samples.kind == Samples::Kind::labels;
  check(!sized || samples.size >= 1, op, "{} chunks or labels: want at least 1", samples.size);
  if (samples.kind == Samples::Kind::labels) {
    check(samples.size <= PTRDIFF_MAX >> 17, op, "{} labels: more sets than can be counted", samples.size);
    check(samples.ids.dim(0) == n, op, "{} sample labels for a batch of {}", samples.ids.dim(0), n);
    const int64_t* ids = samples.ids.data<int64_t>();
    for (int64_t i = 0; i < n; ++i)
      check(ids[i] >= 0 && ids[i] < samples.size, op, "sample label {} at index {} is outside of [0, {})", ids[i], i,
            samples.size);
    for (int64_t first = 0, end; first < n; first = end) {
      end = std::find_if(ids + first, ids + n, [&](int64_t id) { return id != ids[first]; }) - ids;
      f(first, end - first, ids[first]);
    }
    return samples.size;
  }
  int64_t sets = samples.kind == Samples::Kind::each ? n : 1;
  if (const int64_t k = samples.size; samples.kind == Samples::Kind::chunks) {
    sets = n / k + (n % k != 0);
    while (k > 1 && sets > 1 && n / sets < 2) --sets;
  }
  for (int64_t set = 0, first = 0, count; set < sets; ++set, first += count)
    f(first, count = n / sets + (set < n % sets), set);  // the first n % sets are longer by one
  return sets;
}

// The runs of all tensors, by set. `parts`: the samples that one is taken for, where its positions are by themselves.
static void plan_runs(const char* op, const Samples& samples, std::span<const Tensor> xs, int64_t parts,
                      NormPlan& plan) {
  PoolVector<NormPlan::Run> runs;  // by place
  for (int64_t t = 0; t < std::ssize(xs); ++t) {
    const int64_t n = xs[t].dim(0) * parts, rows = n > 0 ? plan.rows[t] / n : 0;  // of a sample
    plan.sets = for_each_sample_run(op, samples, n, [&](int64_t first, int64_t count, int64_t set) {
      runs.push_back({t, first * rows, count * rows, set});
    });
  }
  Buckets by_set(std::ssize(runs), plan.sets, [&](int64_t i) { return runs[i].set; });
  plan.set_begin = std::move(by_set.begin);
  plan.runs.reserve(runs.size());
  for (int64_t i : by_set.items) plan.runs.push_back(runs[i]);
}

NormPlan plan_norm(const char* op, const Grouping& grouping, std::span<const Tensor> xs, int64_t normalized_channels,
                   bool rows_apart) {
  check(!xs.empty(), op, "wants at least one input");
  const Shape& first = xs[0].shape();
  const bool uneven = grouping.samples.kind == Samples::Kind::whole || grouping.samples.kind == Samples::Kind::across;
  for (const Tensor& x : xs) {
    check(x.rank() >= 2 && x.dim(-1) >= 1, op, "wants [N, ..., C] with C >= 1: input {}", x.shape());
    check(x.dim(-1) == first.back(), op, "inputs differ in channels: {} and {}", first, x.shape());
    check(uneven || x.dim(0) == first[0], op, "inputs differ in samples under {}: {} and {}", grouping, first,
          x.shape());
  }
  check(grouping.positions == Positions::all || xs.size() == 1, op,
        "with every position by itself only one input can be given, not {}", xs.size());

  const bool all_channels = normalized_channels < 0;
  NormPlan plan;
  plan.affine_channels = plan.channels = first.back();
  plan.groups = grouping.channels.count == 0 ? plan.channels : grouping.channels.count;
  check(plan.groups >= 1 && plan.channels % plan.groups == 0, op, "{} channels do not divide into {} groups: input {}",
        plan.channels, plan.groups, first);
  plan.group_size = plan.channels / plan.groups;
  check(all_channels || (normalized_channels <= plan.channels && plan.group_size == 1), op,
        "the first {} channels, each by itself, of input {}", normalized_channels, first);
  if (!all_channels) plan.groups = normalized_channels;  // channels that pass through have no cells

  const bool each_position = grouping.positions == Positions::each;
  const bool each_sample = grouping.samples.kind == Samples::Kind::each;
  const int64_t positions = first.numel() > 0 ? first.numel() / (first[0] * first.back()) : 1;
  if (each_position && !each_sample) {  // positions become channels
    plan.channels *= positions;
    plan.groups *= positions;
    check(all_channels, op, "pass-through channels are not defined for {}", grouping);
  }
  plan.normalized = all_channels ? plan.channels : normalized_channels;
  for (const Tensor& x : xs) plan.rows.push_back(x.numel() / plan.channels);

  if (rows_apart && each_sample && all_channels && xs.size() == 1 && (each_position || positions == 1)) {
    plan.row_sets = true;
    plan.sets = plan.rows[0];
  } else {
    plan_runs(op, grouping.samples, xs, each_sample && each_position ? positions : 1, plan);
  }
  return plan;
}

NormBlocks::NormBlocks(const NormPlan& plan, int64_t parts) {
  PoolVector<int64_t> before(plan.rows.size(), 0);  // rows before each tensor
  for (size_t t = 1; t < before.size(); ++t) before[t] = before[t - 1] + plan.rows[t - 1];
  const int64_t all = before.back() + plan.rows.back();
  PoolVector<NormPlan::Run> cut;
  PoolVector<int64_t> keys;  // of the part and the set
  for (const NormPlan::Run& run : plan.runs) {
    const int64_t first = before[run.tensor], end = first + run.first_row + run.rows;
    for (int64_t row = first + run.first_row, next; row < end; row = next) {
      const int64_t part = row * parts / all;
      next = std::min(end, (all * (part + 1) + parts - 1) / parts);
      cut.push_back({run.tensor, row - first, next - row, run.set});
      keys.push_back(part * plan.sets + run.set);
    }
  }
  const Buckets ordered(std::ssize(cut), parts * plan.sets, [&](int64_t i) { return keys[i]; });
  runs.reserve(cut.size());
  for (int64_t i : ordered.items) runs.push_back(cut[i]);
  for (int64_t key = 0; key < parts * plan.sets; ++key)
    if (const size_t count = ordered[key].size(); count > 0)
      list.push_back({key % plan.sets, {runs.data() + ordered.begin[key], count}});
  of_set = Buckets(std::ssize(list), plan.sets, [&](int64_t i) { return list[i].set; });
}

}  // namespace norma
