// What a tape tells about itself: its entries, the graph for Graphviz, the profile and its table.
#include "norma/autograd/op.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/unary.h"
#include "norma/ops/reduce/reduce.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

struct Report : testing::Test {
  Report() {
    x.set_requires_grad();
    w.set_requires_grad();
    loss = sum(square(mul(x, w)));
  }
  Tape tape;
  Tensor x = ones({4, 3}), w = ones({3}), loss;
};

TEST_F(Report, EntriesHaveNamesAndIds) {
  const auto& entries = tape.entries();
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_STREQ(entries[0].op, "mul");
  EXPECT_EQ(entries[0].inputs[0].id, tape.leaf_id(x));
  EXPECT_EQ(entries[0].inputs[1].id, tape.leaf_id(w));
  EXPECT_EQ(entries[0].inputs[1].shape, Shape{3});
  EXPECT_EQ(entries[1].inputs[0].id, entries[0].outputs[0].id);
  EXPECT_EQ(entries[0].outputs[0].shape, (Shape{4, 3}));
  EXPECT_EQ(entries[2].outputs[0].id, loss.node().id);
  EXPECT_EQ(entries[2].outputs[0].dtype, f32);
  EXPECT_EQ(tape.leaf_id(zeros({1})), -1);
}

TEST_F(Report, DotDrawsThePendingGraph) {
  EXPECT_EQ(tape.dot(), R"(digraph tape {
  rankdir=LR; node [fontname="sans-serif", fontsize=10];
  v0 [shape=box, style=bold, label="leaf 0\n[4, 3] f32"];
  v1 [shape=box, style=bold, label="leaf 1\n[3] f32"];
  e0 [shape=ellipse, label="mul"];
  v0 -> e0 [label="[4, 3]", fontsize=8];
  v1 -> e0 [label="[3]", fontsize=8];
  e1 [shape=ellipse, label="square"];
  e0 -> e1 [label="[4, 3]", fontsize=8];
  e2 [shape=ellipse, label="sum"];
  e1 -> e2 [label="[4, 3]", fontsize=8];
}
)");
  tape.backward(loss);
  EXPECT_EQ(tape.dot().find("->"), std::string::npos);
}

TEST_F(Report, DotShowsWhatAnEarlierSweepConsumed) {
  const Tensor u = square(x);
  tape.backward(sum(u));
  mul(u, w);
  EXPECT_NE(tape.dot().find("label=\"consumed\""), std::string::npos) << tape.dot();
}

TEST_F(Report, ProfileCountsCallsTimeAndBytes) {
  const Tape::Profile forward = tape.profile();
  EXPECT_EQ(forward.size(), 3u);
  const Tape::ProfileRow& mul_row = forward.at("mul");
  EXPECT_EQ(mul_row.calls, 1);
  EXPECT_EQ(mul_row.bytes_moved, 4 * (12 + 3 + 12));
  EXPECT_EQ(mul_row.bytes_saved, 4 * (12 + 3));
  EXPECT_EQ(forward.at("square").bytes_saved, 4 * 12);
  EXPECT_EQ(forward.at("sum").bytes_saved, 0);
  EXPECT_GT(mul_row.forward_seconds, 0);
  EXPECT_EQ(mul_row.backward_seconds, 0);
  tape.backward(loss);
  EXPECT_GT(tape.profile().at("mul").backward_seconds, 0);
  EXPECT_LT(tape.profile().at("mul").backward_seconds, 1);
  mul(x, w);
  EXPECT_EQ(tape.profile().at("mul").calls, 2);
}

TEST(TapeReport, LongNamesWidenTheTable) {
  EXPECT_EQ(Tape::table({{"conv2d (in features.2.conv1)", {1, 0.001, 0, 0, 0}}}),
            "op                            calls   forward ms  backward ms    moved MB    saved MB\n"
            "conv2d (in features.2.conv1)      1        1.000        0.000        0.00        0.00\n"
            "sum                               1        1.000        0.000        0.00        0.00\n");
}

TEST(TapeReport, ARowBeginsAtNothing) {
  const Tape::ProfileRow row;
  EXPECT_EQ(row.calls, 0);
  EXPECT_EQ(row.forward_seconds, 0);
  EXPECT_EQ(row.backward_seconds, 0);
  EXPECT_EQ(row.bytes_moved, 0);
  EXPECT_EQ(row.bytes_saved, 0);
}

TEST(TapeReport, TableIsSortedByTimeAndSummedUp) {
  const Tape::Profile profile = {{"relu", {3, 0.001, 0.002, 4'000'000, 1'000'000}},
                                 {"conv2d", {12, 0.5, 1.25, 123'456'789, 98'000'000}}};
  EXPECT_EQ(Tape::table(profile),
            "op                    calls   forward ms  backward ms    moved MB    saved MB\n"
            "conv2d                   12      500.000     1250.000      123.46       98.00\n"
            "relu                      3        1.000        2.000        4.00        1.00\n"
            "sum                      15      501.000     1252.000      127.46       99.00\n");
}

}  // namespace
}  // namespace norma
