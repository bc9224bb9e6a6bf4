// linear: against PyTorch, against finite differences, how it appears on the tape, errors.
#include "norma/ops/linalg/linear.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Linear, AgreesWithPyTorch) {
  for_each_case("linear", "linear", [](const GoldenCase& c) {
    const Tensor x = c.leaf("x"), w = c.leaf("w"), b = c.has("b") ? c.leaf("b") : Tensor();
    std::vector<std::pair<std::string, Tensor>> leaves = {{"x", x}, {"w", w}};
    if (b.defined()) leaves.emplace_back("b", b);
    check_case(
        c, [&] { return linear(x, w, b); }, leaves);
  });
}

TEST(Linear, GradientsMatchFiniteDifferences) {
  for (const auto& [x, out] :
       std::vector<std::pair<Shape, int64_t>>{{{1}, 1}, {{7}, 3}, {{33, 17}, 5}, {{2, 3, 5}, 2}}) {
    const Tensor w = random({out, x.back()}, 2), b = random({out}, 3);
    const auto full = gradcheck([](const auto& in) { return linear(in[0], in[1], in[2]); }, {random(x, 1), w, b});
    EXPECT_TRUE(full) << x.str() << " " << full.message;
    // Each input alone, so that what it does not need is not there.
    const Tensor input = random(x, 1);
    const auto of_x = gradcheck([&](const auto& in) { return linear(in[0], w); }, {input});
    EXPECT_TRUE(of_x) << x.str() << " " << of_x.message;
    const auto of_w = gradcheck([&](const auto& in) { return linear(input, in[0], b); }, {w});
    EXPECT_TRUE(of_w) << x.str() << " " << of_w.message;
  }
}

TEST(Linear, IsOneEntryOfInputWeightAndBias) {
  Tensor x = random({3, 5}), w = random({2, 5}), b = random({2});
  for (Tensor* leaf : {&x, &w, &b}) leaf->set_requires_grad();
  Tape tape;
  const Tensor y = linear(x, w, b), z = linear(x, w);
  ASSERT_EQ(tape.entries().size(), 2u);
  for (const Tape::Entry& entry : tape.entries()) EXPECT_STREQ(entry.op, "linear");
  const auto& inputs = tape.entries()[0].inputs;
  ASSERT_EQ(inputs.size(), 3u);
  EXPECT_EQ(inputs[0].id, tape.leaf_id(x));
  EXPECT_EQ(inputs[1].id, tape.leaf_id(w));
  EXPECT_EQ(inputs[2].id, tape.leaf_id(b));
  EXPECT_EQ(tape.entries()[1].inputs[2].id, -1);
}

TEST(Linear, TakesEmptyExtents) {
  for (const auto& [rows, in] : {std::pair<int64_t, int64_t>{0, 3}, {3, 0}}) {
    std::vector<Tensor> leaves = {zeros({rows, in}), ones({2, in}), ones({2})};
    for (Tensor& leaf : leaves) leaf.set_requires_grad();
    Tape tape;
    const Tensor y = linear(leaves[0], leaves[1], leaves[2]);
    EXPECT_TRUE(same_bits(y, ones({rows, 2})));
    tape.backward(y, {.seed = ones({rows, 2})});
    EXPECT_TRUE(same_bits(leaves[1].grad(), zeros({2, in})));
    EXPECT_TRUE(same_bits(leaves[2].grad(), full({2}, static_cast<double>(rows))));
  }
}

TEST(Linear, KeepsOnlyWhatItsGradientsNeed) {
  Tensor x = random({3, 5}), w = random({2, 5});
  x.set_requires_grad();
  Tape tape;
  const Tensor y = linear(x, w);
  EXPECT_FALSE(x.storage()->pinned());
  EXPECT_TRUE(w.storage()->pinned());
}

TEST(Linear, ReadsStridedInputs) {
  const Tensor x = view::permute(random({5, 33}, 1), {1, 0}), w = view::slice(random({7, 10}, 2), 1, 0, 10, 2),
               b = view::slice(random({14}, 3), 0, 0, 14, 2);
  EXPECT_TRUE(same_bits(linear(x, w, b), linear(x.contiguous(), w.contiguous(), b.contiguous())));
  // A strided upstream gradient.
  const auto gradient = [&](const Tensor& dy) {
    Tensor leaf = random({3, 5}, 4);
    leaf.set_requires_grad();
    Tape tape;
    tape.backward(linear(leaf, w), {.seed = dy});
    return leaf.grad();
  };
  const Tensor dy = view::expand(there(scalar(2, f64)), {3, 7});
  EXPECT_TRUE(same_bits(gradient(dy), gradient(dy.contiguous())));
}

TEST(Linear, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  const auto bits = [](int threads) {
    set_num_threads(threads);
    std::vector<Tensor> leaves = {random({2000, 333}, 1).to(f32), random({97, 333}, 2).to(f32),
                                  random({97}, 3).to(f32)};
    for (Tensor& leaf : leaves) leaf.set_requires_grad();
    Tape tape;
    const Tensor y = linear(leaves[0], leaves[1], leaves[2]);
    tape.backward(y, {.seed = random({2000, 97}, 4).to(f32)});
    return std::vector<Tensor>{y, leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
  };
  const auto one = bits(1), three = bits(3);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
  set_num_threads(before);
}

// Those of many rows are done by the kernels of the 1x1 convolution.
TEST(Linear, OfManyRowsAgreesWithDoubles) {
  for (const auto& [rows, in, out] : {std::tuple<int64_t, int64_t, int64_t>{16, 16, 16}, {65, 33, 17}, {130, 700, 130}})
    for (bool with_bias : {false, true}) {
      const auto run = [&, rows = rows, in = in, out = out](DType dtype) {
        std::vector<Tensor> leaves = {random({rows, in}, 1), random({out, in}, 2), random({out}, 3)};
        for (Tensor& leaf : leaves) {
          leaf = leaf.to(dtype);
          leaf.set_requires_grad();
          leaf.set_grad(random(leaf.shape(), 4).to(dtype));  // to be added to
        }
        Tape tape;
        const Tensor y = linear(leaves[0], leaves[1], with_bias ? leaves[2] : Tensor());
        tape.backward(y, {.seed = random({rows, out}, 5).to(dtype)});
        return std::vector<Tensor>{y.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
      };
      const std::vector<Tensor> single = run(f32), twice = run(f64);
      for (size_t i = 0; i < single.size(); ++i)
        EXPECT_LE(max(abs(single[i].to(f64) - twice[i])).item(), 2e-6 * max(abs(twice[i])).item())
            << rows << " " << in << " " << out << " " << i;
    }
}

TEST(Linear, RejectsBadInput) {
  expect_error(
      [] {
        linear(zeros({2, 3}), zeros({5, 4}));
      },
      "[linear] input [2, 3] does not end in the 4 features of weight [5, 4]");
  expect_error(
      [] {
        linear(zeros({}), zeros({5, 4}));
      },
      "[linear] input [] does not end in the 4 features of weight [5, 4]");
  expect_error([] { linear(zeros({2, 3}), zeros({3})); }, "[linear] weight [3] is not [out, in]: input [2, 3]");
  expect_error(
      [] {
        linear(zeros({2, 3}), zeros({5, 3}), zeros({3}));
      },
      "[linear] bias [3] does not fit weight [5, 3]");
  expect_error(
      [] {
        linear(zeros({2, 3}), zeros({5, 3}, f64));
      },
      "[linear] dtypes differ: f32 of shape [2, 3] and f64 of shape [5, 3]");
}

}  // namespace
}  // namespace norma
