// PSNR and SSIM against scikit-image (tests/golden/make_psnr_ssim.py), and what they are by their definitions.
#include "examples/denoise/psnr_ssim.h"

#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::test;

TEST(PsnrSsim, AreThoseOfScikitImage) {
  const TensorFile file = load_safetensors(std::string(NORMA_GOLDEN_DIR) + "/psnr_ssim.safetensors");
  int cases = 0;
  for (const auto& [name, attributes] : file.metadata) {
    if (name == "scikit-image") continue;
    for (DType dtype : {f64, f32}) {
      SCOPED_TRACE(fmt::format("{} in {}: {}", name, dtype, attributes));
      const GoldenCase golden{name, "", {}, &file, dtype};
      const Tensor a = golden["a"], b = golden["b"];
      const std::vector<double> want = file.find(name + "/y")->to_vector<double>();
      const std::vector<double> got = name.starts_with("psnr") ? psnr(a, b) : ssim(a, b);
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-9);
      ++cases;
    }
  }
  EXPECT_EQ(cases, 24);
}

TEST(PsnrSsim, OfKnownPictures) {
  const Tensor grey = full({2, 12, 13, 3}, 0.25), lighter = full({2, 12, 13, 3}, 0.35, f64);
  for (double value : psnr(grey.to(f64), lighter)) EXPECT_NEAR(value, 20, 1e-9);  // an error of a tenth everywhere
  for (double value : psnr(grey, grey)) EXPECT_EQ(value, std::numeric_limits<double>::infinity());
  // Without any structure, only the term of the means is left.
  const double want = (2 * 0.25 * 0.35 + 1e-4) / (0.25 * 0.25 + 0.35 * 0.35 + 1e-4);
  for (double value : ssim(grey.to(f64), lighter)) EXPECT_NEAR(value, want, 1e-9);
  const Tensor noise = rand({3, 20, 15, 2});
  for (double value : ssim(noise, noise)) EXPECT_NEAR(value, 1, 1e-12);
  EXPECT_TRUE(psnr(zeros({0, 12, 12, 1}), zeros({0, 12, 12, 1})).empty());
}

// Each picture by itself: not by its place, the batch, or the layout in memory.
TEST(PsnrSsim, DependOnThePairAlone) {
  const Tensor a = rand({5, 16, 14, 2}), b = rand({5, 16, 14, 2});
  for (const auto& metric : {psnr, ssim}) {
    const std::vector<double> all = metric(a, b);
    for (int64_t i = 0; i < 5; ++i)
      EXPECT_EQ(metric(view::slice(a, 0, i, i + 1), view::slice(b, 0, i, i + 1))[0], all[static_cast<size_t>(i)]);
    EXPECT_EQ(metric(view::permute(view::permute(a, {3, 2, 1, 0}).contiguous(), {3, 2, 1, 0}), b), all);
  }
}

TEST(PsnrSsim, RefuseWhatTheyCannotMeasure) {
  const Tensor a = zeros({2, 12, 12, 1});
  expect_error([&] { psnr(a, zeros({2, 12, 12, 3})); }, "[psnr] wants pictures [N, H, W, C]");
  expect_error([&] { ssim(a, a.to(f64)); }, "[ssim] wants pictures [N, H, W, C]");
  expect_error([&] { ssim(zeros({12, 12}), zeros({12, 12})); }, "[ssim] wants pictures [N, H, W, C]");
  expect_error([&] { psnr(a.to(u8), a.to(u8)); }, "[psnr] wants pictures [N, H, W, C], f32 or f64");
  expect_error([&] { psnr(zeros({2, 0, 12, 1}), zeros({2, 0, 12, 1})); }, "[psnr] empty pictures [2, 0, 12, 1]");
  expect_error(
      [&] {
        ssim(zeros({2, 12, 10, 1}), zeros({2, 12, 10, 1}));
      },
      "[ssim] pictures [2, 12, 10, 1] are smaller than the window of 11 x 11 pixels");
}

}  // namespace
}  // namespace examples
