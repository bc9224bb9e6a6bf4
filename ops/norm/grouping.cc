#include "norma/ops/norm/grouping.h"

#include <numeric>

namespace norma {

Samples Samples::chunks(int64_t k) {
  check(k >= 1, "grouping", "chunks of {} samples: want at least 1", k);
  return {Kind::chunks, k};
}

Samples Samples::labels(const Tensor& ids, int64_t count) {
  check(ids.dtype() == i64 && ids.rank() == 1, "grouping", "labels want i64 ids of shape [N], not {} {}", ids.dtype(),
        ids.shape());
  check(count >= 1, "grouping", "{} labels: want at least 1", count);
  return {Kind::labels, count, ids.to(cpu_device).contiguous()};
}

Channels Channels::groups(int64_t count) {
  check(count >= 1, "grouping", "{} channel groups: want at least 1", count);
  return {count};
}

std::string Grouping::str() const {
  constexpr std::string_view names[] = {"whole", "chunks", "each", "labels", "across"};
  std::string text(names[static_cast<size_t>(samples.kind)]);
  if (samples.size > 0) text += fmt::format("({})", samples.size);
  text += positions == Positions::all ? " x all x " : " x each x ";
  return text + (channels.count == 0   ? "each"
                 : channels.count == 1 ? "all"
                                       : fmt::format("groups({})", channels.count));
}

namespace {

// The set of each of n samples, and how many sets there are.
PoolVector<int64_t> sets_of_samples(const char* op, const Samples& samples, int64_t n, int64_t& sets) {
  PoolVector<int64_t> result(static_cast<size_t>(n), 0);
  switch (samples.kind) {
    case Samples::Kind::whole:
    case Samples::Kind::across: sets = 1; break;
    case Samples::Kind::each:
      std::iota(result.begin(), result.end(), 0);
      sets = n;
      break;
    case Samples::Kind::chunks: {
      const int64_t k = samples.size;
      sets = (n + k - 1) / k;
      while (k > 1 && sets > 1 && n / sets < 2) --sets;
      // The first n % sets chunks are longer by one.
      for (int64_t set = 0, sample = 0; set < sets; ++set)
        for (int64_t i = 0; i < n / sets + (set < n % sets); ++i) result[static_cast<size_t>(sample++)] = set;
      break;
    }
    case Samples::Kind::labels: {
      check(samples.ids.dim(0) == n, op, "{} sample labels for a batch of {}", samples.ids.dim(0), n);
      const int64_t* ids = samples.ids.data<int64_t>();
      for (int64_t i = 0; i < n; ++i) {
        check(ids[i] >= 0 && ids[i] < samples.size, op, "sample label {} at index {} is outside of [0, {})", ids[i], i,
              samples.size);
        result[static_cast<size_t>(i)] = ids[i];
      }
      sets = samples.size;
    }
  }
  return result;
}

}  // namespace

NormPlan plan_norm(const char* op, const Grouping& grouping, std::span<const Tensor> xs, int64_t leading) {
  check(!xs.empty(), op, "wants at least one input");
  const Shape& first = xs[0].shape();
  const bool any_batch =
      grouping.samples.kind == Samples::Kind::whole || grouping.samples.kind == Samples::Kind::across;
  for (const Tensor& x : xs) {
    check(x.rank() >= 2 && x.dim(-1) >= 1, op, "wants [N, ..., C] with C >= 1: input {}", x.shape());
    check(x.dim(-1) == first.back(), op, "inputs differ in channels: {} and {}", first, x.shape());
    check(any_batch || x.dim(0) == first[0], op, "inputs differ in samples under {}: {} and {}", grouping.str(), first,
          x.shape());
  }
  NormPlan plan;
  plan.affine_channels = plan.channels = first.back();
  const int64_t count = grouping.channels.count == 0 ? plan.channels : grouping.channels.count;
  check(plan.channels % count == 0, op, "{} channels do not divide into {} groups: input {}", plan.channels, count,
        first);
  plan.groups = count;
  plan.group_size = plan.channels / count;
  plan.normalized = leading >= 0 ? leading : plan.channels;
  check(plan.normalized <= plan.channels && (leading < 0 || plan.group_size == 1), op,
        "the first {} channels, each by itself, of input {}", plan.normalized, first);
  if (leading >= 0) plan.groups = leading;  // channels that pass through have no cells

  const bool each_position = grouping.positions == Positions::each;
  const bool each_sample = grouping.samples.kind == Samples::Kind::each;
  check(!each_position || xs.size() == 1, op, "with every position by itself only one input can be given, not {}",
        xs.size());
  const int64_t positions = first.rank() > 2 && first[0] > 0 ? first.numel() / (first[0] * first.back()) : 1;
  if (each_position && !each_sample) {  // positions become channels
    plan.channels *= positions;
    plan.groups *= positions;
    check(leading < 0, op, "pass-through channels are not defined for {}", grouping.str());
    plan.normalized = plan.channels;
  }
  for (const Tensor& x : xs) plan.rows.push_back(x.numel() / plan.channels);

  if (each_sample && leading < 0 && xs.size() == 1 && (each_position || positions == 1)) {
    plan.row_sets = true;
    plan.sets = plan.rows[0];
    return plan;
  }
  PoolVector<NormPlan::Run> runs;  // by place
  for (size_t t = 0; t < xs.size(); ++t) {
    const int64_t n = xs[t].dim(0), rows_per_sample = n > 0 ? plan.rows[t] / n : 0;
    const PoolVector<int64_t> set_of = sets_of_samples(op, grouping.samples, n, plan.sets);
    runs.reserve(runs.size() + static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const int64_t set = set_of[static_cast<size_t>(i)], row = i * rows_per_sample;
      NormPlan::Run* last = runs.empty() ? nullptr : &runs.back();
      const bool extends = last && last->tensor == static_cast<int64_t>(t) && last->set == set;
      if (extends) last->rows += rows_per_sample;
      else runs.push_back({static_cast<int64_t>(t), row, rows_per_sample, set});
    }
  }
  Buckets by_set(static_cast<int64_t>(runs.size()), plan.sets,
                 [&](int64_t i) { return runs[static_cast<size_t>(i)].set; });
  plan.set_begin = std::move(by_set.begin);
  plan.set_rows.assign(static_cast<size_t>(plan.sets), 0);
  plan.runs.reserve(runs.size());
  for (int64_t i : by_set.items) {
    const NormPlan::Run& run = plan.runs.emplace_back(runs[static_cast<size_t>(i)]);
    plan.set_rows[static_cast<size_t>(run.set)] += run.rows;
  }
  return plan;
}

}  // namespace norma
