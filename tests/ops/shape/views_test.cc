// Views: against PyTorch, against finite differences, that they share storage, and their errors.
#include "norma/ops/shape/views.h"

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Views, AgreeWithPyTorch) {
  for (const char* op : {"permute", "slice", "reshape"}) {
    for_each_case("shape", op, [](const GoldenCase& c) {
      const Tensor x = c.leaf("x");
      const auto f = [&] {
        if (c.op == "permute") return permute(x, c.shape("axes"));
        if (c.op == "slice") return slice(x, c.attrs["axis"], c.attrs["start"], c.attrs["stop"], c.attrs["step"]);
        return reshape(x, c.shape("shape"));
      };
      check_case(c, f, {{"x", x}});
    });
  }
}

TEST(Views, GradientsMatchFiniteDifferences) {
  const std::vector<std::pair<const char*, Tensor (*)(const Tensor&)>> functions = {
      {"reshape",
       [](const Tensor& x) {
         return reshape(x, {-1, x.dim(0)});
       }},
      {"flatten", [](const Tensor& x) { return flatten(x); }},
      {"permute",
       [](const Tensor& x) {
         return permute(x, {2, 0, -2});
       }},
      {"transpose", [](const Tensor& x) { return transpose(x, 0, -1); }},
      {"slice", [](const Tensor& x) { return slice(x, 1, 1, x.dim(1), 2); }},
      {"empty slice", [](const Tensor& x) { return slice(x, 0, 1, 1); }},
      {"expand",
       [](const Tensor& x) {
         return expand(slice(x, 1, 0, 1), {3, x.dim(0), 5, x.dim(2)});
       }},
      {"expand to the same", [](const Tensor& x) { return expand(x, x.shape()); }},
      {"unsqueeze", [](const Tensor& x) { return unsqueeze(x, -1); }},
      {"squeeze", [](const Tensor& x) { return squeeze(slice(x, 1, 0, 1), 1); }},
      {"reshape of permute", [](const Tensor& x) {
         return flatten(permute(x, {1, 2, 0}));
       }}};
  for (const auto& [name, f] : functions) {
    for (const Shape& shape : {Shape{1, 1, 1}, Shape{3, 5, 2}, Shape{2, 17, 7}}) {
      const auto result = gradcheck([f = f](const auto& in) { return f(in[0]); }, {random(shape)});
      EXPECT_TRUE(result) << name << " " << shape.str() << " " << result.message;
    }
  }
}

// Where x has a gradient already, that of a slice is added to it in place.
TEST(Views, OverlappingSlicesAddUp) {
  Tensor x = random({5, 3});
  x.set_requires_grad();
  Tape tape;
  const Tensor a = slice(x, 0, 0, 3), b = slice(x, 0, 2, 5, 2);
  const Tensor y = reshape(permute(a, {1, 0}), {9});
  tape.backward(y, {.seed = ones({9}, f64, test_device()), .retain = true});
  tape.backward(b, {.seed = full({2, 3}, 2, f64, test_device())});
  EXPECT_TRUE(close(x.grad(), tensor({1., 1., 1., 1., 1., 1., 3., 3., 3., 0., 0., 0., 2., 2., 2.}, {5, 3})));
}

TEST(Views, ShareStorage) {
  const Tensor x = random({2, 3, 4});
  for (const Tensor& y : {reshape(x, {6, 4}), flatten(x), permute(x, {2, 0, 1}), transpose(x, 0, 1), slice(x, 1, 1, 3),
                          unsqueeze(x, 0), squeeze(unsqueeze(x, 3), -1), unsqueeze(slice(x, 2, 0, 4, 2), 1)}) {
    EXPECT_EQ(y.storage(), x.storage()) << y.shape().str();
    EXPECT_NE(y.identity(), x.identity());
  }
  EXPECT_EQ(unsqueeze(x, -1).shape(), (Shape{2, 3, 4, 1}));
  const Tensor turned = permute(x, {2, 0, 1});
  for (int axis = 0; axis <= 3; ++axis) {
    const Tensor y = unsqueeze(turned, axis);
    EXPECT_EQ(y.dim(axis), 1);
    EXPECT_EQ(y.shape().without(axis), turned.shape());
    EXPECT_EQ(y.strides().without(axis), turned.strides());
  }
  EXPECT_EQ(flatten(zeros({0, 3, 4})).shape(), (Shape{0, 12}));
  EXPECT_EQ(flatten(zeros({3, 0})).shape(), (Shape{3, 0}));
  EXPECT_EQ(flatten(zeros({3})).shape(), (Shape{3, 1}));
  EXPECT_EQ(expand(x, {5, 2, 3, 4}).strides(), (Shape{0, 12, 4, 1}));
  EXPECT_EQ(transpose(x, 0, 2).at({3, 1, 1}), x.at({1, 1, 3}));
}

TEST(Views, AreNamedOnTheTape) {
  Tensor x = random({2, 3});
  x.set_requires_grad();
  Tape tape;
  flatten(x);
  reshape(x, {6});
  transpose(x, 0, 1);
  std::vector<std::string> names;
  for (const auto& entry : tape.entries()) names.push_back(entry.op);
  EXPECT_EQ(names, (std::vector<std::string>{"flatten", "reshape", "transpose"}));
}

TEST(Views, RejectBadArguments) {
  const Tensor x = zeros({2, 3});
  expect_error([&] { reshape(x, {4, -1}); }, "[reshape] [2, 3] does not fit into [4, -1]");
  expect_error([&] { reshape(x, {-1, -1}); }, "[reshape] more than one -1 in [-1, -1]");
  expect_error([&] { reshape(x, {7}); }, "[reshape] [2, 3] has 6 elements, [7] wants 7");
  expect_error([&] { flatten(zeros({})); }, "[flatten] wants at least one axis: shape []");
  expect_error([&] { permute(x, {0, 0}); }, "[permute] axis 0 stands twice in [0, 0]: shape [2, 3]");
  expect_error([&] { permute(x, {0}); }, "[permute] 1 axes [0] for shape [2, 3]");
  expect_error([&] { transpose(x, 0, 2); }, "[transpose] axis 2 is out of range for shape [2, 3]");
  expect_error([&] { slice(x, 1, 1, 4); }, "[slice] [1, 4) is out of range on axis 1: shape [2, 3]");
  expect_error([&] { slice(x, 1, -4, 2); }, "[slice] [-4, 2) is out of range on axis 1: shape [2, 3]");
  expect_error([&] { slice(x, 1, 0, 2, 0); }, "[slice] step 0: want at least 1");
  expect_error([&] { slice(x, -3, 0, 1); }, "[slice] axis -3 is out of range for shape [2, 3]");
  expect_error([&] { expand(x, {2, 4}); }, "[expand] [2, 3] does not broadcast to [2, 4]");
  expect_error([&] { squeeze(x, 1); }, "[squeeze] axis 1 has extent 3, want 1: shape [2, 3]");
  expect_error([&] { unsqueeze(x, 3); }, "[unsqueeze] axis 3 is out of range for shape [2, 3]");
  expect_error([&] { unsqueeze(x, -4); }, "[unsqueeze] axis -4 is out of range for shape [2, 3]");
  expect_error([] { flatten(Tensor()); }, "an undefined tensor was used");
}

}  // namespace
}  // namespace norma
