// The laboratory of newer norms as a program, on tiny data, whose verdicts mean nothing.
#include "tests/examples/program.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(NewerNorms, MeasuresAllFive) {
  TemporaryFolder folder;
  const std::string json = folder / "all.json";
  Program program(NORMA_NEWER_NORMS,
                  {"all", "--quick", "--synthetic", "--limit", "150", "--seeds", "2", "--out", folder / "out", "--json",
                   json, "--threads", "2"},
                  folder / "output");
  ASSERT_EQ(program.wait(), 0) << program.output();
  const auto all = nlohmann::ordered_json::parse(Program::text_of(json));
  const std::vector<std::string> names = {"mixing", "entropy", "extended", "filter_response", "dynamic_tanh"};
  ASSERT_EQ(all.size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    SCOPED_TRACE(names[i]);
    EXPECT_EQ(all[i]["name"], names[i]);
    EXPECT_FALSE(all[i]["parts"].empty());
    for (const auto& table : all[i]["measured"])
      for (const auto& value : table["values"]) {
        EXPECT_EQ(value["by_seed"].size(), 2u) << value;
        const double error = value["mean"];
        EXPECT_TRUE(error >= 0 && error <= 100) << value;
      }
    EXPECT_NE(Program::text_of(folder / "out/report.html").find("id=\"" + names[i] + "\""), std::string::npos);
  }
}

}  // namespace
}  // namespace norma
