// The drawn digits.
#include "examples/common/digits.h"

#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma::data;
using namespace norma::test;

TEST(Digits, SampleDependsOnSeedAndNumberOnly) {
  const ImageDataset few = draw_digits(7, 3), many = draw_digits(100, 3), other = draw_digits(100, 4);
  EXPECT_TRUE(same_bits(few.images, many.first(7).images));
  EXPECT_TRUE(same_bits(few.labels, many.first(7).labels));
  EXPECT_FALSE(same_bits(other.labels, many.labels));
  expect_error([&] { draw_digits(0, 1); }, "[draw_digits] 0 pictures");
}

TEST(Digits, EveryDigitIsDrawnAndLiesWithinThePicture) {
  const ImageDataset set = draw_digits(1000, 1);
  set.validate();
  std::array<int, 10> count{};
  for (int64_t i = 0; i < set.size(); ++i) {
    ++count[static_cast<size_t>(set.labels.at({i}))];
    int bright = 0;
    for (int64_t y = 0; y < 28; ++y)
      for (int64_t x = 0; x < 28; ++x) bright += set.images.at({i, y, x, 0}) > 100;
    EXPECT_GT(bright, 12) << i;
    EXPECT_LT(bright, 28 * 28 / 2) << i;
  }
  for (int digit : count) EXPECT_NEAR(digit, 100, 40);
}

}  // namespace
}  // namespace examples
