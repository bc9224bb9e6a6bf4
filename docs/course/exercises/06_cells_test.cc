#include <06_cells.h>
#include <norma/core/random.h>
#include <norma/ops/elementwise/binary.h>
#include <norma/ops/elementwise/unary.h>
#include <norma/ops/elementwise/where.h>
#include <norma/ops/norm/norm.h>
#include <norma/ops/reduce/reduce.h>
#include <norma/ops/shape/views.h>

#include "06_grouped.h"
#include "check.h"

using namespace norma;

// The largest difference of y between cells by number and what is wanted.
double off(int cells, const std::function<int(int, int, int)>& cell,
           const std::function<Tensor(const Tensor&)>& wanted) {
  Generator generator(3);
  const Tensor x = randn({8, 6, 4}, generator, f64);
  bool in_range = true;
  GroupedNorm mine = {.samples = 8,
                      .positions = 6,
                      .channels = 4,
                      .cells = cells,
                      .cell = cell,
                      .gamma = std::vector<double>(4, 1),
                      .beta = std::vector<double>(4, 0)};
  mine.each([&](size_t, int m, int) { in_range = in_range && m >= 0 && m < cells; });
  if (!in_range) return INFINITY;
  return max(abs(tensor(mine.forward(x.to_vector<double>()), {8, 6, 4}) - wanted(x))).item();
}

int main() {
  return run_checks([] {
    const Tensor one = ones({4}, f64), zero = zeros({4}, f64);
    const auto by = [&](const Tensor& x, const Grouping& grouping) {
      return norm(x, grouping, {}, one, zero, {.eps = 1e-5});
    };
    const auto chunked = [&](const Tensor& x) {
      return by(x, {Samples::chunks(4), Positions::all, Channels::groups(2)});
    };
    expect_close(off(4, chunks_and_groups, chunked), 0, 1e-12, "chunks of 4 by groups of 2");
    const auto rows = [&](const Tensor& x) {  // each row is made a sample of its own
      return reshape(by(reshape(x, {16, 3, 4}), instance()), {8, 6, 4});
    };
    expect_close(off(64, rows_of_pixels, rows), 0, 1e-12, "each row of pixels");
    const auto half = [&](const Tensor& x) { return where(lt(arange(4), 2), by(x, instance()), by(x, whole())); };
    expect_close(off(18, half_instance, half), 0, 1e-12, "half instance norm");
  });
}
