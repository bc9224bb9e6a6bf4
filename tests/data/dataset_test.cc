// Data sets in memory, and their statistics.
#include "norma/nn/data/dataset.h"

#include "examples/common/digits.h"
#include "tests/golden.h"

namespace norma::data {
namespace {

using namespace norma::test;
using examples::draw_digits;

TEST(Dataset, StatisticsAreThoseOfEachChannel) {
  Tensor images({3, 5, 7, 2}, u8);
  Generator generator(5);
  double sum = 0, squares = 0;
  const int64_t n = images.numel() / 2;
  for (int64_t i = 0; i < n; ++i) {
    const double value = static_cast<double>(generator.below(256));
    images.mutable_data<uint8_t>()[2 * i] = static_cast<uint8_t>(value);
    images.mutable_data<uint8_t>()[2 * i + 1] = 51;
    sum += value / 255;
    squares += value / 255 * value / 255;
  }
  const ChannelStats stats = channel_stats(images);
  const double mean = sum / static_cast<double>(n);
  EXPECT_NEAR(stats.mean[0], mean, 1e-12);
  EXPECT_NEAR(stats.deviation[0], std::sqrt(squares / static_cast<double>(n) - mean * mean), 1e-12);
  EXPECT_NEAR(stats.mean[1], 0.2, 1e-12);
  EXPECT_EQ(stats.deviation[1], 1);  // constant
  // A view has those of its elements.
  const ChannelStats part = channel_stats(view::slice(images, 3, 1, 2));
  EXPECT_EQ(part.mean, std::vector<double>{stats.mean[1]});
  expect_error([&] { channel_stats(images.to(f32)); }, "[channel_stats] wants u8");
}

TEST(Dataset, FirstIsAView) {
  const ImageDataset set = draw_digits(5, 1);
  EXPECT_EQ(set.first(3).size(), 3);
  EXPECT_EQ(set.first(3).images.storage(), set.images.storage());
  EXPECT_TRUE(same_bits(set.first(9).labels, set.labels));
  expect_error([&] { set.first(0); }, "want at least 1");
}

TEST(Dataset, ValidateNamesWhatIsWrong) {
  const ImageDataset good = draw_digits(4, 1);
  good.validate();
  ImageDataset bad = good;
  bad.images = good.images.to(f32);
  expect_error([&] { bad.validate(); }, "[dataset 'drawn digits'] wants u8 [N, H, W, C], not [4, 28, 28, 1] (f32)");
  bad = good;
  bad.labels = arange(5);
  expect_error([&] { bad.validate(); }, "labels [5] (i64) of images [4, 28, 28, 1]");
  bad.labels = tensor<int64_t>({0, 1, 10, 2});
  expect_error([&] { bad.validate(); }, "[dataset 'drawn digits', labels] index 10 at [2] is outside of [0, 10)");
  bad.labels = tensor<int64_t>({0, 1, 2, -1});
  expect_error([&] { bad.validate(); }, "index -1 at [3]");
}

}  // namespace
}  // namespace norma::data
