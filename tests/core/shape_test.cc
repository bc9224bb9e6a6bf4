// Shape: extents, axes, broadcasting, and sizes no machine has.
#include "norma/core/shape.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Shape, CountsElements) {
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_EQ((Shape{2, 3, 5}).numel(), 30);
  EXPECT_EQ((Shape{7, 0, 5}).numel(), 0);
  EXPECT_EQ(Shape{}.rank(), 0);
  EXPECT_EQ((Shape{4, 9}).back(), 9);
}

TEST(Shape, FindsAxesFromBothEnds) {
  const Shape shape = {2, 3, 5};
  EXPECT_EQ(shape.dim(-1), 5);
  EXPECT_EQ(shape.dim(0), 2);
  EXPECT_EQ(shape.normalize_axis(-3, "op"), 0);
  expect_error([&] { shape.normalize_axis(3, "op"); }, "[op] axis 3 is out of range for shape [2, 3, 5]");
  expect_error([&] { shape.dim(-4); }, "[shape] axis -4 is out of range for shape [2, 3, 5]");
  expect_error([] { Shape{}.dim(0); }, "[shape] axis 0 is out of range for shape []");
}

TEST(Shape, ComparesAndPrints) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE(Shape{}, Shape{0});
  EXPECT_EQ(fmt::format("{}", Shape{128, 28, 28, 1}), "[128, 28, 28, 1]");
  EXPECT_EQ(Shape{}.str(), "[]");
}

TEST(Shape, IsEdited) {
  const Shape shape = {2, 3, 5};
  EXPECT_EQ(shape.without(1), (Shape{2, 5}));
  EXPECT_EQ(shape.with(2, 7), (Shape{2, 3, 7}));
  Shape grown;
  for (int i = 0; i < Shape::kMaxRank; ++i) grown.push_back(i);
  EXPECT_EQ(grown, (Shape{0, 1, 2, 3, 4, 5, 6, 7}));
  expect_error([&] { grown.push_back(8); }, "[shape] rank 9 is above the limit of 8");
  expect_error([] { Shape{1, 2, 3, 4, 5, 6, 7, 8, 9}; }, "[shape] rank 9 is above the limit of 8");
}

TEST(Shape, StridesAreRowMajor) {
  EXPECT_EQ(contiguous_strides({2, 3, 5}), (Shape{15, 5, 1}));
  EXPECT_EQ(contiguous_strides({}), Shape{});
}

TEST(Shape, Broadcasts) {
  EXPECT_EQ(broadcast_shapes("add", {2, 1, 5}, {3, 1}), (Shape{2, 3, 5}));
  EXPECT_EQ(broadcast_shapes("add", {}, {4, 2}), (Shape{4, 2}));
  EXPECT_EQ(broadcast_shapes("add", {0, 3}, {1, 3}), (Shape{0, 3}));
  EXPECT_EQ(broadcast_shapes("add", {1}, {0}), Shape{0});
  expect_error(
      [] {
        broadcast_shapes("add", {2, 3}, {2, 4});
      },
      "[add] shapes [2, 3] and [2, 4] do not broadcast: 3 against 4");
  EXPECT_TRUE(broadcastable_to({3, 1}, {2, 3, 5}));
  EXPECT_FALSE(broadcastable_to({3, 2}, {2, 3, 5}));
  EXPECT_FALSE(broadcastable_to({1, 1}, {3}));
}

TEST(Shape, HugeCountsAreErrors) {
  expect_error(
      [] {
        (void)Shape{int64_t{1} << 40, int64_t{1} << 40}.numel();
      },
      "[shape] [1099511627776, 1099511627776] has more elements than can be counted");
}

TEST(Pair, StandsForBoth) {
  EXPECT_EQ(Pair(3), Pair(3, 3));
  EXPECT_FALSE(Pair(3) == Pair(3, 2));
}

TEST(Shape, RefusesAxesAndPlacesThatThereAreNot) {
  const Shape shape = {2, 3};
  EXPECT_EQ(shape.with(-1, 5), (Shape{2, 5}));
  expect_error([&] { shape.with(2, 1); }, "axis 2 is out of range");
  expect_error([&] { shape.dim(int64_t{1} << 32); }, "axis 4294967296 is out of range");
  expect_error([&] { shape.index_of(6); }, "there is no element 6 of [2, 3]");
  expect_error([&] { Shape({0, 3}).index_of(0); }, "there is no element 0 of [0, 3]");
}

}  // namespace
}  // namespace norma
