// What denoise makes of its measurements: claims, tables, pages.
#include "examples/denoise/report.h"
#include "tests/files.h"
#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma::test;

Trial trial(const std::string& norm, uint64_t seed, double psnr) {
  return {norm, seed, {{psnr - 1, psnr + 1}, {0.5, 0.7}}, 10};
}

TEST(DenoiseReport, ClaimsArePairedBySeed) {
  // The seeds differ much, their differences hardly: 0.10, 0.12, 0.14, of which seed 9 has no part.
  const std::vector<Trial> trials = {trial("hin", 1, 30.10), trial("bn", 1, 30), trial("bn", 3, 25),
                                     trial("hin", 2, 35.12), trial("bn", 2, 35), trial("hin", 3, 25.14),
                                     trial("hin", 9, 99)};
  const Claim claim = compare(trials, "hin", "bn");
  EXPECT_NEAR(claim.difference, 0.12, 1e-9);
  EXPECT_NEAR(claim.spread, 0.02, 1e-9);
  EXPECT_EQ(claim.seeds, 3);
  EXPECT_EQ(claim.verdict(), "held");
  EXPECT_EQ(compare(trials, "bn", "hin").verdict(), "did not hold");
  expect_error([&] { compare(trials, "hin", "in"); }, "no seed has trials of both 'hin' and 'in'");
}

TEST(DenoiseReport, VerdictsFollowTheRule) {
  const auto verdict = [](double difference, double spread, int64_t seeds) {
    return Claim{"hin", "none", difference, spread, seeds}.verdict();
  };
  EXPECT_EQ(verdict(0.041, 0.02, 3), "held");
  EXPECT_EQ(verdict(0.04, 0.02, 3), "inconclusive");
  EXPECT_EQ(verdict(-0.04, 0.02, 3), "inconclusive");
  EXPECT_EQ(verdict(-0.041, 0.02, 3), "did not hold");
  EXPECT_EQ(verdict(1, 0, 1), "inconclusive");  // a single seed has no spread
  EXPECT_EQ(verdict(0, 0, 2), "inconclusive");
}

TEST(DenoiseReport, SaysTheSameInEachForm) {
  Report report{{15, 50},
                {{24, 14}, {0.6, 0.4}},
                {trial("in", 1, 30), trial("hin", 1, 31), trial("in", 2, 32), trial("hin", 2, 33.5)}};
  EXPECT_EQ(
      report.markdown(),
      "| norm | PSNR at 15 | PSNR at 50 | PSNR mean | SSIM at 15 | SSIM at 50 | SSIM mean |\n"
      "| --- | --- | --- | --- | --- | --- | --- |\n"
      "| (noisy) | 24.00 | 14.00 | 19.00 | 0.6000 | 0.4000 | 0.5000 |\n"
      "| in | 30.00 ± 1.41 | 32.00 ± 1.41 | 31.00 ± 1.41 | 0.5000 ± 0.0000 | 0.7000 ± 0.0000 | 0.6000 ± 0.0000 |\n"
      "| hin | 31.25 ± 1.77 | 33.25 ± 1.77 | 32.25 ± 1.77 | 0.5000 ± 0.0000 | 0.7000 ± 0.0000 | 0.6000 ± 0.0000 |\n"
      "\n"
      "| claim | difference, dB | spread | seeds | verdict |\n"
      "| --- | --- | --- | --- | --- |\n"
      "| hin beats in | +1.250 | 0.354 | 2 | held |\n");
  EXPECT_NE(report.text().find("\nhin      31.25 ± 1.77"), std::string::npos) << report.text();
  const auto json = report.json();
  EXPECT_EQ(json["trials"].size(), 4u);
  EXPECT_EQ(json["trials"][3]["psnr"], (std::vector<double>{32.5, 34.5}));
  ASSERT_EQ(json["claims"].size(), 1u);
  EXPECT_EQ(json["claims"][0]["claim"], "hin beats in");
  EXPECT_EQ(json["claims"][0]["verdict"], "held");
  report.trials.resize(1);
  EXPECT_EQ(report.text().find("claim"), std::string::npos);
}

TEST(DenoiseReport, FillsAPageBetweenItsMarks) {
  const TemporaryFolder folder;
  const auto text_of = [](const std::string& path) {
    const Bytes bytes = norma::read_file(path);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  const std::string path = folder / "page.md", begin = "<!-- denoise: begin -->\n", end = "<!-- denoise: end -->\n";
  fill_page(path, "one\n");
  EXPECT_EQ(text_of(path), begin + "one\n" + end);
  norma::write_file_atomic(path, "before\n" + begin + "old\nold\n" + end + "after\n");
  fill_page(path, "two\n");
  EXPECT_EQ(text_of(path), "before\n" + begin + "two\n" + end + "after\n");
  for (const std::string& other : {std::string("a page"), begin, end + begin}) {
    norma::write_file_atomic(path, other);
    expect_error([&] { check_page(path); }, "has no lines '<!-- denoise: begin -->' and '<!-- denoise: end -->'");
    expect_error([&] { fill_page(path, "three\n"); }, "to write between");
    EXPECT_EQ(text_of(path), other);
  }
}

}  // namespace
}  // namespace examples
