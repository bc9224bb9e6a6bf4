// IDX files, plain and gzipped, and CIFAR files, mutated.
#include "tests/fuzz.h"

#include "norma/datasets/cifar.h"
#include "norma/datasets/idx.h"
#include "tests/gzip.h"

namespace norma::datasets {
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

// Records are long, and any size but whole records is refused: so mutations are made in the first bytes of a file, or
// by records, of which the labels are what can be wrong.
TEST(Fuzz, Cifar) {
  for (const int64_t classes : {10, 100}) {
    const size_t size = classes == 10 ? 3073 : 3074;
    const auto wrap = [&](const Bytes& labels) {  // a record for each byte, and a torn one for some
      Bytes file(size * labels.size());
      for (size_t i = 0; i < labels.size(); ++i) file[i * size + (classes == 10 ? 0 : 1)] = labels[i];
      if (!labels.empty() && labels[0] == std::byte{7}) file.pop_back();
      return file;
    };
    const auto parse = [&](const Bytes& file) { parse_cifar(file, classes, "fuzz"); };
    // What 3 bytes of a record become: 4 for a pixel's, 8 for the label.
    fuzz({{std::byte{1}, std::byte{9}, std::byte{0}}, {std::byte{7}}}, wrap, 4, parse);
  }
}

}  // namespace
}  // namespace norma::datasets
