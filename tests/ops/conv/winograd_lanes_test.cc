// Winograd's kernels as a CPU with AVX-512 runs them, on one without: compiled for 16 lanes and 32 registers, of which
// the compiler makes narrower ones. What fits together at one width need not at another: a block of tiles, say, and the
// register tile that runs over its end.
#if defined(__x86_64__) && !defined(__clang__)
#define NORMA_SIMD lanes16
#define NORMA_SIMD_AVX512
#define NORMA_SIMD_FEATURES "avx2,fma"
#include "norma/ops/conv/winograd.cc"
#include "tests/golden.h"
#include "tests/ops/conv/plain_conv2d.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(WinogradLanes, SixteenAgreeWithPlainLoops) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) GTEST_SKIP() << "a CPU without AVX2";
  ASSERT_EQ(cpu::lanes16::kLanes, 16);
  const auto floats = [](const Shape& shape, uint64_t seed) { return random(shape, seed).to(f32).to(Device()); };
  for (const int64_t n : {1, 3})
    for (const int64_t size : {4, 7, 11, 14, 16})
      for (const auto& [in, out] : {std::pair<int64_t, int64_t>{12, 16}, {16, 12}, {33, 16}, {16, 70}, {80, 33}}) {
        SCOPED_TRACE(fmt::format("{} of {} x {}, {} to {}", n, size, size, in, out));
        const Tensor x = floats({n, size, size, in}, 1), w = floats({out, 3, 3, in}, 2), bias = floats({out}, 3),
                     dy = floats({n, size, size, out}, 4);
        const PlainConv2d want = plain_conv2d(x.to(f64), w.to(f64), bias.to(f64), {.padding = 1}, dy.to(f64));
        ConvGeometry g = {.n = n, .h = size, .w = size, .c = in, .oh = size, .ow = size, .oc = out, .kh = 3, .kw = 3};
        g.padding = 1;
        for (const cpu::ConvKernel* kernel : {&cpu::lanes16::winograd, &cpu::lanes16::winograd2}) {
          const Tensor y = empty(dy.shape()), dx = empty(x.shape()), dw = empty(w.shape());
          const bool poison = cpu_memory().set_poison(true);  // NaN where nobody has written
          kernel->forward(g, x.data<float>(), w.data<float>(), bias.data<float>(), y.mutable_data<float>(), nullptr);
          kernel->backward_input(g, dy.data<float>(), w.data<float>(), dx.mutable_data<float>(), false);
          kernel->backward_weight(g, x.data<float>(), dy.data<float>(), dw.mutable_data<float>(), false);
          cpu_memory().set_poison(poison);
          EXPECT_TRUE(close(y, want.y, 1e-4));
          EXPECT_TRUE(close(dx, want.dx, 1e-4));
          EXPECT_TRUE(close(dw, want.dw, 1e-4));
        }
      }
}

}  // namespace
}  // namespace norma
#endif
