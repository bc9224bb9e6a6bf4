// The laboratory's rules, on numbers whose verdict is known, and what becomes of findings on paper.
#include "examples/common/verdict.h"

#include <gtest/gtest.h>

#include <cmath>

#include "examples/common/report.h"
#include "tests/examples/program.h"

namespace examples {
namespace {

using norma::test::Program;
using norma::test::TemporaryFolder;

TEST(Verdict, SpreadIsTheSampleDeviation) {
  EXPECT_DOUBLE_EQ(mean({1, 2, 6}), 3);
  EXPECT_DOUBLE_EQ(spread({1, 2, 6}), std::sqrt(7));
  EXPECT_TRUE(std::isnan(spread({1})));
  EXPECT_EQ(Values({3, 5}) - Values({1, 1}), (Values{2, 4}));
  EXPECT_EQ(2 * Values({3, 5}) + Values({1, 1}), (Values{7, 11}));
  EXPECT_THROW(Values({1, 2}) - Values({1}), norma::Error);
}

// Differences of 1, 2, 3: mean 2, spread 1.
TEST(Verdict, AnEffectIsMoreThanTwiceTheSpreadOfPairedDifferences) {
  const auto of = [](const Values& differences, double negligible = 0.5) {
    return exceeds("a > b", differences + Values(differences.size(), 10), Values(differences.size(), 10), negligible)
        .verdict;
  };
  EXPECT_EQ(of({1.01, 2.01, 3.01}), Verdict::held);
  EXPECT_EQ(of({1, 2, 3}), Verdict::inconclusive);  // not more
  EXPECT_EQ(of({0, 1, 2}), Verdict::inconclusive);
  EXPECT_EQ(of({-1, 0, 1}), Verdict::inconclusive);
  EXPECT_EQ(of({-3, -2, -1}), Verdict::did_not_hold);  // at most 0, with twice the spread
  EXPECT_EQ(of({-3, -2, -1}, 0), Verdict::inconclusive);
  EXPECT_EQ(of({-3.01, -2.01, -1.01}, 0), Verdict::did_not_hold);
  EXPECT_EQ(of({0.1, 0.2, 0.0}), Verdict::did_not_hold);  // nothing that anybody would care for
  EXPECT_EQ(of({0.1, 0.11, 0.1}), Verdict::held);         // little, but certain
  EXPECT_EQ(of({7}), Verdict::inconclusive);              // of one seed
  EXPECT_EQ(of({std::nan(""), 1, 1}), Verdict::inconclusive);
}

// What counts is the pairs: the spread over seeds of either side is far larger than the effect.
TEST(Verdict, SeedsArePaired) {
  EXPECT_EQ(exceeds("", {11, 21, 31.1}, {10, 20, 30}).verdict, Verdict::held);
  EXPECT_EQ(exceeds("", {11, 21, 31.1}, {30, 10, 20}).verdict, Verdict::inconclusive);
}

TEST(Verdict, NoWorseIsWithinAMargin) {
  const auto of = [](const Values& differences) {
    return no_worse("a < b + 4", differences, Values(differences.size(), 0), 4).verdict;
  };
  EXPECT_EQ(of({1, 2, 3}), Verdict::held);  // 2 + 2 * 1
  EXPECT_EQ(of({1.1, 2.1, 3.1}), Verdict::inconclusive);
  EXPECT_EQ(of({4, 5, 6}), Verdict::inconclusive);
  EXPECT_EQ(of({5.1, 6.1, 7.1}), Verdict::did_not_hold);
  EXPECT_EQ(of({-90, -91, -92}), Verdict::held);
  EXPECT_EQ(of({1}), Verdict::inconclusive);
}

TEST(Verdict, AClaimIsAsGoodAsItsWorstPart) {
  const auto parts = [](std::initializer_list<Verdict> verdicts) {
    std::vector<Part> list;
    for (const Verdict v : verdicts) list.push_back({"part", "rule", 1, 0.25, "points", v});
    return list;
  };
  using enum Verdict;
  EXPECT_EQ(verdict_of(parts({held, held})), held);
  EXPECT_EQ(verdict_of(parts({held, inconclusive})), inconclusive);
  EXPECT_EQ(verdict_of(parts({inconclusive, did_not_hold, held})), did_not_hold);
  EXPECT_EQ(verdict_of({}), inconclusive);
  EXPECT_EQ(why(parts({held, did_not_hold})), "What was claimed and not found: part (+1.00 ± 0.25 points).");
  EXPECT_NE(why(parts({held, held, held, held, held})).find("; and 2 more."), std::string::npos);
}

Finding finding() {
  Table table{"Title", "size", "error, %", true};
  for (const double seed : {0.0, 1.0})
    for (const int64_t row : {2, 32}) {
      table.add(row, "a", static_cast<double>(row) + seed);
      if (row == 2) table.add(row, "b", std::nan(""));
    }
  return {"samples",
          "section 0",
          "A < B & \"C\"",
          "claimed",
          {{table}, {exceeds("a > b", {3, 4}, {1, 2.1})}},
          1.5,
          {{"data", "none"}, {"train", 1}, {"test", 2}, {"seeds", 2}, {"quick", true}}};
}

TEST(Finding, ComesBackFromItsJson) {
  const Finding f = finding();
  const nlohmann::ordered_json json = f.json();
  EXPECT_EQ(json["name"], "samples");
  EXPECT_EQ(json["held"], true);
  EXPECT_EQ(json["measured"][0]["values"][0]["mean"], 2.5);
  EXPECT_EQ(Finding::parse(nlohmann::ordered_json::parse(json.dump())).json().dump(), json.dump());
  EXPECT_EQ(f.result.tables[0].at(32, "a"), (Values{32, 33}));
  EXPECT_THROW(f.result.tables[0].at(32, "b"), norma::Error);
}

TEST(Finding, IsATableACurveAndAPage) {
  const Finding f = finding();
  EXPECT_NE(f.str().find("32.50 ± 0.71"), std::string::npos) << f.str();
  const Panel panel = f.result.tables[0].panel();
  ASSERT_EQ(panel.curves.size(), 2u);
  EXPECT_EQ(panel.curves[0].x, (std::vector<double>{2, 32}));
  EXPECT_EQ(panel.curves[0].y, (std::vector<double>{2.5, 32.5}));

  const TemporaryFolder folder;
  const Study study{.name = "rethinking_batch", .description = "", .title = "A study", .about = "", .experiments = {}};
  const Session session{study, folder.path(), "nothing", [](const std::string& names) { return "command " + names; }};
  norma::write_file_atomic(folder / "samples.svg", "<svg/>");
  const std::string html = html_report({f}, session);
  EXPECT_NE(html.find("A &lt; B &amp; &quot;C&quot;"), std::string::npos);
  EXPECT_NE(html.find("base64,PHN2Zy8+\""), std::string::npos) << html;

  const std::string page = folder / "page.md";
  norma::write_file_atomic(page, "before\n<!-- rethinking_batch summary -->\nstale\n<!-- end -->\n");
  EXPECT_THROW(fill_markdown(page, {f}, session), norma::Error);  // no place for it
  EXPECT_NE(Program::text_of(page).find("stale"), std::string::npos);
  norma::write_file_atomic(page,
                           "before\n<!-- rethinking_batch summary -->\nstale\n<!-- end -->\nbetween\n"
                           "<!-- rethinking_batch samples -->\n<!-- end -->\nbehind\n");
  fill_markdown(page, {f}, session);
  const std::string once = Program::text_of(page);
  EXPECT_EQ(once.find("stale"), std::string::npos);
  for (const char* part : {"before\n", "between\n", "behind\n", "command samples",
                           "pictures/rethinking_batch/samples.svg", "| 32 | 32.50 ± 0.71 |  |"})
    EXPECT_NE(once.find(part), std::string::npos) << part << once;
  fill_markdown(page, {f}, session);
  EXPECT_EQ(Program::text_of(page), once);
  EXPECT_EQ(Program::text_of(folder / "pictures/rethinking_batch/samples.svg"), "<svg/>");
}

}  // namespace
}  // namespace examples
