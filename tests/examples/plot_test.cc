// Figures: their data, their pictures where there is gnuplot, and what is said where there is none.
#include "examples/common/plot.h"

#include <stdlib.h>

#include "tests/examples/program.h"
#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma::test;

const std::vector<Panel> kPanels = {
    {.title = "loss, \"test\"", .x_label = "epoch", .y_label = "it's", .curves = {{"bn", {1, 2}, {0.5, 0.25}}}},
    {.title = "b", .curves = {{"gn", {0, 1}, {1, NAN}, {0.5, 0.125}}}, .x_names = {"small, or not", "large"}}};

bool has_gnuplot() { return std::system("command -v gnuplot >/dev/null") == 0; }

class Plot : public ::testing::Test {
 protected:
  size_t files() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator{}));
  }
  TemporaryFolder folder;
};

TEST_F(Plot, WritesItsDataWithoutGnuplotToo) {
  const std::string path = ::getenv("PATH");
  ::setenv("PATH", folder.path().c_str(), 1);
  const std::string text = plot(folder / "run.svg", kPanels);
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(text, folder / "run.csv (no picture: gnuplot is not installed)");
  EXPECT_EQ(Program::text_of(folder / "run.csv"),
            "panel,curve,x,y,spread\n\"loss, \"\"test\"\"\",bn,1,0.5,\n\"loss, \"\"test\"\"\",bn,2,0.25,\n"
            "b,gn,\"small, or not\",1,0.5\nb,gn,large,nan,0.125\n");
  EXPECT_EQ(files(), 1u);
}

// One that fails, that draws nothing, and that reads nothing of a script longer than a pipe holds.
TEST_F(Plot, SurvivesAGnuplotThatFails) {
  const std::string path = ::getenv("PATH");
  ::setenv("PATH", (folder.path() + ":" + path).c_str(), 1);
  std::vector<double> many(100'000, 0.125);
  for (const auto& [script, why] : {std::pair{"cat >/dev/null; exit 3", "gnuplot failed"},
                                    {"cat >/dev/null", "gnuplot drew none"},
                                    {"exit 0", "gnuplot drew none"}}) {
    norma::write_file_atomic(folder / "gnuplot", std::string("#!/bin/sh\n") + script + "\n");
    std::filesystem::permissions(folder / "gnuplot", std::filesystem::perms::owner_all);
    const std::string text = plot(folder / "run.png", {{.title = "long", .curves = {{"x", many, many}}}});
    EXPECT_EQ(text, fmt::format("{} (no picture: {})", folder / "run.csv", why));
    EXPECT_EQ(files(), 2u);
  }
  ::setenv("PATH", path.c_str(), 1);
}

TEST_F(Plot, DrawsWhereThereIsGnuplot) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  std::vector<Panel> panels = kPanels;
  panels.push_back({.title = "c", .curves = {{"a", {2, 4, 8}, {1, 10, 100}, {}, true}}, .log_x = true, .log_y = true});
  panels.push_back({.title = "d", .curves = {{"a", {0, 1}, {1, 2}, {.1, .2}}, {"b", {0, 1}, {2, 1}}}, .bars = true});
  for (const std::string name : {"run.svg", "run.png"}) {
    EXPECT_EQ(plot(folder / name, panels), fmt::format("{}, {}", folder / name, folder / "run.csv"));
    EXPECT_GT(std::filesystem::file_size(folder / name), 2000u);
  }
  EXPECT_NE(Program::text_of(folder / "run.svg").find("</svg>"), std::string::npos);
  EXPECT_EQ(Program::text_of(folder / "run.png").substr(1, 3), "PNG");
  EXPECT_EQ(files(), 3u);
}

// A map of colours is a picture in the SVG; more than four panels stand in two rows.
TEST_F(Plot, DrawsMapsOfColours) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  const Panel map{.title = "map",
                  .x_label = "step",
                  .y_label = "value",
                  .curves = {{"-1", {0, 10}, {0, 50}}, {"1", {0, 10}, {100, 50}}},
                  .heat = true};
  EXPECT_EQ(plot(folder / "map.svg", {map, map, kPanels[0], map, map}),
            folder / "map.svg" + (", " + (folder / "map.csv")));
  const std::string svg = Program::text_of(folder / "map.svg"), data = Program::text_of(folder / "map.csv");
  EXPECT_NE(svg.find("data:image/png"), std::string::npos);
  EXPECT_NE(svg.find("width=\"1560\" height=\"840\""), std::string::npos) << svg.substr(0, 300);
  EXPECT_NE(data.find("map,-1,10,50,\nmap,1,0,100,\n"), std::string::npos) << data;
}

TEST_F(Plot, SaysWhatIsWrong) {
  expect_error([&] { plot(folder / "run.pdf", kPanels); }, "ends neither in .svg nor in .png");
  expect_error([&] { plot(folder / "run.svg", {}); }, "[plot] nothing to draw");
  expect_error(
      [&] {
        plot(folder / "run.svg", {{.curves = {{"c", {1, 2}, {1}}}}});
      },
      "curve 'c' has 2 x, 1 y and 0 spreads");
  expect_error([&] { plot(folder / "no/such/run.svg", kPanels); }, "no/such/run.csv");
}

}  // namespace
}  // namespace examples
