// What is not floating: logical functions, tests for NaN and infinities, arithmetic of integers.
#include "norma/ops/elementwise/binary.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using Truth = std::vector<bool>;

constexpr int64_t kMost = INT64_MAX, kLeast = INT64_MIN;

TEST(Logical, AgreesWithPyTorch) {
  using Function = Tensor (*)(const Tensor&, const Tensor&);
  for (const auto& [name, f] : std::map<std::string, Function>{
           {"logical_and", logical_and}, {"logical_or", logical_or}, {"logical_xor", logical_xor}})
    for_each_case("functions", name, [f = f](const GoldenCase& c) {
      EXPECT_TRUE(same_bits(f(c["a"], c["b"]), c["y"]));
      EXPECT_TRUE(same_bits(f(c["a"].to(c.dtype), c["b"].to(c.dtype)), c["y"]));
      EXPECT_TRUE(same_bits(f(c["a"].to(boolean), c["b"].to(boolean)), c["y"]));
    });
}

TEST(Logical, TakesAllButZeroForTrue) {
  const Tensor a = there(tensor<double>({0, 2, NAN, -0.0})), b = there(tensor<double>({1, 1, 0, 0}));
  EXPECT_EQ(logical_and(a, b).to_vector<bool>(), (Truth{0, 1, 0, 0}));
  EXPECT_EQ(logical_or(a, b).to_vector<bool>(), (Truth{1, 1, 1, 0}));
  EXPECT_EQ(logical_xor(a, b).to_vector<bool>(), (Truth{1, 0, 1, 0}));
  EXPECT_EQ(logical_not(a).to_vector<bool>(), (Truth{1, 0, 0, 1}));
  EXPECT_EQ(logical_not(gt(b, 0)).to_vector<bool>(), (Truth{0, 0, 1, 1}));
  for (DType dtype : {f32, f64, i64, u8, boolean})
    EXPECT_EQ(logical_not(there(tensor<double>({0, 1, 1})).to(dtype)).to_vector<bool>(), (Truth{1, 0, 0}));
  EXPECT_EQ(logical_and(there(zeros({0, 2}, boolean)), there(zeros({2}, boolean))).shape(), (Shape{0, 2}));
  const Tensor strided = view::permute(gt(random({4, 6}), 0), {1, 0});
  EXPECT_TRUE(same_bits(logical_not(strided), logical_not(strided.contiguous())));
}

TEST(Logical, TellsNumbersFromWhatIsNone) {
  const double inf = INFINITY;
  for (DType dtype : {f32, f64}) {
    const Tensor x = there(tensor<double>({0, inf, -inf, NAN, 3e38}).to(dtype));
    EXPECT_EQ(isnan(x).to_vector<bool>(), (Truth{0, 0, 0, 1, 0}));
    EXPECT_EQ(isinf(x).to_vector<bool>(), (Truth{0, 1, 1, 0, 0}));
    EXPECT_EQ(isfinite(x).to_vector<bool>(), (Truth{1, 0, 0, 0, 1}));
  }
  EXPECT_EQ(isnan(there(zeros({2}, i64))).to_vector<bool>(), (Truth{0, 0}));
  // Nothing is recorded.
  Tensor x = random({3});
  x.set_requires_grad();
  Tape tape;
  EXPECT_FALSE(isfinite(x).requires_grad() || isinf(x).requires_grad() || logical_not(x).requires_grad());
  EXPECT_FALSE(x.storage()->pinned());
}

// Beyond 2^53 numbers of f64 are apart by more than 1.
TEST(Logical, ComparesIntegersAsIntegers) {
  const Tensor x = there(tensor<int64_t>({kMost, (int64_t{1} << 53) + 1, -1}));
  EXPECT_EQ(eq(x, 0x1p53).to_vector<bool>(), (Truth{0, 0, 0}));
  EXPECT_EQ(gt(x, 0x1p53).to_vector<bool>(), (Truth{1, 1, 0}));
  EXPECT_EQ(gt(x, -0.5).to_vector<bool>(), (Truth{1, 1, 0}));
  EXPECT_EQ(lt(x, INFINITY).to_vector<bool>(), (Truth{1, 1, 1}));
  EXPECT_EQ(lt(there(tensor<uint8_t>({0, 255})), 256).to_vector<bool>(), (Truth{1, 1}));
  EXPECT_EQ(eq(x, NAN).to_vector<bool>(), (Truth{0, 0, 0}));
}

TEST(Integers, AddSubtractAndMultiply) {
  const auto values = [](const Tensor& x) { return x.to_vector<int64_t>(); };
  using Values = std::vector<int64_t>;
  const Tensor a = there(tensor<int64_t>({5, -3, 7, 0}, {2, 2})), b = there(tensor<int64_t>({2, -4}));
  EXPECT_EQ(values(a + b), (Values{7, -7, 9, -4}));
  EXPECT_EQ(values(a - b), (Values{3, 1, 5, 4}));
  EXPECT_EQ(values(a * b), (Values{10, 12, 14, 0}));
  EXPECT_EQ(values(minimum(a, b)), (Values{2, -4, 2, -4}));
  EXPECT_EQ(values(maximum(a, b)), (Values{5, -3, 7, 0}));
  EXPECT_EQ(values(-a), (Values{-5, 3, -7, 0}));
  EXPECT_EQ(values(2 * a + 1), (Values{11, -5, 15, 1}));
  EXPECT_EQ(values(maximum(a, 1)), (Values{5, 1, 7, 1}));
  EXPECT_EQ((a + b).dtype(), i64);
  const Tensor t = view::permute(a, {1, 0}), s = view::expand(view::slice(b, 0, 1, 2), {2, 2});
  EXPECT_EQ(values(t * s), values(t.contiguous() * s.contiguous()));
  EXPECT_EQ((there(zeros({0, 2}, i64)) + b).shape(), (Shape{0, 2}));
}

TEST(Integers, Wrap) {
  const Tensor x = there(tensor<int64_t>({kMost, kLeast, (int64_t{1} << 62) + 1}));
  EXPECT_EQ((x + 1).to_vector<int64_t>(), (std::vector<int64_t>{kLeast, kLeast + 1, (int64_t{1} << 62) + 2}));
  EXPECT_EQ((x - 1).to_vector<int64_t>(), (std::vector<int64_t>{kMost - 1, kMost, int64_t{1} << 62}));
  EXPECT_EQ((x * 4).to_vector<int64_t>(), (std::vector<int64_t>{-4, 0, 4}));
  EXPECT_EQ((-x).to_vector<int64_t>(), (std::vector<int64_t>{-kMost, kLeast, -(int64_t{1} << 62) - 1}));
}

TEST(Integers, RejectWhatIsNone) {
  const Tensor x = there(zeros({2}, i64));
  expect_error([&] { (void)(x + 0.5); }, "[add] dtypes differ: i64 of shape [2] and f64 of shape []");
  expect_error([&] { (void)(1e300 * x); }, "[mul] wants floating tensors, not i64: shape [2]");
  expect_error([&] { maximum(x, NAN); }, "[maximum] dtypes differ: i64 of shape [2] and f64 of shape []");
  expect_error([&] { (void)(x / x); }, "[div] wants floating tensors, not i64: shape [2]");
  expect_error([&] { pow(x, x); }, "[pow] wants floating tensors, not i64: shape [2]");
  expect_error([&] { (void)(x + there(zeros({2}))); }, "[add] dtypes differ: i64 of shape [2] and f32 of shape [2]");
  expect_error([&] { (void)(there(zeros({2})) + x); }, "[add] wants floating tensors, not i64: shape [2]");
  expect_error([&] { (void)(x.to(u8) + x.to(u8)); }, "[add] wants floating tensors, not u8: shape [2]");
  expect_error([&] { isfinite(x); }, "[isfinite] wants floating tensors, not i64: shape [2]");
  expect_error([&] { abs(x); }, "[abs] wants floating tensors, not i64: shape [2]");
}

}  // namespace
}  // namespace norma
