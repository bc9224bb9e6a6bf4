// concat and pad: against PyTorch, against finite differences, and their errors.
#include "norma/ops/shape/concat.h"

#include "norma/ops/elementwise/unary.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using Pads = std::vector<std::pair<int64_t, int64_t>>;

TEST(Concat, AgreesWithPyTorch) {
  for_each_case("shape", "concat", [](const GoldenCase& c) {
    std::vector<std::pair<std::string, Tensor>> leaves;
    std::vector<Tensor> xs;
    for (std::string name = "x0"; c.has(name); name = fmt::format("x{}", leaves.size()))
      leaves.emplace_back(name, xs.emplace_back(c.leaf(name)));
    check_case(
        c, [&] { return concat(xs, c.attrs["axis"].get<int64_t>()); }, leaves);
  });
}

TEST(Pad, AgreesWithPyTorch) {
  for_each_case("shape", "pad", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return pad(x, c.attrs["pads"].get<Pads>(), c.attrs["value"].get<double>()); }, {{"x", x}});
  });
}

PadMode mode(const std::string& name) {
  return name == "reflect" ? PadMode::reflect : name == "circular" ? PadMode::circular : PadMode::replicate;
}

TEST(Pad, OfCopiesAgreesWithPyTorch) {
  for_each_case("spatial", "pad", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return pad(x, c.attrs["pads"].get<Pads>(), mode(c.attrs["padding_mode"])); }, {{"x", x}});
  });
}

TEST(Concat, GradientsMatchFiniteDifferences) {
  for (int axis : {0, 1, -1}) {
    const Shape shape = {2, 3, 5};
    const int a = axis < 0 ? axis + 3 : axis;
    const std::vector<Tensor> inputs = {random(shape, 1), random(shape.with(a, 1), 2), random(shape.with(a, 0), 3),
                                        random(shape.with(a, 7), 4)};
    const auto all = gradcheck([&](const auto& in) { return concat(in, axis); }, inputs);
    EXPECT_TRUE(all) << axis << " " << all.message;
    // One tensor twice, and a gradient that goes on from a strided piece.
    const auto twice = gradcheck(
        [&](const auto& in) {
          return concat({tanh(in[0]), in[0], tanh(in[0])}, axis);
        },
        {random(shape)});
    EXPECT_TRUE(twice) << axis << " " << twice.message;
  }
}

TEST(Pad, GradientsMatchFiniteDifferences) {
  for (const Pads& pads : {Pads{{0, 0}, {0, 0}}, Pads{{1, 0}, {2, 3}}, Pads{{0, 7}, {0, 1}}}) {
    const auto result = gradcheck([&](const auto& in) { return pad(tanh(in[0]), pads, 3); }, {random({3, 5})});
    EXPECT_TRUE(result) << result.message;
  }
  for (PadMode mode : {PadMode::zeros, PadMode::reflect, PadMode::replicate, PadMode::circular})
    for (const Pads& pads : {Pads{{0, 0}, {0, 0}}, Pads{{1, 0}, {2, 3}}, Pads{{0, 2}, {4, 4}}}) {
      const auto result = gradcheck([&](const auto& in) { return pad(tanh(in[0]), pads, mode); }, {random({3, 5})});
      EXPECT_TRUE(result) << result.message;
    }
}

TEST(Pad, ContinuesAsItsHeaderSays) {
  const Tensor x = tensor<int64_t>({1, 2, 3, 4});
  const auto padded = [&](PadMode mode) { return pad(x, {{3, 3}}, mode).to_vector<int64_t>(); };
  EXPECT_EQ(padded(PadMode::zeros), (std::vector<int64_t>{0, 0, 0, 1, 2, 3, 4, 0, 0, 0}));
  EXPECT_EQ(padded(PadMode::reflect), (std::vector<int64_t>{4, 3, 2, 1, 2, 3, 4, 3, 2, 1}));
  EXPECT_EQ(padded(PadMode::replicate), (std::vector<int64_t>{1, 1, 1, 1, 2, 3, 4, 4, 4, 4}));
  EXPECT_EQ(padded(PadMode::circular), (std::vector<int64_t>{2, 3, 4, 1, 2, 3, 4, 1, 2, 3}));
  EXPECT_EQ(pad(x, {{0, 6}}, PadMode::replicate).to_vector<int64_t>().back(), 4);
  const Tensor t = view::permute(random({3, 4}), {1, 0});
  EXPECT_TRUE(
      same_bits(pad(t, {{1, 2}, {2, 0}}, PadMode::circular), pad(t.contiguous(), {{1, 2}, {2, 0}}, PadMode::circular)));
  EXPECT_NE(pad(x, {{0, 0}}, PadMode::reflect).identity(), x.identity());
  EXPECT_EQ(pad(zeros({0, 2}), {{0, 0}, {1, 1}}, PadMode::reflect).shape(), (Shape{0, 4}));
}

TEST(Concat, TakesStridedInputsOfAnyDtype) {
  const Tensor x = random({3, 4}), t = view::permute(x, {1, 0});
  EXPECT_TRUE(same_bits(concat({t, t}, 0), concat({t.contiguous(), t.contiguous()}, 0)));
  EXPECT_TRUE(same_bits(pad(t, {{1, 0}, {0, 1}}), pad(t.contiguous(), {{1, 0}, {0, 1}})));
  EXPECT_EQ(concat({arange(2), arange(3)}, 0).to_vector<int64_t>(), (std::vector<int64_t>{0, 1, 0, 1, 2}));
  EXPECT_EQ(pad(full({1}, 7, u8), {{1, 2}}, 255).to_vector<uint8_t>(), (std::vector<uint8_t>{255, 7, 255, 255}));
  EXPECT_NE(concat({x}, 0).storage(), x.storage());
}

TEST(Concat, RejectsBadArguments) {
  const Tensor x = zeros({2, 3});
  expect_error([] { concat({}, 0); }, "[concat] wants at least one tensor");
  expect_error(
      [&] {
        concat({x, zeros({3, 2})}, 0);
      },
      "[concat] shapes [2, 3] and [3, 2] differ in another axis than 0");
  expect_error([&] { concat({x, zeros({2})}, 0); }, "[concat] shapes [2, 3] and [2] differ in another axis than 0");
  expect_error(
      [&] {
        concat({x, zeros({2, 3}, f64)}, 0);
      },
      "[concat] dtypes differ: f32 of shape [2, 3] and f64 of shape [2, 3]");
  expect_error([&] { concat({x}, 2); }, "[concat] axis 2 is out of range for shape [2, 3]");
  expect_error([&] { concat({x, Tensor()}, 0); }, "an undefined tensor was used");
}

TEST(Pad, RejectsBadArguments) {
  const Tensor x = zeros({2, 3});
  expect_error([&] { pad(x, {{1, 1}}); }, "[pad] 1 pairs of pads for shape [2, 3]");
  expect_error([&] { pad(x, {{0, 0}, {0, -1}}); }, "[pad] pads 0 and -1 of axis 1: want none below 0: shape [2, 3]");
  expect_error([&] { pad(x, {{1, 1}}, PadMode::reflect); }, "[pad] 1 pairs of pads for shape [2, 3]");
  expect_error([&] { pad(x, {{0, 0}, {-1, 1}}, PadMode::replicate); }, "[pad] pads -1 and 1 of axis 1: want 0 to");
  expect_error(
      [&] {
        pad(x, {{2, 0}, {0, 0}}, PadMode::reflect);
      },
      "[pad] pads 2 and 0 of axis 0: want 0 to 1 here: shape [2, 3]");
  expect_error([&] { pad(x, {{0, 0}, {0, 4}}, PadMode::circular); }, "[pad] pads 0 and 4 of axis 1: want 0 to 3 here");
  for (PadMode mode : {PadMode::reflect, PadMode::replicate, PadMode::circular})
    expect_error([&] { pad(zeros({0}), {{1, 0}}, mode); }, "[pad] pads 1 and 0 of axis 0");
}

}  // namespace
}  // namespace norma
