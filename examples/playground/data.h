// The playground's data sets, made on the spot: drawn digits, two spirals, and digits of two domains. Small enough for
// a browser; f32, in the scale that the settings want.
#pragma once

#include "examples/playground/settings.h"

namespace examples::playground {

struct Part {
  Tensor x;        // f32 [N, 28, 28, 1] or [N, 2]
  Tensor labels;   // i64 [N]
  Tensor domains;  // i64 [N], 0 or 1; all 0 but in the set with two domains
};

struct DataSets {
  int64_t classes = 0;
  Part train, test;
  // The test set, and the first 1000 samples to train with, in another domain: of less contrast, on a lighter ground.
  Part shifted_train, shifted_test;
  double offset = 0, factor = 1;  // x = raw * factor + offset, raw in [0, 1]
};

DataSets make_data(DataKind kind, InputScale scale, BatchOrder order, uint64_t seed);

// Entries of the first axis, all three.
Part select(const Part& part, const std::vector<int64_t>& indices);

// The numbers 0 ... N - 1 in a random order or, sorted, in runs of kRun samples of one class, themselves in a random
// order; what is left over of each class comes last.
std::vector<int64_t> draw_order(const Tensor& labels, BatchOrder order, Generator& random);

}  // namespace examples::playground
