// IDX files, plain and gzipped, mutated.
#include "tests/fuzz.h"

#include "examples/common/idx.h"

namespace examples {
namespace {

using namespace norma::test;

const std::vector<Bytes> kIdx = {idx({3, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}), idx({1, 1, 1}, {200}),
                                 idx({4, 5, 3}, std::vector<uint8_t>(60))};

TEST(Fuzz, Idx) {
  fuzz(
      kIdx, [](const Bytes& file) { return file; }, 1, [](const Bytes& file) { parse_idx(file, 3, "fuzz"); });
}

TEST(Fuzz, GzippedIdx) {
  fuzz(kIdx, gzip_stored, 1032, [](const Bytes& file) { parse_idx(file, 3, "fuzz"); });
  std::vector<Bytes> deflated;
  for (const Bytes& file : kIdx) deflated.push_back(gzip(file));
  fuzz(
      deflated, [](const Bytes& file) { return file; }, 1032, [](const Bytes& file) { parse_idx(file, 3, "fuzz"); });
}

}  // namespace
}  // namespace examples
