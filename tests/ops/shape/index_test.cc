// gather, index_select, one_hot: against PyTorch, against finite differences, any thread count, and their errors.
#include "norma/ops/shape/index.h"

#include "norma/ops/elementwise/unary.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Index, AgreesWithPyTorch) {
  for_each_case("index", "gather", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return gather(x, c.attrs["axis"], c["index"]); }, {{"x", x}});
  });
  for_each_case("index", "index_select", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return index_select(x, c.attrs["axis"], c["index"]); }, {{"x", x}});
  });
  for_each_case("index", "one_hot", [](const GoldenCase& c) {
    const Tensor y = one_hot(c["index"], c.attrs["classes"], c.dtype);
    EXPECT_EQ(y.dtype(), c.dtype);
    EXPECT_TRUE(close(y, c["y"]));
  });
}

Tensor random_index(const Shape& shape, int64_t below) {
  Generator generator(5);
  std::vector<int64_t> values;
  for (int64_t i = 0; i < shape.numel(); ++i) values.push_back(generator.below(below));
  return there(tensor(values, shape));
}

TEST(Index, GradientsMatchFiniteDifferences) {
  for (const Shape& shape : {Shape{1}, Shape{7}, Shape{3, 5, 2}, Shape{2, 1, 17}}) {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      for (int64_t m : {1, 5, 33}) {
        const Tensor wide = random_index(shape.with(axis, m), shape[axis]), flat = random_index({m}, shape[axis]);
        const auto g = gradcheck([&](const auto& in) { return gather(tanh(in[0]), axis, wide); }, {random(shape)});
        EXPECT_TRUE(g) << "gather " << shape.str() << axis << " " << g.message;
        const auto s = gradcheck([&](const auto& in) { return index_select(in[0], axis, flat); }, {random(shape)});
        EXPECT_TRUE(s) << "index_select " << shape.str() << axis << " " << s.message;
      }
    }
  }
}

TEST(Index, TakesStridedInputsOfAnyDtype) {
  const Tensor x = view::permute(random({4, 6}), {1, 0}), index = view::permute(random_index({4, 3}, 6), {1, 0});
  EXPECT_TRUE(same_bits(gather(x, 0, index), gather(x.contiguous(), 0, index.contiguous())));
  const Tensor picks = view::slice(arange(6), 0, 1, 6, 2);
  EXPECT_EQ(index_select(arange(6), 0, picks).to_vector<int64_t>(), (std::vector<int64_t>{1, 3, 5}));
  EXPECT_EQ(index_select(tensor<uint8_t>({9, 8}), 0, tensor<int64_t>({1, 1, 0})).to_vector<uint8_t>(),
            (std::vector<uint8_t>{8, 8, 9}));
  EXPECT_EQ(one_hot(view::permute(tensor<int64_t>({0, 1, 1, 0}, {2, 2}), {1, 0}), 2, boolean).to_vector<int64_t>(),
            (std::vector<int64_t>{1, 0, 0, 1, 0, 1, 1, 0}));
}

// Indices of [-n, n): against PyTorch, which is given them modulo n.
TEST(Index, NegativeOnesCountFromTheEnd) {
  for_each_case("rearrange", "gather", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return gather(x, c.attrs["axis"], c["index"]); }, {{"x", x}});
  });
  for_each_case("rearrange", "index_select", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    check_case(c, [&] { return index_select(x, c.attrs["axis"], c["index"]); }, {{"x", x}});
  });
}

TEST(ScatterAdd, AgreesWithPyTorch) {
  for_each_case("rearrange", "scatter_add", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), source = c.leaf("source");
    const auto f = [&] { return scatter_add(x, c.attrs["axis"], c["index"], source); };
    check_case(c, f, {{"x", x}, {"source", source}});
  });
}

TEST(ScatterAdd, GradientsMatchFiniteDifferences) {
  for (int axis : {0, 1, -1}) {
    const Shape shape = {3, 4, 2}, wide = shape.with(axis, 5);
    const Tensor index = random_index(wide, shape.dim(axis));
    const auto f = [&](const auto& in) { return scatter_add(tanh(in[0]), axis, index, tanh(in[1])); };
    const auto result = gradcheck(f, {random(shape, 1), random(wide, 2)});
    EXPECT_TRUE(result) << axis << " " << result.message;
  }
}

TEST(ScatterAdd, CountsAndTakesAnyNumbers) {
  const Tensor index = there(tensor({2, 0, -1, 2}));
  for (DType dtype : {f32, f64, i64, u8})
    EXPECT_EQ(scatter_add(there(ones(3, dtype)), 0, index, there(full(4, 2, dtype))).to_vector<int64_t>(),
              (std::vector<int64_t>{3, 1, 7}));
  const Tensor x = random({4, 3}), t = view::permute(random({3, 6}), {1, 0}), picks = random_index({3, 6}, 4);
  const Tensor permuted = view::permute(picks, {1, 0}), before = x.clone();
  EXPECT_TRUE(same_bits(scatter_add(x, 0, permuted, t), scatter_add(x, 0, permuted.contiguous(), t.contiguous())));
  EXPECT_TRUE(same_bits(x, before));
  EXPECT_TRUE(same_bits(scatter_add(x, 0, there(zeros({0, 3}, i64)), there(zeros({0, 3}, f64))), x));
  EXPECT_EQ(scatter_add(there(zeros({2, 0})), 0, there(zeros({5, 0}, i64)), there(zeros({5, 0}))).shape(),
            (Shape{2, 0}));
}

TEST(ScatterAdd, RejectsBadArguments) {
  const Tensor x = zeros({2, 3}), index = zeros({2, 5}, i64), source = zeros({2, 5});
  const std::string want = "does not lead from";
  expect_error(
      [&] {
        scatter_add(x, 1, zeros({2, 5}), source);
      },
      "[scatter_add] an index [2, 5] (f32, cpu) does not lead from [2, 5] to [2, 3] (f32, cpu)");
  expect_error([&] { scatter_add(x, 1, zeros({2, 4}, i64), source); }, want);
  expect_error([&] { scatter_add(x, 0, index, source); }, want);
  expect_error([&] { scatter_add(x.to(boolean), 1, index, source.to(boolean)); }, want);
  expect_error([&] { scatter_add(x, 1, zeros(5, i64), zeros(5)); }, want);
  expect_error([&] { scatter_add(x, 2, index, source); }, "[scatter_add] axis 2 is out of range for shape [2, 3]");
  expect_error([&] { scatter_add(x, 1, index, source.to(f64)); }, "[scatter_add] dtypes differ");
  expect_error([&] { scatter_add(x, 1, full({2, 5}, 3, i64), source); }, "index 3 at [0, 0] is outside of [-3, 3)");
  expect_error([&] { scatter_add(x, 1, full({2, 5}, -4, i64), source); }, "index -4 at [0, 0] is outside of [-3, 3)");
  expect_error([&] { scatter_add(Tensor(), 1, index, source); }, "[scatter_add] an undefined tensor was used");
  expect_error([&] { scatter_add(x, 1, Tensor(), source); }, "[scatter_add] an undefined tensor was used");
  expect_error([&] { scatter_add(x, 1, index, Tensor()); }, "[scatter_add] an undefined tensor was used");
}

TEST(Index, MakersAgreeWithPyTorch) {
  const auto dtype_named = [](const std::string& name) { return name == "i64" ? i64 : name == "f32" ? f32 : f64; };
  for_each_case("rearrange", "arange", [&](const GoldenCase& c) {
    const DType dtype = dtype_named(c.attrs["dtype"]);
    const Tensor y = arange(c.attrs["start"], c.attrs["stop"], c.attrs["step"], dtype);
    EXPECT_TRUE(close(y, *c.file->find(c.name + "/y"), dtype == f32 ? 1e-7 : 1e-15));
  });
  for_each_case("rearrange", "linspace", [](const GoldenCase& c) {
    EXPECT_TRUE(close(linspace(c.attrs["start"], c.attrs["stop"], c.attrs["n"], c.dtype), c["y"]));
  });
  for_each_case("rearrange", "eye",
                [](const GoldenCase& c) { EXPECT_TRUE(same_bits(eye(c.attrs["n"], c.dtype), c["y"].to(cpu_device))); });
  EXPECT_EQ(eye(2, boolean).to_vector<int64_t>(), (std::vector<int64_t>{1, 0, 0, 1}));
  EXPECT_EQ(eye(0).shape(), (Shape{0, 0}));
  expect_error([] { eye(-1); }, "no steps of 1 from 0 to -1");
}

TEST(Index, TakesEmptyTensors) {
  const Tensor none({0}, i64);
  EXPECT_EQ(index_select(zeros({3, 2}), 0, none).shape(), (Shape{0, 2}));
  EXPECT_EQ(index_select(zeros({3, 0}), 0, tensor<int64_t>({2, 1})).shape(), (Shape{2, 0}));
  EXPECT_EQ(gather(zeros({0}), 0, none).shape(), Shape{0});
  EXPECT_EQ(one_hot(none, 0).shape(), (Shape{0, 0}));
  expect_error([] { index_select(zeros({0, 2}), 0, tensor<int64_t>({0})); }, "index 0 at [0] is outside of [0, 0)");
}

TEST(IndexThreads, BitsDoNotDependOnTheThreadCount) {
  const Tensor x = random({2, 50, 70}), seed = random({2, 3000, 70}, 8), picks = random_index({3000}, 50);
  std::vector<Tensor> gradients;
  const int before = num_threads();
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    Tensor leaf = x.clone();
    leaf.set_requires_grad();
    Tape tape;
    tape.backward(index_select(leaf, 1, picks), {.seed = seed});
    gradients.push_back(leaf.grad());
  }
  set_num_threads(before);
  EXPECT_TRUE(same_bits(gradients[0], gradients[1]));
  EXPECT_TRUE(same_bits(gradients[0], gradients[2]));
}

TEST(Index, RejectsBadArguments) {
  const Tensor x = zeros({4, 10});
  Tensor index = zeros({4, 2}, i64);
  index.mutable_data<int64_t>()[6] = 12;
  expect_error([&] { gather(x, 1, index); }, "[gather] index 12 at [3, 0] is outside of [-10, 10)");
  expect_error([&] { one_hot(index, 12); }, "[one_hot] index 12 at [3, 0] is outside of [0, 12)");
  expect_error([&] { index_select(x, 0, tensor({0, -5})); }, "[index_select] index -5 at [1] is outside of [-4, 4)");
  expect_error([] { one_hot(tensor({0, -1}), 4); }, "[one_hot] index -1 at [1] is outside of [0, 4)");
  expect_error([&] { gather(x, 0, index); }, "[gather] the index [4, 2] differs from [4, 10] in another axis than 0");
  expect_error([&] { gather(x, 1, zeros({4, 2})); }, "[gather] the index is f32, want i64: shape [4, 2]");
  expect_error([&] { gather(x, 2, index); }, "[gather] axis 2 is out of range for shape [4, 10]");
  expect_error([&] { index_select(x, 0, index); }, "[index_select] the index is i64 of shape [4, 2], want i64 [m]");
  expect_error([&] { one_hot(x, 3); }, "[one_hot] the index is f32, want i64: shape [4, 10]");
  expect_error([&] { one_hot(index, -1); }, "[one_hot] -1 classes");

  Tensor large = zeros({1 << 18}, i64);  // several slots: the first offence is reported
  large.mutable_data<int64_t>()[100000] = 5;
  large.mutable_data<int64_t>()[200000] = 6;
  expect_error([&] { index_select(x, 0, large); }, "index 5 at [100000]");
}

}  // namespace
}  // namespace norma
