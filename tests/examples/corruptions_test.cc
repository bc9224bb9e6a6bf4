#include "examples/common/corruptions.h"

#include <gtest/gtest.h>

#include <cmath>

#include "examples/common/digits.h"
#include "norma/norma.h"

namespace examples {
namespace {

using namespace norma;

std::vector<double> values(const Tensor& x) { return x.to_vector<double>(); }

double mean_of(const std::vector<double>& x) {
  double sum = 0;
  for (double v : x) sum += v;
  return sum / static_cast<double>(x.size());
}

double deviation_of(const std::vector<double>& x) {
  const double m = mean_of(x);
  double squares = 0;
  for (double v : x) squares += (v - m) * (v - m);
  return std::sqrt(squares / static_cast<double>(x.size()));
}

// In RGB, so that channels cannot be mistaken for columns.
Tensor pictures(int64_t count = 20) {
  Tensor x({count, 12, 10, 3}, u8);
  Generator random(3);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(random.below(256));
  return x;
}

TEST(Corruptions, FollowTheirFormulas) {
  const Tensor grey = full({50, 28, 28, 1}, 128, u8), x = pictures();
  for (const int strength : {1, 2, 3}) {
    const std::vector<double> noisy = values(corrupt(grey, Corruption::noise, strength));
    EXPECT_NEAR(mean_of(noisy), 128, 0.5);
    EXPECT_NEAR(deviation_of(noisy), 255 * 0.06 * strength, 1);
    EXPECT_NEAR(mean_of(values(corrupt(grey, Corruption::brightness, strength))), 128 + 25.5 * strength, 0.51);
    const std::vector<double> dull = values(corrupt(x, Corruption::contrast, strength));
    EXPECT_NEAR(deviation_of(dull) / deviation_of(values(x)), 0.9 - 0.15 * strength, 0.02);
    const std::vector<double> fog = values(corrupt(full({50, 28, 28, 1}, 0, u8), Corruption::fog, strength));
    EXPECT_NEAR(mean_of(fog), 255 * 0.15 * strength * 0.75, 255 * 0.15 * strength * 0.05);
    for (const double v : fog) EXPECT_TRUE(v >= 255 * 0.15 * strength * 0.5 - 1 && v <= 255 * 0.15 * strength + 1) << v;
  }
  // Brightness stops at white.
  EXPECT_EQ(values(corrupt(full({1, 4, 4, 1}, 250, u8), Corruption::brightness, 5)), std::vector<double>(16, 255));
}

TEST(Corruptions, BlurSpreadsAPointAsAGaussian) {
  Tensor point = full({1, 21, 21, 2}, 0, u8);
  point.mutable_data<uint8_t>()[(10 * 21 + 10) * 2 + 1] = 255;  // in the second channel
  const Tensor y = corrupt(point, Corruption::blur, 3);         // of deviation 0.9
  EXPECT_EQ(max(view::slice(y, 3, 0, 1).contiguous().to(f32)).item(), 0);
  const double peak = y.at({0, 10, 10, 1});
  EXPECT_NEAR(peak, 255 / (2 * M_PI * 0.81), 1.5);
  for (const auto& [row, column] : {std::pair{10, 11}, {11, 10}, {9, 10}, {10, 9}})
    EXPECT_NEAR(y.at({0, row, column, 1}) / peak, std::exp(-0.5 / 0.81), 0.02);
  // What is constant stays so, at the edges too.
  EXPECT_EQ(values(corrupt(full({1, 5, 7, 3}, 77, u8), Corruption::blur, 5)), std::vector<double>(105, 77));
}

TEST(Corruptions, GrowWithTheirStrength) {
  const Tensor x = draw_digits(30, 1).images;
  for (const Corruption corruption : kCorruptions) {
    double before = 0;
    for (int strength = 1; strength <= 5; ++strength) {
      const double off = mean(abs(corrupt(x, corruption, strength).to(f32) - x.to(f32))).item();
      EXPECT_GT(off, before) << name(corruption) << " " << strength;
      before = off;
    }
  }
}

TEST(Corruptions, APictureDependsOnSeedAndNumberAlone) {
  const Tensor x = pictures(40);
  const int threads = num_threads();
  for (const Corruption corruption : kCorruptions) {
    set_num_threads(1);
    const std::vector<double> one = values(corrupt(x, corruption, 2, 5));
    set_num_threads(3);
    EXPECT_EQ(values(corrupt(x, corruption, 2, 5)), one);
    EXPECT_EQ(values(corrupt(view::slice(x, 0, 0, 7).contiguous(), corruption, 2, 5)),
              std::vector<double>(one.begin(), one.begin() + 7 * 360));
    const bool random = corruption == Corruption::noise || corruption == Corruption::fog;
    EXPECT_EQ(values(corrupt(x, corruption, 2, 6)) != one, random) << name(corruption);
  }
  set_num_threads(threads);
  const std::vector<double> grey = values(corrupt(full({2, 9, 9, 1}, 128, u8), Corruption::noise, 3));
  EXPECT_FALSE(std::equal(grey.begin(), grey.begin() + 81, grey.begin() + 81));  // each its own
}

TEST(Corruptions, RefuseWhatTheyDoNotTake) {
  EXPECT_THROW(corrupt(zeros({1, 4, 4, 1}), Corruption::blur, 1), Error);
  EXPECT_THROW(corrupt(full({4, 4, 1}, 0, u8), Corruption::blur, 1), Error);
  EXPECT_THROW(corrupt(pictures(), Corruption::blur, 0), Error);
  EXPECT_THROW(corrupt(pictures(), Corruption::blur, 6), Error);
  EXPECT_EQ(corrupt(full({0, 4, 4, 1}, 0, u8), Corruption::fog, 1).numel(), 0);
}

}  // namespace
}  // namespace examples
