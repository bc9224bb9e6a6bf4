#include "examples/playground/data.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "examples/common/digits.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/reduce/reduce.h"
#include "norma/ops/shape/index.h"

namespace examples::playground {
namespace {

constexpr int64_t kDigits = 6000, kPoints = 1000, kTest = 400, kShifted = 1000;
constexpr double kShiftContrast = 0.4, kShiftGround = 0.45;  // of the shifted domain
constexpr double kOtherContrast = -0.5, kOtherGround = 0.9;  // of the second domain: dark on light, and fainter

Part digits(int64_t count, uint64_t seed) {
  const data::ImageDataset drawn = draw_digits(count, seed);
  return {drawn.images.to(f32) * (1. / 255), drawn.labels, zeros({count}, i64)};
}

// Two arms that turn once and a half around each other, in the square [0, 1]^2.
Part spirals(int64_t count, uint64_t seed) {
  Generator random(seed);
  Part part{Tensor({count, 2}), Tensor({count}, i64), zeros({count}, i64)};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t label = i % 2;
    const double t = std::sqrt(random.uniform()), angle = 3 * std::numbers::pi * t + std::numbers::pi * double(label);
    const double radius = 0.04 + 0.42 * t, noise = 0.012;
    part.x.mutable_data<float>()[2 * i] = float(0.5 + radius * std::cos(angle) + noise * random.normal());
    part.x.mutable_data<float>()[2 * i + 1] = float(0.5 + radius * std::sin(angle) + noise * random.normal());
    part.labels.mutable_data<int64_t>()[i] = label;
  }
  return part;
}

// Every second sample becomes one of the other domain.
void add_second_domain(Part& part) {
  const int64_t pixels = part.x.numel() / part.x.dim(0);
  for (int64_t i = 1; i < part.x.dim(0); i += 2) {
    part.domains.mutable_data<int64_t>()[i] = 1;
    float* x = part.x.mutable_data<float>() + i * pixels;
    for (int64_t p = 0; p < pixels; ++p) x[p] = float(kOtherGround + kOtherContrast * x[p]);
  }
}

Part shift(const Part& part) { return {part.x * kShiftContrast + kShiftGround, part.labels, part.domains}; }

}  // namespace

Part select(const Part& part, const std::vector<int64_t>& indices) {
  const Tensor index = tensor(indices, {std::ssize(indices)});
  return {index_select(part.x, 0, index), index_select(part.labels, 0, index), index_select(part.domains, 0, index)};
}

std::vector<int64_t> draw_order(const Tensor& labels, BatchOrder order, Generator& random) {
  const std::vector<int64_t> any = random.permutation(labels.numel());
  if (order == BatchOrder::shuffled) return any;
  std::map<int64_t, std::vector<int64_t>> of_class;
  for (const int64_t i : any) of_class[labels.data<int64_t>()[i]].push_back(i);
  std::vector<std::vector<int64_t>> runs;
  std::vector<int64_t> result, rest;
  for (const auto& [_, samples] : of_class) {
    const int64_t whole = std::ssize(samples) / kRun * kRun;
    for (int64_t i = 0; i < whole; i += kRun) runs.emplace_back(samples.begin() + i, samples.begin() + i + kRun);
    rest.insert(rest.end(), samples.begin() + whole, samples.end());
  }
  for (const int64_t k : random.permutation(std::ssize(runs)))
    result.insert(result.end(), runs[size_t(k)].begin(), runs[size_t(k)].end());
  result.insert(result.end(), rest.begin(), rest.end());
  return result;
}

DataSets make_data(DataKind kind, InputScale scale, BatchOrder order, uint64_t seed) {
  const bool points = kind == DataKind::spirals;
  DataSets sets;
  sets.classes = points ? 2 : 10;
  sets.train = points ? spirals(kPoints, seed) : digits(kDigits, seed);
  sets.test = points ? spirals(kTest, seed + 1'000'001) : digits(kTest, seed + 1'000'001);
  Generator random(seed, 1);
  for (Part* part : {&sets.train, &sets.test}) {
    if (kind == DataKind::domains) add_second_domain(*part);
    if (order == BatchOrder::sorted) *part = select(*part, draw_order(part->labels, order, random));
  }
  if (scale == InputScale::large) sets.factor = 90, sets.offset = 10;
  if (scale == InputScale::standard) {  // by the training set's numbers, for the test set too
    const double mean_of = mean(sets.train.x).item(), deviation = std::sqrt(var(sets.train.x).item());
    sets.factor = 1 / deviation, sets.offset = -mean_of / deviation;
  }
  std::vector<int64_t> some(static_cast<size_t>(kShifted));
  std::iota(some.begin(), some.end(), 0);
  sets.shifted_train = shift(select(sets.train, some)), sets.shifted_test = shift(sets.test);
  for (Part* part : {&sets.train, &sets.test, &sets.shifted_train, &sets.shifted_test})
    part->x = part->x * sets.factor + sets.offset;
  return sets;
}

}  // namespace examples::playground
