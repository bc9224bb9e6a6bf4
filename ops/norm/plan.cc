#include "norma/ops/norm/plan.h"

#include <numeric>

namespace norma {
namespace {

// Calls f(first, count, set) for the runs of consecutive samples of one set, of n samples. Gives the number of sets.
template <class F>
int64_t for_each_sample_run(const char* op, const Samples& samples, int64_t n, F&& f) {
  if (samples.kind == Samples::Kind::labels) {
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
    sets = (n + k - 1) / k;
    while (k > 1 && sets > 1 && n / sets < 2) --sets;
  }
  for (int64_t set = 0, first = 0, count; set < sets; ++set, first += count)
    f(first, count = n / sets + (set < n % sets), set);  // the first n % sets are longer by one
  return sets;
}

void check_inputs(const char* op, const Grouping& grouping, std::span<const Tensor> xs) {
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
  check(grouping.positions == Positions::all || xs.size() == 1, op,
        "with every position by itself only one input can be given, not {}", xs.size());
}

void plan_channels(const char* op, const Grouping& grouping, const Shape& shape, int64_t normalized_channels,
                   NormPlan& plan) {
  plan.affine_channels = plan.channels = shape.back();
  plan.groups = grouping.channels.count == 0 ? plan.channels : grouping.channels.count;
  check(plan.channels % plan.groups == 0, op, "{} channels do not divide into {} groups: input {}", plan.channels,
        plan.groups, shape);
  plan.group_size = plan.channels / plan.groups;
  plan.normalized = plan.channels;
  if (normalized_channels < 0) return;
  plan.normalized = plan.groups = normalized_channels;  // channels that pass through have no cells
  check(plan.normalized <= plan.channels && plan.group_size == 1, op,
        "the first {} channels, each by itself, of input {}", plan.normalized, shape);
}

}  // namespace

NormPlan plan_norm(const char* op, const Grouping& grouping, std::span<const Tensor> xs, int64_t normalized_channels) {
  check_inputs(op, grouping, xs);
  const Shape& shape = xs[0].shape();
  NormPlan plan;
  plan_channels(op, grouping, shape, normalized_channels, plan);

  const bool each_position = grouping.positions == Positions::each;
  const bool each_sample = grouping.samples.kind == Samples::Kind::each;
  const int64_t positions = shape.rank() > 2 && shape[0] > 0 ? shape.numel() / (shape[0] * shape.back()) : 1;
  if (each_position && !each_sample) {  // positions become channels
    plan.channels *= positions;
    plan.groups *= positions;
    check(normalized_channels < 0, op, "pass-through channels are not defined for {}", grouping.str());
    plan.normalized = plan.channels;
  }
  for (const Tensor& x : xs) plan.rows.push_back(x.numel() / plan.channels);
  if (each_sample && normalized_channels < 0 && xs.size() == 1 && (each_position || positions == 1)) {
    plan.row_sets = true;
    plan.sets = plan.rows[0];
    plan.runs.push_back({0, 0, plan.sets, 0});
    return plan;
  }
  for (int64_t t = 0; t < std::ssize(xs); ++t) {
    const int64_t n = xs[t].dim(0), rows = n > 0 ? plan.rows[t] / n : 0;  // of a sample
    plan.sets = for_each_sample_run(op, grouping.samples, n, [&](int64_t first, int64_t count, int64_t set) {
      plan.runs.push_back({t, first * rows, count * rows, set});
    });
  }
  std::ranges::stable_sort(plan.runs, {}, &NormPlan::Run::set);
  return plan;
}

PoolVector<NormPlan::Run> NormPlan::pieces(int64_t most_rows) const {
  PoolVector<Run> result;
  for (const Run& run : runs) {
    const int64_t parts = (run.rows + most_rows - 1) / most_rows;
    for (int64_t i = 0; i < parts; ++i) {
      const int64_t begin = run.rows * i / parts, end = run.rows * (i + 1) / parts;
      result.push_back({run.tensor, run.first_row + begin, end - begin, run.set});
    }
  }
  std::ranges::stable_sort(result, {}, &Run::tensor);
  return result;
}

NormBlocks::NormBlocks(const NormPlan& plan, int64_t parts) {
  PoolVector<int64_t> before(plan.rows.size());  // rows before each tensor
  std::exclusive_scan(plan.rows.begin(), plan.rows.end(), before.begin(), int64_t{0});
  const int64_t all = before.back() + plan.rows.back();
  const auto part_of = [&](int64_t tensor, int64_t row) { return (before[tensor] + row) * parts / all; };
  for (const NormPlan::Run& run : plan.runs) {
    const int64_t end = run.first_row + run.rows;
    for (int64_t row = run.first_row, next; row < end; row = next) {
      const int64_t behind = part_of(run.tensor, row) + 1;  // the next part
      next = std::min(end, (all * behind + parts - 1) / parts - before[run.tensor]);
      runs.push_back({run.tensor, row, next - row, run.set});
    }
  }
  const auto apart = [&](const NormPlan::Run& a, const NormPlan::Run& b) {
    return a.set != b.set || part_of(a.tensor, a.first_row) != part_of(b.tensor, b.first_row);
  };
  for (auto begin = runs.begin(), end = begin; begin != runs.end(); begin = end) {
    end = std::adjacent_find(begin, runs.end(), apart);
    if (end != runs.end()) ++end;
    list.push_back({begin->set, {begin, end}});
  }
}

}  // namespace norma
