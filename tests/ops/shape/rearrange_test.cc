// Ops that stack, cut, reverse, move and repeat: against PyTorch, against finite differences, and their errors.
#include "norma/ops/shape/concat.h"
#include "norma/ops/shape/index.h"
#include "norma/ops/shape/views.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

// Cases of one input x and one output.
void agrees(const char* op, const std::function<Tensor(const GoldenCase&, const Tensor& x)>& f) {
  for_each_case("rearrange", op, [&](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return f(c, x); }, {{"x", x}});
  });
}

TEST(Select, AgreesWithPyTorch) {
  agrees("select", [](const GoldenCase& c, const Tensor& x) { return select(x, c.attrs["axis"], c.attrs["i"]); });
  agrees("select", [](const GoldenCase& c, const Tensor& x) {
    return c.attrs["axis"] == 0 ? x[c.attrs["i"]] : select(x, c.attrs["axis"], c.attrs["i"]);
  });
}

TEST(Slice, RunsBackwardsAndCountsFromTheEnd) {
  agrees("slice", [](const GoldenCase& c, const Tensor& x) {
    return x.slice(c.attrs["axis"], c.attrs["start"], c.attrs["stop"], c.attrs["step"]);
  });
  const Tensor x = there(arange(6));
  EXPECT_EQ(slice(x, 0, -2).to_vector<int64_t>(), (std::vector<int64_t>{4, 5}));
  EXPECT_EQ(slice(x, 0, 1, -1, 2).to_vector<int64_t>(), (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(slice(x, 0, -2, -1).storage(), x.storage());  // a view, as ever
  EXPECT_EQ(slice(x, 0, 3, kEnd, -1).to_vector<int64_t>(), (std::vector<int64_t>{3, 2, 1, 0}));
  EXPECT_EQ(slice(x, 0, 4, 1, -3).to_vector<int64_t>(), (std::vector<int64_t>{4}));
  EXPECT_EQ(slice(x, 0, -1, kEnd, INT64_MIN).to_vector<int64_t>(), (std::vector<int64_t>{5}));
  EXPECT_EQ(slice(x, 0, 2, 2, -1).shape(), Shape{0});
  EXPECT_EQ(slice(there(zeros({3, 0})), 1, -1, kEnd, -1).shape(), (Shape{3, 0}));
  const std::string want = "[slice] no way back from ";
  expect_error([&] { slice(x, 0, 2, 3, -1); }, want + "2 to 3 on axis 0: shape [6]");
  expect_error([&] { slice(x, 0, 6, 2, -1); }, want + "6 to 2");
  expect_error([&] { slice(x, 0, -8, kEnd, -1); }, want + "-8");
  expect_error([&] { slice(x, 0, 2, -7 - 1, -1); }, want + "2 to -8");
  expect_error([&] { slice(x, 0, 2, 0, 0); }, "[slice] step 0: want at least 1");
}

TEST(Flip, AgreesWithPyTorch) {
  agrees("flip", [](const GoldenCase& c, const Tensor& x) { return flip(x, c.attrs["axis"]); });
}

TEST(Stack, AgreesWithPyTorch) {
  for_each_case("rearrange", "stack", [](const GoldenCase& c) {
    std::vector<std::pair<std::string, Tensor>> leaves;
    std::vector<Tensor> xs;
    for (std::string name = "x0"; c.has(name); name = fmt::format("x{}", leaves.size()))
      leaves.emplace_back(name, xs.emplace_back(c.leaf(name)));
    check_case(
        c, [&] { return stack(xs, c.attrs["axis"]); }, leaves);
  });
}

// The parts, and the gradient that they send back together.
void parts_agree(const GoldenCase& c, const std::function<std::vector<Tensor>(const Tensor& x)>& f) {
  const Tensor x = c.leaf("x");
  Tape tape;
  const std::vector<Tensor> parts = f(x);
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string name = fmt::format("y{}", i);
    EXPECT_EQ(parts[i].storage(), x.storage());
    EXPECT_TRUE(close(parts[i], c[name])) << name;
    tape.backward(parts[i], {.seed = c["d" + name]});
  }
  EXPECT_FALSE(c.has(fmt::format("y{}", parts.size())));
  EXPECT_TRUE(close(x.grad(), c["dx"]));
}

TEST(Split, AgreesWithPyTorch) {
  for_each_case("rearrange", "split", [](const GoldenCase& c) {
    parts_agree(
        c, [&](const Tensor& x) { return split(x, c.attrs["sizes"].get<std::vector<int64_t>>(), c.attrs["axis"]); });
  });
}

TEST(Chunk, AgreesWithPyTorch) {
  for_each_case("rearrange", "chunk", [](const GoldenCase& c) {
    parts_agree(c, [&](const Tensor& x) { return chunk(x, c.attrs["n"], c.attrs["axis"]); });
  });
  EXPECT_TRUE(chunk(zeros({0, 3}), 2, 0).empty());
}

TEST(Roll, AgreesWithPyTorch) {
  agrees("roll", [](const GoldenCase& c, const Tensor& x) { return roll(x, c.attrs["shift"], c.attrs["axis"]); });
  EXPECT_EQ(roll(there(arange(3)), INT64_MIN, 0).to_vector<int64_t>(),  // -2^63 is 1 modulo 3
            (std::vector<int64_t>{2, 0, 1}));
}

TEST(Tile, AgreesWithPyTorch) {
  agrees("tile", [](const GoldenCase& c, const Tensor& x) { return tile(x, c.shape("repeats")); });
}

TEST(Rearrange, GradientsMatchFiniteDifferences) {
  const std::vector<std::pair<const char*, Tensor (*)(const Tensor&)>> functions = {
      {"select", [](const Tensor& x) { return select(x, 1, -1); }},
      {"[]", [](const Tensor& x) { return x[0] * x[-1]; }},
      {"backwards", [](const Tensor& x) { return slice(x, 1, -1, kEnd, -2); }},
      {"flip", [](const Tensor& x) { return flip(flip(x, 0), -1); }},
      {"stack",
       [](const Tensor& x) {
         return stack({x, tanh(x), x}, 1);
       }},
      {"split",
       [](const Tensor& x) {
         const auto parts = split(x, {1, x.dim(1) - 1}, 1);
         return tanh(parts[1]) * parts[0];
       }},
      {"chunk", [](const Tensor& x) { return concat(chunk(tanh(x), 2, 1), 2).defined() ? chunk(x, 2, 2)[0] : x; }},
      {"roll", [](const Tensor& x) { return roll(tanh(x), 3, 1); }},
      {"tile", [](const Tensor& x) {
         return tile(tanh(x), {2, 1, 3});
       }}};
  for (const auto& [name, f] : functions) {
    for (const Shape& shape : {Shape{2, 4, 6}, Shape{1, 2, 17}}) {
      const auto result = gradcheck([f = f](const auto& in) { return f(in[0]); }, {random(shape)});
      EXPECT_TRUE(result) << name << " " << shape.str() << " " << result.message;
      const auto strided = gradcheck(
          [f = f](const auto& in) {
            return f(permute(in[0], {2, 1, 0}));
          },
          {random({6, 4, 2})});
      EXPECT_TRUE(strided) << name << " strided " << strided.message;
    }
  }
}

TEST(Rearrange, TakesAnyDtypeAndEmptyTensors) {
  for (DType dtype : {f32, f64, i64, u8, boolean}) {
    const Tensor x = there(view::reshape(arange(6), {2, 3})).to(dtype);
    EXPECT_EQ(x[1].dtype(), dtype);
    EXPECT_TRUE(same_bits(flip(x, 1)[0], stack({x[0][2], x[0][1], x[0][0]})));
    EXPECT_TRUE(same_bits(roll(x, 1, 1), concat({slice(x, 1, -1), slice(x, 1, 0, -1)}, 1)));
    EXPECT_TRUE(same_bits(tile(x, {2, 1}), concat({x, x}, 0)));
    EXPECT_TRUE(same_bits(concat(split(x, {1, 2}, 1), 1), x));
  }
  const Tensor none = there(zeros({0, 3}));
  EXPECT_EQ(flip(none, 0).shape(), (Shape{0, 3}));
  EXPECT_EQ(roll(none, 2, 0).shape(), (Shape{0, 3}));
  EXPECT_EQ(tile(none, {5, 2}).shape(), (Shape{0, 6}));
  EXPECT_EQ(tile(there(zeros({2, 3})), {0, 1}).shape(), (Shape{0, 3}));
  EXPECT_EQ(stack({none, none}, -1).shape(), (Shape{0, 3, 2}));
  EXPECT_EQ(select(none, 1, 2).shape(), Shape{0});
  EXPECT_EQ(tile(there(zeros(Shape{1, 1, 1, 1, 1, 1, 2})), {1, 1, 1, 1, 1, 3, 2}).shape(),
            (Shape{1, 1, 1, 1, 1, 3, 4}));
}

TEST(Rearrange, RejectsBadArguments) {
  const Tensor x = zeros({2, 3}), none;
  expect_error([&] { (void)x[2]; }, "[slice] [2, 3) is out of range on axis 0: shape [2, 3]");
  expect_error([&] { (void)x[-3]; }, "[slice] [-3, -2) is out of range on axis 0: shape [2, 3]");
  expect_error([&] { select(x, 1, INT64_MAX); }, "is out of range on axis 1");
  expect_error([&] { select(x, 1, INT64_MIN); }, "is out of range on axis 1");
  expect_error([&] { select(x, 2, 0); }, "axis 2 is out of range for shape [2, 3]");
  expect_error([] { (void)scalar(1)[0]; }, "axis 0 is out of range for shape []");
  expect_error([&] { flip(x, 2); }, "axis 2 is out of range for shape [2, 3]");
  expect_error([] { stack({}); }, "[concat] wants at least one tensor");
  expect_error([&] { stack({x, zeros({2, 4})}); }, "[concat] shapes [1, 2, 3] and [1, 2, 4] differ");
  expect_error([&] { stack({x}, 3); }, "axis 3 is out of range for shape [2, 3]");
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{1, 1}, {4}, {4, -1}, {-1, 4}, {INT64_MAX, 4}, {}})
    expect_error([&] { split(x, sizes, 1); }, "are not those of axis 1: shape [2, 3]");
  expect_error([&] { split(x, {1, 1}, 1); }, "[split] sizes 1, 1 are not");
  expect_error([&] { chunk(x, 0, 1); }, "[chunk] in 0: want at least 1");
  expect_error([&] { roll(x, 1, -3); }, "[roll] axis -3 is out of range for shape [2, 3]");
  expect_error([&] { tile(x, 2); }, "[tile] repeats [2] for shape [2, 3]");
  expect_error([&] { tile(x, {2, -1}); }, "negative extent in shape");
  expect_error([&] { tile(x, {1, INT64_MAX}); }, "too large");
  const std::vector<std::function<void()>> calls = {
      [&] { (void)none[0]; },     [&] { (void)none.slice(0, 0); }, [&] { select(none, 0, 0); },
      [&] { flip(none, 0); },     [&] { stack({none}); },          [&] { split(none, {1}, 0); },
      [&] { chunk(none, 1, 0); }, [&] { roll(none, 1, 0); },       [&] { tile(none, {1}); }};
  for (const auto& call : calls) expect_error(call, "an undefined tensor was used");
}

}  // namespace
}  // namespace norma
