// How tensors and shapes are written down, printed and made: numbers in place of shapes, nested lists, ranges, random
// makers, memory of others.
#include <sstream>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

template <class T>
concept Axes = requires(Tensor x, T axes) {
  sum(x, axes);
};
template <class T>
concept Extents = requires(T shape) {
  zeros(shape);
};

// A truth value is no axis: it stood where `keepdim` is in NumPy. Nor is what would have to be rounded.
static_assert(Axes<int> && Axes<int64_t> && Axes<size_t> && Axes<Shape> && !Axes<bool> && !Axes<double>);
static_assert(Extents<int> && Extents<unsigned> && !Extents<bool> && !Extents<float>);
template <class T>
concept Correction = requires(Tensor x, T correction) {
  var(x, 1, correction, true);
};
static_assert(Correction<int> && !Correction<bool>);

TEST(Shape, IsMadeFromOneNumber) {
  EXPECT_EQ(zeros(3).shape(), Shape{3});
  EXPECT_EQ(Tensor(2, i64).shape(), Shape{2});
  const Tensor listed({2}), both({2, 3}), scalar({});  // not a Tensor that is made from 2
  EXPECT_EQ(listed.shape(), Shape{2});
  EXPECT_EQ(both.shape(), (Shape{2, 3}));
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(Tensor{listed}.identity(), listed.identity());
  EXPECT_EQ(full(uint8_t{4}, 1).shape(), Shape{4});
  const Tensor x = view::reshape(arange(6, f64), {2, 3});
  EXPECT_EQ(sum(x, 1).to_vector<double>(), (std::vector<double>{3, 12}));
  EXPECT_EQ(sum(x, -2, true).shape(), (Shape{1, 3}));
  EXPECT_EQ(var(x, 1, true).shape(), (Shape{2, 1}));  // keepdim
  EXPECT_EQ(var(x, 1, 0).to_vector<double>()[0], 2. / 3);
  EXPECT_EQ(view::reshape(x, -1).shape(), Shape{6});
  EXPECT_EQ(reshape(x, 6).at(4), 4);
  expect_error([] { zeros(-3); }, "[tensor] negative extent in shape [-3]");
  expect_error([] { zeros(UINT64_MAX); }, "[tensor] negative extent in shape [-1]");
  expect_error([&] { sum(x, 2); }, "axis 2 is out of range for shape [2, 3]");
}

TEST(Print, GoesToStreams) {
  std::ostringstream out;
  const nn::Parameter p(ones({2}));
  out << Shape{2, 3} << " " << tensor({1., 2.}) << " " << p << " " << Tensor() << " " << 3;
  EXPECT_EQ(out.str(), "[2, 3] tensor([1., 2.], f64, shape [2]) tensor([1., 1.], f32, shape [2]) tensor(undefined) 3");
  EXPECT_EQ(fmt::format("{} {}", p.shape(), p), "[2] tensor([1., 1.], f32, shape [2])");
}

TEST(Tensor, IsMadeFromNestedLists) {
  const Tensor rows = tensor({{1., 2., 3.}, {4., 5., 6.}});
  EXPECT_EQ(rows.shape(), (Shape{2, 3}));
  EXPECT_EQ(rows.dtype(), f64);
  EXPECT_EQ(rows.to_vector<double>(), (std::vector<double>{1, 2, 3, 4, 5, 6}));
  const Tensor matrices = tensor<float>({{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}, {{9, 10}, {11, 12}}});
  EXPECT_EQ(matrices.shape(), (Shape{3, 2, 2}));
  EXPECT_EQ(matrices.at({2, 0, 1}), 10);
  // One number in each row or matrix, too.
  EXPECT_EQ(tensor<float>({{1}, {2}}).shape(), (Shape{2, 1}));
  EXPECT_EQ(tensor({{1., 2.}}).shape(), (Shape{1, 2}));
  EXPECT_EQ(tensor({{{1.}}, {{2.}}}).shape(), (Shape{2, 1, 1}));
  EXPECT_EQ(tensor({{true}, {false}}).dtype(), boolean);
  EXPECT_EQ(tensor<uint8_t>({{1, 2}, {3, 4}}).dtype(), u8);
  // Of int: i64.
  EXPECT_EQ(tensor({1, -2}).dtype(), i64);
  EXPECT_EQ(tensor({{1, 2}, {3, 4}}).to_vector<int64_t>(), (std::vector<int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(tensor(std::vector{1, 2}, 2).dtype(), i64);
}

template <class T>
concept Square = requires {
  tensor<T>({{1, 2}, {3, 4}});
};
template <class T>
concept Ragged = requires {
  tensor<T>({{1, 2}, {3}});
};
static_assert(Square<float> && !Ragged<float>);

TEST(Tensor, RangesHaveStartStopAndStep) {
  EXPECT_EQ(arange(2, 7).to_vector<int64_t>(), (std::vector<int64_t>{2, 3, 4, 5, 6}));
  EXPECT_EQ(arange(2, 7, 2).to_vector<int64_t>(), (std::vector<int64_t>{2, 4, 6}));
  EXPECT_EQ(arange(2, 8, 2).to_vector<int64_t>(), (std::vector<int64_t>{2, 4, 6}));
  EXPECT_EQ(arange(3, -2, -2).to_vector<int64_t>(), (std::vector<int64_t>{3, 1, -1}));
  EXPECT_EQ(arange(3, 3).shape(), Shape{0});
  EXPECT_EQ(arange(3, 3, -1).shape(), Shape{0});
  EXPECT_EQ(arange(2, 7).dtype(), i64);
  EXPECT_EQ(arange(0, 1, 0.25).dtype(), f32);
  EXPECT_EQ(arange(0., 1., .25).to_vector<double>(), (std::vector<double>{0, .25, .5, .75}));
  EXPECT_EQ(arange(0, 6, 2, u8).to_vector<int64_t>(), (std::vector<int64_t>{0, 2, 4}));
  EXPECT_EQ(arange(0., 1., .1, f64).to_vector<double>()[3], 3 * .1);
  const int64_t far = (int64_t{1} << 51) + 1;
  EXPECT_EQ(arange(far, far + 3).to_vector<int64_t>()[2], far + 2);
  expect_error([] { arange(0, 5, 0); }, "[arange] no steps of 0 from 0 to 5");
  expect_error([] { arange(5, 5, 0); }, "[arange] no steps of 0");
  expect_error([] { arange(0, 5, -1); }, "[arange] no steps of -1 from 0 to 5");
  expect_error([] { arange(5, 0); }, "[arange] no steps of 1 from 5 to 0");
  for (double bad : {double{NAN}, double{INFINITY}, -double{INFINITY}}) {
    expect_error([&] { arange(bad, 5, 1); }, "[arange]");
    expect_error([&] { arange(0, bad, 1); }, "[arange]");
    expect_error([&] { arange(0, 5, bad); }, "[arange]");
  }
  expect_error([] { arange(0, 1e300, 1); }, "[tensor] shape [9223372036854775807] is too large");
}

TEST(Tensor, LinspaceReachesBothEnds) {
  EXPECT_EQ(linspace(0, 1, 5, f64).to_vector<double>(), (std::vector<double>{0, .25, .5, .75, 1}));
  EXPECT_EQ(linspace(3, -3, 4).to_vector<double>(), (std::vector<double>{3, 1, -1, -3}));
  EXPECT_EQ(linspace(.1, .7, 1, f64).to_vector<double>(), (std::vector<double>{.1}));
  EXPECT_EQ(linspace(.1, .7, 0).shape(), Shape{0});
  for (int64_t n : {2, 3, 10, 49, 1000}) {
    const std::vector<double> x = linspace(.1, .7, n, f64).to_vector<double>();
    EXPECT_EQ(x.front(), .1);
    EXPECT_EQ(x.back(), .7);
    EXPECT_TRUE(std::is_sorted(x.begin(), x.end()));
  }
  expect_error([] { linspace(0, 1, -1); }, "[tensor] negative extent in shape [-1]");
  expect_error([] { linspace(NAN, 1, 3); }, "[linspace] from nan to 1: want finite numbers");
  expect_error([] { linspace(0, INFINITY, 3); }, "[linspace] from 0 to inf: want finite numbers");
}

TEST(Tensor, UsesTheMemoryOfOthers) {
  std::vector<float> memory = {1, 2, 3, 4, 5, 6};
  int released = 0;
  const auto release = [&](void* data) { released += data == memory.data(); };
  {
    const Tensor x = from_blob(memory.data(), {2, 3}, f32, release);
    EXPECT_EQ(x.data<float>(), memory.data());
    EXPECT_EQ(x.at({1, 2}), 6);
    const Tensor row = view::slice(x, 0, 1), copy = x.clone();
    row.fill(7);
    EXPECT_EQ(memory[5], 7);
    EXPECT_EQ(copy.at({1, 2}), 6);
    expect_error([&] { view::slice(x, 0, 0, 3); }, "[slice]");
    expect_error([&] { Tensor(x.storage(), 7, 1, 0, f32); }, "reaches outside of its storage of 24 bytes");
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
  Tensor part;
  { part = view::slice(from_blob(memory.data(), 6, f32, release), 0, 2, 4); }
  EXPECT_EQ(released, 1);  // a view keeps it
  EXPECT_EQ(part.to_vector<float>(), (std::vector<float>{3, 7}));
  part = Tensor();
  EXPECT_EQ(released, 2);
  EXPECT_EQ(from_blob(memory.data(), 6).at(0), 1);  // the caller's
  EXPECT_EQ(from_blob(nullptr, {0, 3}).shape(), (Shape{0, 3}));

  char* const odd = reinterpret_cast<char*>(memory.data()) + 2;
  expect_error([&] { from_blob(odd, 2, f32, release); }, "[from_blob] at 0x");
  EXPECT_EQ(from_blob(odd, 2, u8).numel(), 2);
  expect_error([&] { from_blob(nullptr, 2, f32, release); }, "[from_blob] at 0x0 there are no elements of f32");
  expect_error([&] { from_blob(memory.data(), {-1}, f32, release); }, "[tensor] negative extent");
  expect_error([&] { from_blob(memory.data(), int64_t{1} << 50, f32, release); }, "is too large");
  EXPECT_EQ(released, 2);  // what fails takes nothing
}

// Memory of others may be saved for a gradient as any, and trained.
TEST(Tensor, TrainsTheMemoryOfOthers) {
  std::vector<double> memory = {1, 2, 3};
  Tensor w = from_blob(memory.data(), 3, f64);
  w.set_requires_grad();
  {
    Tape tape;
    const Tensor loss = sum(w * w);
    expect_error([&] { w.fill(0); }, "a pending tape entry has saved");
    tape.backward(loss);
  }
  w.copy_from(w.grad());
  EXPECT_EQ(memory, (std::vector<double>{2, 4, 6}));
}

TEST(Random, DrawsLikeAnother) {
  Generator a(3), b(3);
  const Tensor x = zeros({3, 5}, f64);
  EXPECT_TRUE(same_bits(rand_like(x, a), rand({3, 5}, b, f64)));
  EXPECT_TRUE(same_bits(randn_like(x.to(f32), a), randn({3, 5}, b, f32)));
  expect_error([&] { randn_like(x.to(i64), a); }, "[fill_normal] dtype i64 is not a floating one");
  expect_error([] { rand_like(Tensor()); }, "an undefined tensor was used");
}

TEST(Random, DrawsIntegers) {
  Generator generator(3);
  const Tensor x = randint(-2, 3, {40, 50}, generator);
  EXPECT_EQ(x.dtype(), i64);
  EXPECT_EQ(x.shape(), (Shape{40, 50}));
  std::array<int, 5> count{};
  for (int64_t value : x.to_vector<int64_t>()) ++count.at(static_cast<size_t>(value + 2));
  for (int n : count) EXPECT_NEAR(n, 400, 5 * 18);  // standard errors
  EXPECT_EQ(generator.state().position, 2000u);
  Generator again(3);
  EXPECT_TRUE(same_bits(randint(-2, 3, {40, 50}, again), x));
  EXPECT_EQ(randint(7, 8, 3, generator).to_vector<int64_t>(), (std::vector<int64_t>{7, 7, 7}));
  EXPECT_EQ(randint(INT64_MIN, -1, 2, generator).shape(), Shape{2});
  EXPECT_EQ(randint(0, 1, {0, 2}, generator).shape(), (Shape{0, 2}));
  expect_error([&] { randint(3, 3, 1, generator); }, "[randint] no range: [3, 3)");
  expect_error([&] { randint(4, 3, 1, generator); }, "[randint] no range: [4, 3)");
  expect_error([&] { randint(INT64_MIN, INT64_MAX, 1, generator); }, "[randint] no range");
}

TEST(Random, Permutes) {
  Generator a(5), b(5);
  const Tensor x = randperm(50, a);
  EXPECT_EQ(x.dtype(), i64);
  EXPECT_EQ(x.to_vector<int64_t>(), b.permutation(50));
  std::vector<int64_t> sorted = x.to_vector<int64_t>();
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, arange(50).to_vector<int64_t>());
  expect_error([&] { randperm(-1, a); }, "[permutation] of -1 numbers: want at least 0");
}

}  // namespace
}  // namespace norma
