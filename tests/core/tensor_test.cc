// Tensor: handles, views and strides, copies and conversions, writes into what a tape has saved, and its errors.
#include "norma/core/tensor.h"

#include "norma/autograd/op.h"
#include "norma/core/backend.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

constexpr int64_t kHuge = int64_t{1} << 40;

Tensor counted(const Shape& shape, DType dtype = f64) { return view::reshape(arange(shape.numel(), dtype), shape); }

TEST(Tensor, IsMadeFromValues) {
  const Tensor x = tensor({1., 2., 3., 4., 5., 6.}, {2, 3});
  EXPECT_EQ(x.shape(), (Shape{2, 3}));
  EXPECT_EQ(x.strides(), (Shape{3, 1}));
  EXPECT_EQ(x.dtype(), f64);
  EXPECT_EQ(x.device(), cpu_device);
  EXPECT_EQ(x.numel(), 6);
  EXPECT_EQ(x.at({1, 2}), 6);
  EXPECT_EQ(tensor({1.f}).dtype(), f32);
  EXPECT_EQ(tensor({int64_t{1}}).dtype(), i64);
  EXPECT_EQ(tensor<uint8_t>({1}).dtype(), u8);
  EXPECT_EQ(tensor({true, false}).dtype(), boolean);
  EXPECT_EQ(tensor(std::vector<float>{1, 2}, {2, 1}).shape(), (Shape{2, 1}));
  expect_error([] { tensor({1., 2.}, {3}); }, "[tensor] 2 values for shape [3]");
  expect_error([] { tensor({1.}, {-1, -1}); }, "[tensor] negative extent in shape [-1, -1]");
  expect_error([] { tensor({1.}, {kHuge, kHuge}); }, "has more elements than can be counted");
}

TEST(Tensor, MakersFill) {
  EXPECT_EQ(full({2}, 2.5).to_vector<double>(), (std::vector<double>{2.5, 2.5}));
  EXPECT_EQ(zeros({2}, i64).to_vector<int64_t>(), (std::vector<int64_t>{0, 0}));
  EXPECT_EQ(ones({2}, boolean).to_vector<bool>(), (std::vector<bool>{true, true}));
  EXPECT_EQ(ones_like(zeros({3, 1}, u8)).dtype(), u8);
  EXPECT_EQ(zeros_like(ones({3, 1}, f64)).shape(), (Shape{3, 1}));
  EXPECT_EQ(scalar(7, i64).item(), 7);
  EXPECT_EQ(scalar(7).rank(), 0);
  EXPECT_EQ(arange(4, f32).to_vector<float>(), (std::vector<float>{0, 1, 2, 3}));
  expect_error([] { arange(-1); }, "[arange] no steps of 1 from 0 to -1");
}

TEST(Tensor, CopiesShareAndClonesDoNot) {
  const Tensor x = counted({2, 2}), same = x, copy = x.clone();
  EXPECT_EQ(x.identity(), same.identity());
  EXPECT_EQ(x.contiguous().identity(), x.identity());
  EXPECT_EQ(x.to(f64).identity(), x.identity());
  EXPECT_EQ(x.to(cpu_device).identity(), x.identity());
  x.fill(9);
  EXPECT_EQ(same.at({0, 0}), 9);
  EXPECT_EQ(copy.at({0, 1}), 1);
  EXPECT_NE(x.detach().identity(), x.identity());
  EXPECT_EQ(x.detach().storage(), x.storage());
}

TEST(Tensor, MemoryIsTheBytesOfTheElements) {
  const Tensor x = counted({3, 2}, i64), rows = view::slice(x, 0, 1, 3);
  ASSERT_EQ(rows.memory().size(), 4 * sizeof(int64_t));
  EXPECT_EQ(static_cast<void*>(rows.memory().data()), x.data<int64_t>() + 2);
  EXPECT_TRUE(zeros({0, 3}, u8).memory().empty());
  EXPECT_TRUE(std::ranges::equal(rows.memory(), tensor<int64_t>({2, 3, 4, 5}).memory()));
  expect_error([&] { view::slice(x, 1, 0, 1).memory(); }, "[tensor] the elements of a view of shape [3, 1]");
  expect_error([] { Tensor().memory(); }, "an undefined tensor was used");
}

TEST(Tensor, UndefinedUseIsAnError) {
  const Tensor none;
  EXPECT_FALSE(none.defined());
  EXPECT_FALSE(none.requires_grad());
  EXPECT_TRUE(none.is_leaf());
  EXPECT_EQ(none.str(), "tensor(undefined)");
  const std::string want = "[tensor] an undefined tensor was used";
  expect_error([&] { (void)none.shape(); }, want);
  expect_error([&] { (void)none.dtype(); }, want);
  expect_error([&] { (void)none.device(); }, want);
  expect_error([&] { (void)none.item(); }, want);
  expect_error([&] { (void)none.data<float>(); }, want);
  expect_error([&] { (void)none.clone(); }, want);
  expect_error([&] { (void)none.detach(); }, want);
  expect_error([&] { (void)none.grad(); }, want);
  expect_error([&] { none.fill(0); }, want);
  expect_error([&] { zeros({2}).copy_from(none); }, want);
  expect_error([&] { Tensor().set_requires_grad(); }, want);
}

TEST(Tensor, OptionalOnesMayBeUndefined) {
  EXPECT_FALSE(Tensor().contiguous().defined());
  EXPECT_EQ(Tensor().data_or_null<float>(), nullptr);
  EXPECT_EQ(Tensor().mutable_data_or_null<float>(), nullptr);
  const Tensor x = zeros({2});
  EXPECT_EQ(x.data_or_null<float>(), x.data<float>());
  EXPECT_EQ(x.mutable_data_or_null<float>(), x.data<float>());
  expect_error([&] { (void)x.data_or_null<double>(); }, "[tensor] f64 elements asked of a tensor of f32: shape [2]");
}

TEST(Tensor, ElementsAreTyped) {
  const Tensor x = zeros({2, 3});
  EXPECT_EQ(x.data<float>()[5], 0);
  expect_error([&] { (void)x.data<double>(); }, "[tensor] f64 elements asked of a tensor of f32: shape [2, 3]");
  expect_error([&] { (void)x.item(); }, "[item] wants one element, the tensor has shape [2, 3]");
  expect_error([&] { (void)x.at({1}); }, "[at] 1 indices for shape [2, 3]");
  expect_error([&] { (void)x.at({1, 3}); }, "[at] index 3 on axis 1 is out of range: shape [2, 3]");
  expect_error([&] { (void)x.at({-1, 0}); }, "[at] index -1 on axis 0 is out of range: shape [2, 3]");
}

// data() is for who counts elements row by row.
TEST(Tensor, ElementsOfAViewAreReadByItsStrides) {
  const Tensor x = counted({4, 3}), column = view::slice(x, 1, 1, 2), rows = view::slice(x, 0, 1, 3);
  const std::string want = "[tensor] the elements of a view of shape [4, 1], strides [3, 1], do not lie one after the";
  expect_error([&] { (void)column.data<double>(); }, want);
  expect_error([&] { (void)column.mutable_data<double>(); }, want);
  EXPECT_EQ(column.strided_data<double>()[2 * column.strides()[0]], 7);
  EXPECT_EQ(column.contiguous().data<double>()[2], 7);
  EXPECT_EQ(rows.data<double>()[4], 7);
  column.mutable_strided_data<double>()[3] = -1;
  EXPECT_EQ(x.at({1, 1}), -1);
  expect_error([&] { (void)column.strided_data<float>(); }, "[tensor] f32 elements asked of a tensor of f64");
}

TEST(View, PermutesSlicesAndExpands) {
  const Tensor x = counted({2, 3, 4});
  const Tensor p = view::permute(x, {2, 0, -2});
  EXPECT_EQ(p.shape(), (Shape{4, 2, 3}));
  EXPECT_EQ(p.strides(), (Shape{1, 12, 4}));
  EXPECT_FALSE(p.is_contiguous());
  EXPECT_EQ(p.at({3, 1, 2}), x.at({1, 2, 3}));

  const Tensor s = view::slice(view::slice(x, -1, 1, 4, 2), 1, 1, 3);
  EXPECT_EQ(s.to_vector<double>(), (std::vector<double>{5, 7, 9, 11, 17, 19, 21, 23}));
  EXPECT_EQ(s.offset(), 5);
  EXPECT_EQ(view::slice(x, 0, 2, 2).shape(), (Shape{0, 3, 4}));
  EXPECT_EQ(view::slice(x, 2, 0, 4, INT64_MAX).shape(), (Shape{2, 3, 1}));
  // From the end, and to it.
  EXPECT_EQ(view::slice(x, 2, -3, -1).to_vector<double>(), view::slice(x, 2, 1, 3).to_vector<double>());
  EXPECT_EQ(view::slice(x, 0, -1).to_vector<double>(), view::slice(x, 0, 1, 2).to_vector<double>());
  EXPECT_EQ(view::slice(x, 2, 4).shape(), (Shape{2, 3, 0}));

  const Tensor e = view::expand(view::slice(x, 1, 2, 3), {5, 2, 2, 4});
  EXPECT_EQ(e.strides(), (Shape{0, 12, 0, 1}));
  EXPECT_EQ(e.at({4, 1, 1, 2}), x.at({1, 2, 2}));
  EXPECT_EQ(e.storage(), x.storage());

  EXPECT_EQ(view::reshape(x, {4, -1}).shape(), (Shape{4, 6}));
  EXPECT_EQ(view::reshape(x, {24}).storage(), x.storage());
  EXPECT_NE(view::reshape(p, {24}).storage(), x.storage());
  EXPECT_EQ(view::reshape(p, {24}).to_vector<double>(), p.to_vector<double>());
}

TEST(View, ContiguityIgnoresAxesOfOneAndNone) {
  const Tensor x = counted({4, 6});
  EXPECT_TRUE(view::slice(x, 0, 1, 3).is_contiguous());
  EXPECT_FALSE(view::slice(x, 1, 0, 3).is_contiguous());
  EXPECT_TRUE(view::slice(view::slice(x, 1, 2, 5), 0, 3, 4).is_contiguous());
  EXPECT_TRUE(view::slice(x, 1, 3, 3).is_contiguous());
  EXPECT_TRUE(view::expand(counted({1, 1}), {1, 1}).is_contiguous());
  EXPECT_FALSE(view::expand(counted({1}), {2}).is_contiguous());
}

TEST(View, RejectsBadArguments) {
  const Tensor x = zeros({2, 3});
  expect_error([&] { view::reshape(x, {-2, -3}); }, "[reshape] negative extent in shape [-2, -3]");
  expect_error([&] { view::reshape(x, {-1, 0}); }, "[reshape] [2, 3] does not fit into [-1, 0]");
  expect_error([&] { view::reshape(x, {kHuge, kHuge, -1}); }, "has more elements than can be counted");
  expect_error([&] { view::reshape(zeros({1}), {kHuge, kHuge}); }, "has more elements than can be counted");
  expect_error([&] { view::expand(zeros({1}), {-5}); }, "[tensor] negative extent in shape [-5]");
  expect_error(
      [&] {
        view::expand(zeros({1}), {kHuge, kHuge});
      },
      "[tensor] shape [1099511627776, 1099511627776] is too large");
  expect_error([&] { view::expand(x, {2, 4}); }, "[expand] [2, 3] does not broadcast to [2, 4]");
  expect_error([&] { view::expand(x, {3}); }, "[expand] [2, 3] does not broadcast to [3]");
  expect_error([&] { view::permute(x, {0, 2}); }, "[permute] axis 2 is out of range for shape [2, 3]");
  expect_error([&] { view::slice(x, 1, 2, 1); }, "[slice] [2, 1) is out of range on axis 1: shape [2, 3]");
  expect_error([&] { view::slice(x, 1, -4, 2); }, "[slice] [-4, 2) is out of range on axis 1: shape [2, 3]");
  expect_error([&] { view::slice(x, 1, 0, -4); }, "[slice] [0, -4) is out of range on axis 1: shape [2, 3]");
  expect_error([&] { view::slice(x, 1, kEnd); }, "is out of range on axis 1: shape [2, 3]");
  expect_error([&] { view::slice(x, 1, 2, 0, -1); }, "[slice] step -1: want at least 1");
}

// The constructor is public: a view that reaches outside of its storage must not come to be.
TEST(View, StaysInsideItsStorage) {
  const Tensor x = zeros({6});
  const auto make = [&](const Shape& shape, const Shape& strides, int64_t offset, DType dtype = f32) {
    return Tensor(x.storage(), shape, strides, offset, dtype);
  };
  EXPECT_EQ(make({2, 2}, {4, 1}, 0).numel(), 4);
  EXPECT_EQ(make({0}, {1}, 6).numel(), 0);
  EXPECT_EQ(make({3}, {1}, 0, f64).numel(), 3);
  const std::string outside = "reaches outside of its storage of 24 bytes";
  expect_error([&] { make({7}, {1}, 0); }, outside);
  expect_error([&] { make({2, 2}, {5, 1}, 0); }, outside);
  expect_error([&] { make({1}, {1}, 6); }, outside);
  expect_error([&] { make({1}, {1}, -1); }, outside);
  expect_error([&] { make({2}, {-1}, 1); }, outside);
  expect_error([&] { make({4}, {1}, 0, f64); }, outside);
  expect_error([&] { make({3}, {INT64_MAX}, 0); }, outside);
  expect_error([&] { make({2}, {1, 1}, 0); }, "2 strides for shape [2]");
}

TEST(Tensor, HugeShapesAreErrorsBeforeAnyAllocation) {
  expect_error([] { zeros({kHuge, kHuge, kHuge}); }, "is too large");
  expect_error([] { zeros({int64_t{1} << 46}); }, "[tensor] shape [70368744177664] is too large");
  expect_error([] { zeros({0, kHuge, kHuge}); }, "is too large");
  expect_error([] { zeros({3, -1}); }, "[tensor] negative extent in shape [3, -1]");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // these end the program instead
  // Small enough to be asked for, more than there is: the error says how much.
  expect_error([] { Tensor({kHuge * 32}, f64); }, "[memory] cannot allocate 281474976710656 bytes");
#endif
}

TEST(Tensor, EmptyTensorsWork) {
  const Tensor x = zeros({0, 3});
  EXPECT_EQ(x.numel(), 0);
  EXPECT_TRUE(x.to_vector<double>().empty());
  EXPECT_EQ(x.clone().shape(), (Shape{0, 3}));
  EXPECT_EQ(x.to(i64).shape(), (Shape{0, 3}));
  EXPECT_EQ(view::permute(x, {1, 0}).contiguous().shape(), (Shape{3, 0}));
  EXPECT_EQ(view::reshape(x, {5, 0, 2}).shape(), (Shape{5, 0, 2}));
  EXPECT_EQ(view::expand(zeros({0, 1}), {0, 7}).clone().shape(), (Shape{0, 7}));
  EXPECT_EQ(arange(0).numel(), 0);
  x.fill(1);
  x.copy_from(zeros({0, 3}));
  backend(cpu_device).add_into(x, x);
}

TEST(Tensor, ConvertsBetweenDtypes) {
  const Tensor x = tensor({-1.75, 0., 0.5, 3.}, {4});
  EXPECT_EQ(x.to(i64).to_vector<int64_t>(), (std::vector<int64_t>{-1, 0, 0, 3}));
  EXPECT_EQ(x.to(boolean).to_vector<bool>(), (std::vector<bool>{true, false, true, true}));
  EXPECT_EQ(x.to(f32).to_vector<double>(), x.to_vector<double>());
  EXPECT_EQ(tensor({0.1}).to(f32).to_vector<double>()[0], double{0.1f});
  EXPECT_EQ(tensor({true, false}).to(f64).to_vector<double>(), (std::vector<double>{1, 0}));
  EXPECT_EQ(counted({2, 3}).to_vector<float>(), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  const Tensor t = view::permute(counted({2, 3}), {1, 0});
  EXPECT_EQ(t.to(f32).to_vector<double>(), (std::vector<double>{0, 3, 1, 4, 2, 5}));
  EXPECT_TRUE(t.to(f32).is_contiguous());
}

// What C++ leaves undefined is defined here: towards zero, no further than the type reaches, NaN to 0.
TEST(Tensor, FloatsBeyondAnIntegerTypeSaturate) {
  for (DType from : {f32, f64}) {
    const Tensor x = tensor({-1e30, -5., 300., 255.9, 1e30, double{NAN}, double{INFINITY}, -double{INFINITY}}).to(from);
    EXPECT_EQ(x.to(u8).to_vector<int64_t>(), (std::vector<int64_t>{0, 0, 255, 255, 255, 0, 255, 0}));
    EXPECT_EQ(x.to(i64).to_vector<int64_t>(),
              (std::vector<int64_t>{INT64_MIN, -5, 300, 255, INT64_MAX, 0, INT64_MAX, INT64_MIN}));
    EXPECT_EQ(x.to_vector<uint8_t>(), x.to(u8).to_vector<uint8_t>());
  }
  EXPECT_EQ(full({1}, -3, u8).item(), 0);
  EXPECT_EQ(full({1}, 1e30, i64).to_vector<int64_t>()[0], INT64_MAX);
}

TEST(Tensor, CopiesInto) {
  const Tensor x = zeros({3, 4});
  view::slice(x, 1, 1, 4, 2).copy_from(counted({3, 2}, i64));
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5}));
  view::slice(x, 0, 1, 2).fill(7);
  EXPECT_EQ(x.at({1, 3}), 7);
  EXPECT_EQ(x.at({2, 3}), 5);
  expect_error([&] { x.copy_from(zeros({4, 3})); }, "[copy_from] shapes differ: [4, 3] into [3, 4]");
}

// Several elements that are one place in memory cannot be written: which would win is chance.
TEST(Tensor, WritesThroughOverlappingViewsAreErrors) {
  const Tensor a = counted({1}), x = counted({4, 3}), flat = counted({6});
  const auto strided = [&](const Shape& shape, const Shape& strides) {
    return Tensor(flat.storage(), shape, strides, 0, f64);
  };
  for (const Tensor& t :
       {view::expand(a, {5}), view::expand(view::slice(x, 1, 0, 1), {4, 3}), view::expand(x, {2, 4, 3}),
        view::permute(view::slice(view::expand(x, {2, 4, 3}), 1, 0, 3, 2), {2, 0, 1}), strided({4, 3}, {1, 1}),
        strided({2, 3}, {2, 1}), strided({3, 2}, {1, 2})}) {
    const std::string want = fmt::format("in-place write into a view of shape {}", t.shape());
    const std::vector<double> before = t.to_vector<double>();
    expect_error([&] { t.fill(3); }, "[fill] " + want);
    expect_error([&] { t.copy_from(zeros(t.shape())); }, "[copy_from] " + want);
    expect_error([&] { t.mutable_strided_data<double>(); }, "[tensor] " + want);
    expect_error([&] { t.mutable_data<double>(); }, "do not lie one after the other");
    expect_error([&] { Generator(1).fill_uniform(t, 0, 1); }, "[fill_uniform] wants a contiguous tensor");
    expect_error([&] { backend(cpu_device).add_into(t, t); }, want);
    EXPECT_EQ(t.to_vector<double>(), before);
  }
  nn::Parameter p(view::expand(a, {5}));
  expect_error([&] { p.copy_from(zeros({5})); }, "[copy_from] in-place write into a view of shape [5]");
  // Axes that nothing is repeated along.
  view::expand(a, {1, 1}).fill(2);
  view::expand(zeros({0, 1}, f64), {0, 7}).fill(2);
  strided({2, 3}, {3, 1}).fill(1);
  strided({3, 2}, {1, 3}).fill(1);
  strided({2, 2}, {1, 4}).fill(1);
  view::slice(view::permute(x, {1, 0}), 1, 0, 4, 2).fill(1);
}

TEST(Tensor, CopiesBetweenOverlappingViews) {
  const Tensor x = counted({5});
  view::slice(x, 0, 1, 5).copy_from(view::slice(x, 0, 0, 4));
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{0, 0, 1, 2, 3}));
  const Tensor square = counted({2, 2});
  square.copy_from(view::permute(square, {1, 0}));
  EXPECT_EQ(square.to_vector<double>(), (std::vector<double>{0, 2, 1, 3}));
}

TEST(Tensor, BackendAddsAnyStrides) {
  const Tensor x = counted({3, 2}), y = view::permute(counted({2, 3}), {1, 0});
  backend(cpu_device).add_into(x, y);
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{0, 4, 3, 7, 6, 10}));
  const Tensor t = view::permute(x, {1, 0});
  backend(cpu_device).add_into(t, view::expand(tensor({1., 2., 3.}), {2, 3}));
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{1, 5, 5, 9, 9, 13}));
  expect_error([] { backend(cpu_device).add_into(zeros({2}, i64), zeros({2}, i64)); },
               "[add_into] dtype i64 is not a floating one (f32, f64)");
}

// More elements than one slot of the loop takes, with rows that slots cut in two.
TEST(TensorThreads, LargeStridedCopiesAreRight) {
  const Tensor x = counted({7, 641, 33});
  const Tensor p = view::permute(x, {1, 2, 0}), c = p.clone();
  for (const auto& [a, b, d] : {std::array<int64_t, 3>{0, 0, 0}, {640, 32, 6}, {123, 31, 5}, {1, 0, 6}})
    EXPECT_EQ(c.at({a, b, d}), x.at({d, a, b}));
  EXPECT_TRUE(same_bits(view::permute(c, {2, 0, 1}), x));
}

TEST(Tensor, SavedStorageRefusesWrites) {
  const Tensor x = counted({2, 3});
  {
    const Saved saved(x.detach(), "relu");
    const std::string want = "tensor that PackedWeights or a pending tape entry has saved (op 'relu')";
    for (const Tensor& t : {x, view::slice(x, 0, 0, 1)}) {
      expect_error([&] { t.fill(0); }, "[fill] in-place write into a " + want);
      expect_error([&] { t.copy_from(zeros(t.shape())); }, "[copy_from] in-place write into a " + want);
      expect_error([&] { t.mutable_data<double>(); }, "[tensor] in-place write into a " + want);
    }
    const Saved again = saved;
    EXPECT_EQ(x.at({1, 2}), 5);
    x.clone().fill(0);
  }
  x.fill(0);
  EXPECT_EQ(x.at({1, 2}), 0);
}

TEST(Tensor, GradientsFitTheirTensor) {
  Tensor x = zeros({2, 3});
  EXPECT_FALSE(x.grad().defined());
  x.set_grad(ones({2, 3}));
  EXPECT_EQ(x.grad().at({1, 2}), 1);
  expect_error(
      [&] {
        x.set_grad(ones({3, 2}));
      },
      "[set_grad] a gradient of shape [3, 2] (f32, cpu) for a tensor of shape [2, 3] (f32, cpu)");
  expect_error([&] { x.set_grad(ones({2, 3}, f64)); }, "[set_grad] a gradient of shape [2, 3] (f64, cpu)");
  x.set_grad(Tensor());
  EXPECT_FALSE(x.grad().defined());
  expect_error([] { zeros({2}, i64).set_requires_grad(); },
               "[requires_grad] only floating tensors have gradients, this is i64");
}

TEST(Device, ParsesAndPrints) {
  EXPECT_EQ(Device::parse("cpu"), cpu_device);
  EXPECT_EQ(Device::parse("cuda"), (Device{Device::Kind::cuda, 0}));
  EXPECT_EQ(Device::parse("cuda:12").str(), "cuda:12");
  for (const char* text : {"", "gpu", "cuda:", "cuda1", "cuda:-1", "cuda:1x", "cuda:+1", "cuda:99999999999", "CPU"})
    expect_error([&] { Device::parse(text); },
                 fmt::format("[device] '{}' is not a device: want cpu, cuda or cuda:N", text));
}

#ifndef NORMA_WITH_CUDA
TEST(Device, CudaIsRefusedWhereItIsNotBuilt) {
  const Device cuda = Device::parse("cuda");
  expect_error([&] { zeros({2}, f32, cuda); }, "this build of norma has no CUDA backend");
  expect_error([&] { (void)zeros({2}).to(cuda); }, "this build of norma has no CUDA backend");
}
#endif

}  // namespace
}  // namespace norma
