// Tensor::str(). The strings are what numpy 2 prints under set_printoptions(precision=4), with our names around them.
#include "tests/golden.h"

namespace norma {
namespace {

Tensor counted(const Shape& shape, double factor = 1, DType dtype = i64) {
  const Tensor x = arange(shape.numel(), f64);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<double>()[i] *= factor;
  return view::reshape(x.to(dtype), shape);
}

TEST(Print, AlignsThePoints) {
  EXPECT_EQ(tensor({1.5, 2., 3.25}).str(), "tensor([1.5 , 2.  , 3.25], f64, shape [3])");
  EXPECT_EQ(tensor({0.1f, -2.f, 30.f, 4.125f}, {2, 2}).str(),
            "tensor([[ 0.1  , -2.   ],\n"
            "        [30.   ,  4.125]], f32, shape [2, 2])");
  EXPECT_EQ(scalar(3.5, f64).str(), "tensor(3.5, f64, shape [])");
  EXPECT_EQ(fmt::format("{}", tensor({1., 2.})), "tensor([1., 2.], f64, shape [2])");
}

TEST(Print, RoundsToFourDigits) {
  EXPECT_EQ(tensor({0., -0., 1. / 3}).str(), "tensor([ 0.    , -0.    ,  0.3333], f64, shape [3])");
  EXPECT_EQ(tensor({0.5000012, 0.25}).str(), "tensor([0.5 , 0.25], f64, shape [2])");
  EXPECT_EQ(tensor({123456.7f}).str(), "tensor([123456.7], f32, shape [1])");  // as many as tell the float
}

TEST(Print, WideRangesAreScientific) {
  EXPECT_EQ(tensor({1e-5, 1.5, 2e10}).str(), "tensor([1.0e-05, 1.5e+00, 2.0e+10], f64, shape [3])");
  EXPECT_EQ(tensor({1000.5, 0.01}).str(), "tensor([1.0005e+03, 1.0000e-02], f64, shape [2])");
  EXPECT_EQ(tensor({99999999.}).str(), "tensor([99999999.], f64, shape [1])");
  EXPECT_EQ(tensor({1e8}).str(), "tensor([1.e+08], f64, shape [1])");
  EXPECT_EQ(tensor({1e-3f, 0.5f, 0.25f}).str(), "tensor([0.001, 0.5  , 0.25 ], f32, shape [3])");
}

TEST(Print, ShowsNaNAndInfinity) {
  EXPECT_EQ(tensor({double{NAN}, 1.5, -double{INFINITY}}).str(), "tensor([ nan,  1.5, -inf], f64, shape [3])");
  EXPECT_EQ(tensor({double{NAN}, double{INFINITY}}).str(), "tensor([nan, inf], f64, shape [2])");
  EXPECT_EQ(full({2}, NAN).str(), "tensor([nan, nan], f32, shape [2])");
}

TEST(Print, ShowsIntegersExactly) {
  EXPECT_EQ(tensor({INT64_MAX, INT64_MIN}).str(),
            "tensor([ 9223372036854775807, -9223372036854775808], i64, shape [2])");
  EXPECT_EQ(tensor<uint8_t>({0, 255}).str(), "tensor([  0, 255], u8, shape [2])");
  EXPECT_EQ(tensor({true, false}).str(), "tensor([ true, false], bool, shape [2])");
}

TEST(Print, NestsAxes) {
  EXPECT_EQ(counted({2, 3, 4}).str(),
            "tensor([[[ 0,  1,  2,  3],\n"
            "         [ 4,  5,  6,  7],\n"
            "         [ 8,  9, 10, 11]],\n"
            "\n"
            "        [[12, 13, 14, 15],\n"
            "         [16, 17, 18, 19],\n"
            "         [20, 21, 22, 23]]], i64, shape [2, 3, 4])");
  EXPECT_EQ(zeros({0, 3}).str(), "tensor([], f32, shape [0, 3])");
  EXPECT_EQ(zeros({1'000'000, 0}).str(), "tensor([], f32, shape [1000000, 0])");
}

TEST(Print, ReadsViews) {
  EXPECT_EQ(view::slice(view::permute(counted({2, 3}), {1, 0}), 0, 1, 3).str(),
            "tensor([[1, 4],\n"
            "        [2, 5]], i64, shape [2, 2])");
  EXPECT_EQ(view::expand(tensor({7.}), {3}).str(), "tensor([7., 7., 7.], f64, shape [3])");
}

TEST(Print, WrapsLongRows) {
  EXPECT_EQ(counted({40}, 0.125, f64).str(),
            "tensor([0.   , 0.125, 0.25 , 0.375, 0.5  , 0.625, 0.75 , 0.875, 1.   ,\n"
            "        1.125, 1.25 , 1.375, 1.5  , 1.625, 1.75 , 1.875, 2.   , 2.125,\n"
            "        2.25 , 2.375, 2.5  , 2.625, 2.75 , 2.875, 3.   , 3.125, 3.25 ,\n"
            "        3.375, 3.5  , 3.625, 3.75 , 3.875, 4.   , 4.125, 4.25 , 4.375,\n"
            "        4.5  , 4.625, 4.75 , 4.875], f64, shape [40])");
  EXPECT_EQ(counted({2, 32}, 1000).str(),
            "tensor([[    0,  1000,  2000,  3000,  4000,  5000,  6000,  7000,  8000,\n"
            "          9000, 10000, 11000, 12000, 13000, 14000, 15000, 16000, 17000,\n"
            "         18000, 19000, 20000, 21000, 22000, 23000, 24000, 25000, 26000,\n"
            "         27000, 28000, 29000, 30000, 31000],\n"
            "        [32000, 33000, 34000, 35000, 36000, 37000, 38000, 39000, 40000,\n"
            "         41000, 42000, 43000, 44000, 45000, 46000, 47000, 48000, 49000,\n"
            "         50000, 51000, 52000, 53000, 54000, 55000, 56000, 57000, 58000,\n"
            "         59000, 60000, 61000, 62000, 63000]], i64, shape [2, 32])");
}

TEST(Print, FormatsWhatIsDerivedFromTensor) {
  const nn::Parameter p(ones({2}));
  const nn::Buffer none;
  EXPECT_EQ(fmt::format("{} {}", p, none), "tensor([1., 1.], f32, shape [2]) tensor(undefined)");
  EXPECT_EQ(fmt::format("{:>20}", none), "   tensor(undefined)");
}

TEST(Print, ShortensLongAxes) {
  EXPECT_EQ(counted({2000}).str(), "tensor([   0,    1,    2, ..., 1997, 1998, 1999], i64, shape [2000])");
  EXPECT_EQ(counted({2, 2, 300}).str(),
            "tensor([[[   0,    1,    2, ...,  297,  298,  299],\n"
            "         [ 300,  301,  302, ...,  597,  598,  599]],\n"
            "\n"
            "        [[ 600,  601,  602, ...,  897,  898,  899],\n"
            "         [ 900,  901,  902, ..., 1197, 1198, 1199]]], i64, shape [2, 2, 300])");
  EXPECT_EQ(counted({40, 50}, 1. / 7, f64).str(),
            "tensor([[0.0000e+00, 1.4286e-01, 2.8571e-01, ..., 6.7143e+00, 6.8571e+00,\n"
            "         7.0000e+00],\n"
            "        [7.1429e+00, 7.2857e+00, 7.4286e+00, ..., 1.3857e+01, 1.4000e+01,\n"
            "         1.4143e+01],\n"
            "        [1.4286e+01, 1.4429e+01, 1.4571e+01, ..., 2.1000e+01, 2.1143e+01,\n"
            "         2.1286e+01],\n"
            "        ...,\n"
            "        [2.6429e+02, 2.6443e+02, 2.6457e+02, ..., 2.7100e+02, 2.7114e+02,\n"
            "         2.7129e+02],\n"
            "        [2.7143e+02, 2.7157e+02, 2.7171e+02, ..., 2.7814e+02, 2.7829e+02,\n"
            "         2.7843e+02],\n"
            "        [2.7857e+02, 2.7871e+02, 2.7886e+02, ..., 2.8529e+02, 2.8543e+02,\n"
            "         2.8557e+02]], f64, shape [40, 50])");
}

}  // namespace
}  // namespace norma
