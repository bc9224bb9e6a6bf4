// Upsampling: against PyTorch, against finite differences, and errors.
#include "norma/ops/pool/upsample.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Upsample, AgreesWithPyTorch) {
  for_each_case("upsample", "upsample_nearest", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x");
    const Pair scale{c.attrs["scale"][0], c.attrs["scale"][1]};
    check_case(c, [&] { return upsample_nearest(x, scale); }, {{"x", x}});
  });
}

TEST(Upsample, GradientsMatchFiniteDifferences) {
  for (const Shape& shape : {Shape{2, 3, 5, 1}, Shape{1, 1, 7, 17}, Shape{3, 2, 1, 3}}) {
    for (const Pair scale : {Pair(1), Pair(2), Pair(3, 1), Pair(1, 5)}) {
      const auto result = gradcheck([&](const auto& in) { return upsample_nearest(in[0], scale); }, {random(shape)});
      EXPECT_TRUE(result) << result.message;
    }
  }
}

TEST(Upsample, ReadsStridedInputsAndEmptyBatches) {
  const Tensor x = view::permute(random({2, 3, 4, 6}), {0, 3, 1, 2});
  EXPECT_TRUE(same_bits(upsample_nearest(x, 2), upsample_nearest(x.contiguous(), 2)));
  EXPECT_EQ(upsample_nearest(zeros({0, 2, 3, 4}), {2, 3}).shape(), (Shape{0, 4, 9, 4}));
}

TEST(Upsample, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  std::vector<Tensor> first;
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    Tensor x = random({2, 33, 17, 5}).to(f32);
    x.set_requires_grad();
    Tape tape;
    const Tensor y = upsample_nearest(x, 3);
    tape.backward(y, {.seed = random(y.shape(), 8).to(f32)});
    if (first.empty()) first = {y.detach(), x.grad()};
    EXPECT_TRUE(same_bits(y, first[0]) && same_bits(x.grad(), first[1]));
  }
  set_num_threads(before);
}

TEST(Upsample, RejectsBadInput) {
  expect_error([] { upsample_nearest(zeros({2, 3}), 2); }, "[upsample_nearest] wants [N, H, W, C]: shape [2, 3]");
  expect_error(
      [] {
        upsample_nearest(zeros({2, 3, 1, 1}), {2, 0});
      },
      "[upsample_nearest] scale [2, 0]: wants at least 1: input [2, 3, 1, 1]");
  expect_error([] { upsample_nearest(zeros({2, 3, 1, 1}, u8), 2); }, "wants floating tensors, not u8");
}

}  // namespace
}  // namespace norma
