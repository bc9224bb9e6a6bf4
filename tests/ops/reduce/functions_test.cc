// Reductions of integers and truth values, standard deviations, norms, products, running sums, places.
#include <map>

#include "norma/ops/elementwise/binary.h"
#include "norma/ops/reduce/reduce.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using Truth = std::vector<bool>;
using Places = std::vector<int64_t>;

double order(const nlohmann::json& p) { return p.is_string() ? INFINITY : p.get<double>(); }

TEST(ReduceFunctions, AgreeWithPyTorch) {
  for (const char* name : {"stddev", "vector_norm", "prod", "cumsum", "argmin", "topk"})
    for_each_case("functions", name, [](const GoldenCase& c) {
      if (c.op == "argmin") {
        EXPECT_TRUE(same_bits(argmin(c["x"], c.attrs.at("axis").get<int64_t>(), true), c["y"]));
        return;
      }
      const Tensor x = c.leaf("x");
      const auto f = [&] {
        if (c.op == "cumsum") return cumsum(x, c.attrs.at("axis"));
        if (c.op == "topk") {
          const TopK top = topk(x, c.attrs.at("k"), c.attrs.at("axis"), c.attrs.at("largest"));
          EXPECT_TRUE(same_bits(top.indices, c["indices"]));
          return top.values;
        }
        const bool keepdim = c.attrs.at("keepdim");
        if (c.op == "stddev") return stddev(x, c.shape("axes"), c.attrs.at("correction"), keepdim);
        if (c.op == "prod") return prod(x, c.shape("axes"), keepdim);
        return vector_norm(x, order(c.attrs.at("p")), c.shape("axes"), keepdim);
      };
      check_case(c, f, {{"x", x}});
    });
}

TEST(ReduceFunctions, GradientsMatchFiniteDifferences) {
  using Function = std::function<Tensor(const Tensor&, const Shape&, bool)>;
  const std::map<std::string, Function> functions = {
      {"prod", [](const Tensor& x, const Shape& axes, bool keepdim) { return prod(x + 2, axes, keepdim); }},
      {"stddev", [](const Tensor& x, const Shape& axes, bool keepdim) { return stddev(x, axes, 0, keepdim); }},
      {"norm 1", [](const Tensor& x, const Shape& axes, bool keepdim) { return vector_norm(x, 1, axes, keepdim); }},
      {"norm 2", [](const Tensor& x, const Shape& axes, bool keepdim) { return vector_norm(x, 2, axes, keepdim); }},
      {"norm 3.5", [](const Tensor& x, const Shape& axes, bool keepdim) { return vector_norm(x, 3.5, axes, keepdim); }},
      {"norm max",
       [](const Tensor& x, const Shape& axes, bool keepdim) { return vector_norm(x, INFINITY, axes, keepdim); }}};
  const std::vector<std::pair<Shape, Shape>> layouts = {
      {{7}, {}}, {{33, 3}, {0}}, {{3, 5, 2}, {1}}, {{3, 5, 2, 1}, {0, 2}}, {{2, 1, 3}, {-1, 0}}};
  for (const auto& [name, f] : functions)
    for (const auto& [shape, axes] : layouts)
      for (bool keepdim : {false, true}) {
        const auto result =
            gradcheck([&, f = f, axes = axes](const auto& in) { return f(in[0], axes, keepdim); }, {random(shape)});
        EXPECT_TRUE(result) << name << " " << shape.str() << " " << axes.str() << " " << result.message;
      }
  for (const Shape& shape : {Shape{7}, Shape{100}, Shape{3, 5, 2}, Shape{1, 1, 4}})
    for (int64_t axis = 0; axis < shape.rank(); ++axis) {
      const auto running = gradcheck([&](const auto& in) { return cumsum(in[0], axis); }, {random(shape)});
      EXPECT_TRUE(running) << "cumsum " << shape.str() << " " << axis << " " << running.message;
      for (bool largest : {false, true}) {
        const auto top =
            gradcheck([&](const auto& in) { return topk(in[0], 1, axis, largest).values; }, {random(shape)});
        EXPECT_TRUE(top) << "topk " << shape.str() << " " << axis << " " << top.message;
      }
    }
}

TEST(ReduceFunctions, SumIntegersExactly) {
  const int64_t large = int64_t{1} << 60;
  const Tensor x = there(tensor<int64_t>({large, 1, -large, 2, 7, large}, {2, 3}));
  EXPECT_EQ(sum(x, {1}).to_vector<int64_t>(), (Places{1, large + 9}));
  EXPECT_EQ(sum(x, {0}, true).shape(), (Shape{1, 3}));
  EXPECT_EQ(max(x, {1}).to_vector<int64_t>(), (Places{large, large}));
  EXPECT_EQ(min(x, {0}).to_vector<int64_t>(), (Places{2, 1, -large}));
  EXPECT_EQ(sum(there(full({2}, 0x1p62, i64))).to_vector<int64_t>(), (Places{INT64_MIN}));  // wraps
  EXPECT_EQ(sum(there(zeros({0}, i64))).to_vector<int64_t>(), (Places{0}));
  EXPECT_EQ(sum(view::permute(x, {1, 0}), {0}).to_vector<int64_t>(), (Places{1, large + 9}));
  // Every way in which the work is cut.
  for (const Shape& shape : {Shape{1, 100001, 1}, Shape{1, 30000, 3}, Shape{3, 500, 33}, Shape{2, 3, 1100}})
    for (DType dtype : {i64, u8, boolean}) {
      const Tensor ones_there = there(ones(shape, dtype)), y = sum(ones_there, {1});
      EXPECT_EQ(y.dtype(), i64);
      EXPECT_EQ(min(y).item(), static_cast<double>(shape[1])) << shape.str();
      EXPECT_EQ(max(y).item(), static_cast<double>(shape[1])) << shape.str();
    }
  const Tensor bytes = there(tensor<uint8_t>({255, 1, 255, 0}));
  EXPECT_EQ(sum(bytes).item(), 511);
  EXPECT_EQ(max(bytes).item(), 255);
  EXPECT_EQ(max(bytes).dtype(), u8);
}

TEST(ReduceFunctions, CountAccuracyWithoutACast) {
  const Tensor logits = there(tensor<double>({1, 2, 3, 1, 0, 0, 5, 9}, {4, 2}));
  const Tensor labels = there(tensor<int64_t>({1, 0, 1, 1}));
  const Tensor accuracy = mean(eq(argmax(logits, 1), labels));
  EXPECT_EQ(accuracy.dtype(), f32);
  EXPECT_EQ(accuracy.rank(), 0);
  EXPECT_EQ(accuracy.item(), 0.75);
  EXPECT_EQ(sum(eq(argmax(logits, 1), labels)).to_vector<int64_t>(), (Places{3}));
  expect_values(mean(there(tensor<int64_t>({1, 2, 4, 9}, {2, 2})), {1}), {1.5, 6.5});
}

TEST(ReduceFunctions, AnyAndAll) {
  const Tensor x = there(tensor<double>({1, 0, 1, 1, 0, 0}, {3, 2})).to(boolean);
  EXPECT_EQ(any(x, {1}).to_vector<bool>(), (Truth{1, 1, 0}));
  EXPECT_EQ(all(x, {1}).to_vector<bool>(), (Truth{0, 1, 0}));
  EXPECT_EQ(any(x, {-2}, true).shape(), (Shape{1, 2}));
  EXPECT_EQ(all(x, {0}).to_vector<bool>(), (Truth{0, 0}));
  EXPECT_TRUE(any(x).item());
  EXPECT_FALSE(all(x).item());
  EXPECT_EQ(any(x).dtype(), boolean);
  const Tensor none = there(zeros({2, 0}, boolean));
  EXPECT_EQ(any(none, {1}).to_vector<bool>(), (Truth{0, 0}));
  EXPECT_EQ(all(none, {1}).to_vector<bool>(), (Truth{1, 1}));
}

TEST(ReduceFunctions, StandardDeviation) {
  const Tensor x = there(tensor<double>({1, 3, 5, 5}, {2, 2}));
  expect_values(stddev(x, {1}, 0), {1, 0});
  EXPECT_EQ(stddev(x, {1}, true).shape(), (Shape{2, 1}));
  // Where all are equal the gradient is 0, whatever arrives.
  for (double dy : {0.0, 3.0, double{INFINITY}})
    expect_values(
        gradient([](const Tensor& in) { return stddev(in, {1}, 0); }, full({1, 3}, 0.1, f64), scalar(dy, f64)),
        {0, 0, 0});
}

// Neither overflow nor underflow where the result fits, and the gradient 0 at 0.
TEST(ReduceFunctions, NormsOfAnySize) {
  for (double p : {0.5, 1.0, 2.0, 3.0, 10.0, double{INFINITY}})
    for (const auto& [dtype, sizes] : std::vector<std::pair<DType, std::vector<double>>>{
             {f32, {1e-37, 1e-20, 1, 1e20, 1e37}}, {f64, {1e-300, 1e-160, 1, 1e160, 1e300}}})
      for (double size : sizes) {
        const Tensor x = there(full({2, 4}, size, dtype));
        const double want = full({1}, size, dtype).item() * (std::isinf(p) ? 1 : std::pow(4, 1 / p));
        EXPECT_NEAR(vector_norm(x, p, {1}).to_vector<double>()[1] / want, 1, dtype == f32 ? 4e-7 : 1e-14) << p;
        const double slope =
            gradient([&](const Tensor& in) { return vector_norm(in, p, {1}); }, x.to(cpu_device), scalar(1))
                .to_vector<double>()[3];
        EXPECT_NEAR(slope / (std::isinf(p) ? 0.25 : std::pow(4, 1 / p - 1)), 1, dtype == f32 ? 2e-6 : 1e-13)
            << p << " " << size;
      }
  for (double p : {0.5, 1.0, 1.5, 2.0, 3.0, double{INFINITY}}) {
    const auto f = [&](const Tensor& in) { return vector_norm(in, p, {1}); };
    for (DType dtype : {f32, f64}) {
      expect_values(f(there(zeros({1, 3}, dtype))), {0}, fmt::format("{}", p));
      expect_values(gradient(f, zeros({1, 3}, dtype), scalar(2)), {0, 0, 0}, fmt::format("{}", p));
      expect_values(f(there(tensor<double>({1, -INFINITY, NAN, 2}, {2, 2}).to(dtype))), {INFINITY, NAN});
    }
  }
  expect_values(vector_norm(there(tensor<double>({3, -4})), 2), {5});
  expect_values(gradient([](const Tensor& in) { return vector_norm(in, 2); }, tensor<double>({3, 0, -4}), scalar(5)),
                {3, 0, -4});
  for (double p : {1.0, 2.0, double{INFINITY}}) expect_values(vector_norm(there(zeros({2, 0})), p, {1}), {0, 0});
  EXPECT_EQ(vector_norm(there(ones({2, 3})), 2, {1}, true).shape(), (Shape{2, 1}));
}

TEST(ReduceFunctions, ProductsWithZeros) {
  const Tensor x = tensor<double>({2, 0, 3, 0, 5, 0, 2, 3, 4}, {3, 3});
  const auto over = [](const Tensor& in) { return prod(in, {1}); };
  for (DType dtype : {f32, f64}) {
    expect_values(over(there(x.to(dtype))), {0, 0, 24});
    expect_values(gradient(over, x.to(dtype), scalar(10)), {0, 60, 0, 0, 0, 0, 120, 80, 60});
  }
  // Out of f32's range on the way only.
  EXPECT_NEAR(prod(there(tensor<double>({1e30, 1e30, 1e-30, 1e-30}).to(f32))).item(), 1, 1e-6);
  EXPECT_EQ(prod(there(zeros({0}))).item(), 1);
  EXPECT_EQ(gradient([](const Tensor& in) { return prod(in); }, zeros({2, 0}), scalar(1)).shape(), (Shape{2, 0}));
}

TEST(ReduceFunctions, RunningSums) {
  expect_values(cumsum(there(tensor<double>({1, 2, 3, 4, 5, 6}, {2, 3})), 0), {1, 2, 3, 5, 7, 9});
  const Tensor whole = cumsum(there(tensor<uint8_t>({200, 100, 7})), -1);
  EXPECT_EQ(whole.to_vector<int64_t>(), (Places{200, 300, 307}));
  EXPECT_EQ(cumsum(gt(random({5}), -100), 0).to_vector<int64_t>(), (Places{1, 2, 3, 4, 5}));
  // Long ones, which lanes share; in double on the way.
  for (int64_t n : {31, 64, 1000, 4097}) {
    const Tensor y = cumsum(there(full({2, n}, 0.1)), 1).to(cpu_device);
    for (int64_t i : {int64_t{0}, n / 2, n - 1})
      EXPECT_NEAR(y.at({1, i}) / (0.1 * static_cast<double>(i + 1)), 1, 1e-7) << n << " " << i;
  }
  const Tensor t = view::permute(random({4, 6}), {1, 0});
  for (int64_t axis : {0, 1}) EXPECT_TRUE(same_bits(cumsum(t, axis), cumsum(t.contiguous(), axis)));
  EXPECT_EQ(cumsum(there(zeros({2, 0})), 1).shape(), (Shape{2, 0}));
  EXPECT_EQ(cumsum(there(zeros({0, 2})), 1).shape(), (Shape{0, 2}));
}

TEST(ReduceFunctions, PlacesOfAllAndOfTheSmallest) {
  const Tensor x = there(tensor<double>({3, 1, 4, 1, 5, 9, 2, 6}, {2, 4}));
  for (DType dtype : {f32, f64, i64, u8}) {
    EXPECT_EQ(argmin(x.to(dtype), 1).to_vector<int64_t>(), (Places{1, 2}));
    EXPECT_EQ(argmin(x.to(dtype)).item(), 1);
    EXPECT_EQ(argmax(x.to(dtype)).item(), 5);
  }
  EXPECT_EQ(argmax(view::permute(x, {1, 0})).item(), 3);  // row-major in [4, 2]
  EXPECT_EQ(argmin(x, 0, true).shape(), (Shape{1, 4}));
  EXPECT_EQ(argmax(there(scalar(3))).item(), 0);
  const Tensor nan = there(tensor<double>({3, NAN, 0, NAN}));
  EXPECT_EQ(argmin(nan).item(), 1);
  EXPECT_EQ(argmax(nan).item(), 1);
  EXPECT_EQ(argmin(there(tensor<double>({1, 0, 1})).to(boolean)).item(), 1);
  const Tensor all_integers = there(tensor<int64_t>({INT64_MIN, INT64_MAX, INT64_MAX - 1}));
  EXPECT_EQ(argmax(all_integers).item(), 1);
  EXPECT_EQ(argmin(all_integers).item(), 0);
  const Tensor large = random({100003}), row = large.to(cpu_device);
  EXPECT_EQ(row.at({static_cast<int64_t>(argmin(large).item())}), min(large).item());
}

TEST(ReduceFunctions, TopKSortsWithTiesAndNaN) {
  const double inf = INFINITY, nan = NAN;
  const Tensor x = there(tensor<double>({1, nan, 3, -inf, 3, nan, inf}));
  const TopK high = topk(x, 7), low = topk(x, 7, 0, false);
  expect_values(high.values, {nan, nan, inf, 3, 3, 1, -inf});
  EXPECT_EQ(high.indices.to_vector<int64_t>(), (Places{1, 5, 6, 2, 4, 0, 3}));
  expect_values(low.values, {-inf, 1, 3, 3, inf, nan, nan});
  EXPECT_EQ(low.indices.to_vector<int64_t>(), (Places{3, 0, 2, 4, 6, 1, 5}));
  // Against sorting, on each axis.
  for (const Shape& shape : {Shape{500}, Shape{40, 3}, Shape{2, 37, 5}})
    for (int64_t axis = 0; axis < shape.rank(); ++axis)
      for (bool largest : {true, false}) {
        const Tensor in = round(random(shape) * 4);
        const int64_t n = shape[static_cast<int>(axis)];
        const TopK all = topk(in, n, axis, largest), some = topk(in, n / 2, axis, largest);
        EXPECT_TRUE(same_bits(view::slice(all.indices, axis, 0, n / 2), some.indices));
        const Tensor upper = view::slice(all.values, axis, 0, n - 1), lower = view::slice(all.values, axis, 1, n);
        EXPECT_TRUE(norma::all(largest ? ge(upper, lower) : le(upper, lower)).item());
        const Tensor p = view::slice(all.indices, axis, 0, n - 1), q = view::slice(all.indices, axis, 1, n);
        EXPECT_TRUE(norma::all(logical_or(ne(upper, lower), lt(p, q))).item());
        EXPECT_EQ(sum(all.indices).item(), static_cast<double>(shape.numel() * (n - 1) / 2));
      }
  for (DType dtype : {i64, u8, boolean})
    EXPECT_EQ(topk(there(tensor<double>({0, 1, 1})).to(dtype), 2).values.to_vector<int64_t>(), (Places{1, 1}));
  EXPECT_EQ(topk(there(zeros({3, 4})), 0, 0).values.shape(), (Shape{0, 4}));
  EXPECT_EQ(topk(there(zeros({0, 4})), 2).indices.shape(), (Shape{0, 2}));
  const Tensor strided = view::permute(random({4, 6}), {1, 0});
  EXPECT_TRUE(same_bits(topk(strided, 3, 0).values, topk(strided.contiguous(), 3, 0).values));
}

TEST(ReduceFunctions, RejectBadInput) {
  expect_error([] { prod(zeros({2}, i64)); }, "[prod] wants floating tensors, not i64: shape [2]");
  expect_error([] { any(zeros({2})); }, "[any] wants bool, not f32: shape [2]");
  expect_error([] { all(zeros({2}, u8)); }, "[all] wants bool, not u8: shape [2]");
  expect_error([] { max(zeros({2, 0}, i64), {1}); }, "[max] 0 elements to reduce, want at least 1: shape [2, 0]");
  expect_error([] { mean(zeros({0}, boolean)); }, "[mean] 0 elements to reduce, want at least 1: shape [0]");
  expect_error([] { argmin(zeros({0})); }, "[argmin] 0 elements to reduce, want at least 1: shape [0]");
  expect_error([] { stddev(zeros({3, 1}), {1}); }, "[stddev] 1 elements to reduce, want at least 2: shape [3, 1]");
  expect_error([] { vector_norm(zeros({2}), 0); }, "[vector_norm] p 0 is not positive: shape [2]");
  expect_error([] { vector_norm(zeros({2}), NAN); }, "[vector_norm] p nan is not positive: shape [2]");
  expect_error([] { vector_norm(zeros({2}, i64)); }, "[vector_norm] wants floating tensors, not i64: shape [2]");
  expect_error([] { cumsum(zeros({2}), 1); }, "[cumsum] axis 1 is out of range for shape [2]");
  expect_error([] { cumsum(scalar(1), 0); }, "[cumsum] axis 0 is out of range for shape []");
  expect_error([] { topk(zeros({2, 3}), 4); }, "[topk] k 4 is not in [0, 3]: axis -1 of shape [2, 3]");
  expect_error([] { topk(zeros({2, 3}), -1, 0); }, "[topk] k -1 is not in [0, 2]: axis 0 of shape [2, 3]");
  expect_error([] { topk(zeros({2}), 1, 1); }, "[topk] axis 1 is out of range for shape [2]");
}

}  // namespace
}  // namespace norma
