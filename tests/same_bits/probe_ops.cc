// The probe's cases of values, elementwise functions, reductions, losses, matrices and indices.
#include "probe.h"

namespace probe {
namespace {

const double kInfinity = std::numeric_limits<double>::infinity();

// Where functions have their corners.
Tensor corners() {
  return tensor<float>({0.F,
                        -0.F,
                        1.F,
                        -1.F,
                        0.5F,
                        -0.5F,
                        1e-40F,
                        -1e-40F,
                        1e-30F,
                        88.7F,
                        89.5F,
                        -87.F,
                        -103.9F,
                        -120.F,
                        9.F,
                        -9.F,
                        1e10F,
                        -1e10F,
                        3e38F,
                        static_cast<float>(kInfinity),
                        -static_cast<float>(kInfinity),
                        NAN},
                       {22});
}

using OfTwo = Tensor (*)(const Tensor&, const Tensor&);

}  // namespace

void values() {
  for (DType dtype : {f32, f64}) {
    const std::string name(name_of(dtype));
    Generator generator(7);
    print("rand " + name, rand({1001}, generator, dtype));
    print("randn " + name, randn({1003}, generator, dtype));
    const Tensor x = empty({37, 3}, dtype, device);
    generator.fill_uniform(x, -2, 5);
    print("fill_uniform " + name, x);
    generator.fill_normal(x, 1, 3);
    print("fill_normal " + name, x);
  }
  Generator generator(8);
  print("permutation", tensor(generator.permutation(1000), {1000}));

  const Tensor wide = random({12, 9, 7}, 1) * 100;
  for (DType from : {f32, f64, i64, u8, boolean})
    for (DType to : {f32, f64, i64, u8, boolean}) {
      const Tensor x = wide.to(from).to(device);
      print(fmt::format("{} to {}", name_of(from), name_of(to)), x.to(to));
      print(fmt::format("{} to {}, strided", name_of(from), name_of(to)), view::permute(x, {2, 0, 1}).to(to));
    }
  sweep("to f64", [](const Inputs& x) { return to(x[0], f64); }, {wide});
  sweep("to f32", [](const Inputs& x) { return to(x[0], f32); }, {wide});

  sweep("reshape", [](const Inputs& x) { return reshape(x[0], {-1, 7}); }, {wide});
  sweep("flatten", [](const Inputs& x) { return flatten(x[0]); }, {wide});
  sweep("permute", [](const Inputs& x) { return permute(x[0], {2, 0, 1}); }, {wide});
  sweep("transpose", [](const Inputs& x) { return transpose(x[0], 0, 2); }, {wide});
  sweep("slice", [](const Inputs& x) { return slice(x[0], 1, 1, 8, 3); }, {wide});
  sweep("expand", [](const Inputs& x) { return expand(x[0], {6, 12, 9, 7}); }, {wide});
  sweep("unsqueeze", [](const Inputs& x) { return squeeze(unsqueeze(x[0], 1), 1) + x[0]; }, {wide});
}

void elementwise() {
  struct {
    const char* name;
    std::function<Tensor(const Tensor&)> f;
    bool positive = false;
  } const unary[] = {
      {"neg", [](const Tensor& x) { return neg(x); }},
      {"exp", [](const Tensor& x) { return exp(x); }},
      {"log", [](const Tensor& x) { return log(x); }, true},
      {"sqrt", [](const Tensor& x) { return sqrt(x); }, true},
      {"rsqrt", [](const Tensor& x) { return rsqrt(x); }, true},
      {"abs", [](const Tensor& x) { return abs(x); }},
      {"square", [](const Tensor& x) { return square(x); }},
      {"clamp", [](const Tensor& x) { return clamp(x, -0.5, 1.25); }},
      {"tanh", [](const Tensor& x) { return tanh(x); }},
      {"sigmoid", [](const Tensor& x) { return sigmoid(x); }},
      {"relu", [](const Tensor& x) { return relu(x); }},
      {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.1); }},
      {"gelu", [](const Tensor& x) { return gelu(x); }},
      {"gelu_tanh", [](const Tensor& x) { return gelu_tanh(x); }},
      {"silu", [](const Tensor& x) { return silu(x); }},
  };
  for (const auto& [name, f, positive_only] : unary) {
    const auto call = [g = f](const Inputs& x) { return g(x[0]); };
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{3, 5, 7}, Shape{9, 8, 17}, Shape{40, 33, 31}}) {
      const Tensor x = positive_only ? positive(shape, 11) * 4 : random(shape, 11) * 3;
      sweep(fmt::format("{} {}", name, shape), call, {x});
    }
    sweep(fmt::format("{} of corners", name), call, {corners()});
  }

  const std::pair<const char*, OfTwo> binary[] = {{"add", add}, {"sub", sub},         {"mul", mul},        {"div", div},
                                                  {"pow", pow}, {"minimum", minimum}, {"maximum", maximum}};
  const std::pair<const char*, OfTwo> comparisons[] = {{"eq", eq}, {"ne", ne}, {"lt", lt},
                                                       {"le", le}, {"gt", gt}, {"ge", ge}};
  const std::pair<Shape, Shape> shapes[] = {{{4, 5, 6}, {4, 5, 6}},    {{4, 5, 6}, {6}},      {{4, 1, 6}, {5, 1}},
                                            {{1, 3}, {7, 1, 3}},       {{}, {3, 4}},          {{64, 16, 33}, {33}},
                                            {{2, 3, 4, 5}, {3, 1, 5}}, {{129, 65}, {129, 1}}, {{40000}, {40000}}};
  for (const auto& [a, b] : shapes) {
    const Tensor x = positive(a, 1) + 0.1, y = random(b, 2);
    for (const auto& [name, f] : binary)
      sweep(fmt::format("{} {} {}", name, a, b), [g = f](const Inputs& in) { return g(in[0], in[1]); }, {x, y});
    for (const auto& [name, f] : comparisons)
      sweep(fmt::format("{} {} {}", name, a, b), [g = f](const Inputs& in) { return g(in[0], in[1]); }, {x, y});
    sweep(fmt::format("where {} {}", a, b), [](const Inputs& in) { return where(gt(in[0], in[1]), in[0], in[1]); },
          {x, y});
    sweep(fmt::format("operators {} {}", a, b),
          [](const Inputs& in) { return -in[0] * 2 + 3 / in[0] - (in[1] - 0.5) * in[0]; }, {x, y});
  }
  const Tensor ties = tensor<float>({1, 2, 3, 2, NAN, -0.F}, {6}), others = tensor<float>({1, 1, 4, 2, 1, 0.F}, {6});
  for (const auto& [name, f] : binary)
    sweep(fmt::format("{} of ties", name), [g = f](const Inputs& in) { return g(in[0], in[1]); }, {ties, others});
  sweep("pow by numbers",
        [](const Inputs& x) { return pow(x[0], 3) + pow(2, x[0]) + minimum(x[0], 0.5) + maximum(0.25, x[0]); },
        {positive({13, 11}, 4)});

  for (const Shape& shape : {Shape{1}, Shape{7, 9, 5}, Shape{300, 130}})
    for (double p : {0.1, 0.5}) {
      sweep(fmt::format("dropout {} {}", shape, p),
            [p](const Inputs& x) {
              Generator generator(21);
              dropout(x[0], p, generator);  // the numbers go on from there
              return dropout(x[0], p, generator);
            },
            {random(shape, 3)});
    }
}

void reductions() {
  struct {
    const char* name;
    std::function<Tensor(const Tensor&, const Shape&, bool)> f;
  } const functions[] = {
      {"sum", [](const Tensor& x, const Shape& axes, bool keep) { return sum(x, axes, keep); }},
      {"mean", [](const Tensor& x, const Shape& axes, bool keep) { return mean(x, axes, keep); }},
      {"max", [](const Tensor& x, const Shape& axes, bool keep) { return max(x, axes, keep); }},
      {"min", [](const Tensor& x, const Shape& axes, bool keep) { return min(x, axes, keep); }},
      {"var", [](const Tensor& x, const Shape& axes, bool keep) { return var(x, axes, 1, keep); }},
      {"var 0", [](const Tensor& x, const Shape& axes, bool keep) { return var(x, axes, 0, keep); }},
      {"logsumexp", [](const Tensor& x, const Shape& axes, bool keep) { return logsumexp(x, axes, keep); }},
  };
  const std::pair<Shape, std::vector<Shape>> cases[] = {
      {{7, 13, 33}, {{}, {0}, {1}, {-1}, {0, 2}, {0, 1}, {1, 2}}},
      {{2, 3, 4, 5}, {{}, {0, 3}, {1, 2}, {1, 3}}},
      {{100003}, {{}}},
      {{5003, 3}, {{}, {0}, {1}}},
      {{300, 700}, {{0}, {1}}},
      {{6, 2000, 9}, {{1}, {0, 1}}},
      {{1, 1}, {{0}}},
  };
  for (const auto& [shape, axes_list] : cases)
    for (const Shape& axes : axes_list)
      for (const auto& [name, f] : functions)
        sweep(fmt::format("{} {} over {}", name, shape, axes),
              [&, g = f](const Inputs& x) { return g(x[0], axes, axes.rank() == 1); }, {random(shape, 31) + 0.3});
  for (const Shape& shape : {Shape{7, 13, 33}, Shape{300, 700}})
    for (int axis = 0; axis < shape.rank(); ++axis)
      sweep(fmt::format("argmax {} over {}", shape, axis), [axis](const Inputs& x) { return argmax(x[0], axis); },
            {random(shape, 32)});
  sweep("max of ties", [](const Inputs& x) { return max(x[0], {1}); }, {integers({9, 40}, 3, 33).to(f32)});

  for (const Shape& shape :
       {Shape{5, 10}, Shape{3, 4, 7}, Shape{2, 65, 33}, Shape{1, 1}, Shape{128, 1000}, Shape{3, 70001}})
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const Tensor x = random(shape, 34) * 4;
      sweep(fmt::format("softmax {} over {}", shape, axis), [axis](const Inputs& in) { return softmax(in[0], axis); },
            {x});
      sweep(fmt::format("log_softmax {} over {}", shape, axis),
            [axis](const Inputs& in) { return log_softmax(in[0], axis); }, {x});
    }
  for (const Shape& shape : {Shape{1, 3}, Shape{37, 10}, Shape{128, 100}, Shape{64, 1000}})
    for (double smoothing : {0.0, 0.1})
      sweep(fmt::format("cross_entropy {} {}", shape, smoothing),
            [&](const Inputs& in) {
              return cross_entropy(in[0], in[1], {.label_smoothing = smoothing, .ignore_index = 2});
            },
            {random(shape, 35) * 3, integers({shape[0]}, shape[1], 36)});
  for (const Shape& shape : {Shape{1}, Shape{5, 7, 3}, Shape{200, 301}}) {
    const Inputs two = {random(shape, 37) * 2, positive(shape, 38)};
    sweep(
        fmt::format("mse {}", shape), [](const Inputs& in) { return mse(in[0], in[1]); }, two);
    sweep(
        fmt::format("bce {}", shape), [](const Inputs& in) { return bce_with_logits(in[0], in[1]); }, two);
  }
}

void matrices() {
  const std::pair<Shape, Shape> shapes[] = {
      {{1, 1}, {1, 1}},     {{3, 5}, {5, 7}},          {{64, 64}, {64, 64}},      {{130, 257}, {257, 65}},
      {{4, 3, 5}, {5, 2}},  {{2, 1, 6, 9}, {3, 9, 4}}, {{1, 300}, {300, 1}},      {{17, 1000}, {1000, 3}},
      {{512, 9}, {9, 384}}, {{3, 0}, {0, 2}},          {{8, 32, 48}, {8, 48, 16}}};
  for (const auto& [a, b] : shapes) {
    sweep(fmt::format("matmul {} {}", a, b), [](const Inputs& in) { return matmul(in[0], in[1]); },
          {random(a, 41), random(b, 42)});
    sweep(fmt::format("matmul of transposed {} {}", a, b),
          [](const Inputs& in) { return matmul(transpose(in[1], -1, -2), transpose(in[0], -1, -2)); },
          {random(a, 41), random(b, 42)});
  }
  const std::pair<Shape, Shape> layers[] = {{{1, 1}, {1, 1}},      {{5, 7}, {3, 7}},          {{2, 3, 4, 9}, {6, 9}},
                                            {{128, 64}, {10, 64}}, {{64, 3136}, {128, 3136}}, {{33, 130}, {77, 130}}};
  for (const auto& [x, weight] : layers) {
    sweep(fmt::format("linear {} {}", x, weight), [](const Inputs& in) { return linear(in[0], in[1], in[2]); },
          {random(x, 43), random(weight, 44), random({weight[0]}, 45)});
    sweep(fmt::format("linear without bias {} {}", x, weight), [](const Inputs& in) { return linear(in[0], in[1]); },
          {random(x, 43), random(weight, 44)});
  }

  const Tensor x = random({6, 11, 5}, 46);
  for (int64_t axis = 0; axis < 3; ++axis) {
    sweep(fmt::format("concat {}", axis),
          [axis](const Inputs& in) {
            return concat({in[0], in[1], in[0]}, axis);
          },
          {x, random({6, 11, 5}, 47)});
    Shape picks = x.shape();
    picks[static_cast<int>(axis)] = 9;
    sweep(fmt::format("gather {}", axis), [axis](const Inputs& in) { return gather(in[0], axis, in[1]); },
          {x, integers(picks, x.shape()[static_cast<int>(axis)], 48)});
    sweep(fmt::format("index_select {}", axis), [axis](const Inputs& in) { return index_select(in[0], axis, in[1]); },
          {x, integers({13}, x.shape()[static_cast<int>(axis)], 49)});
  }
  sweep("pad", [](const Inputs& in) { return pad(in[0], {{1, 0}, {2, 3}, {0, 4}}, 0.5); }, {x});
  print("one_hot", one_hot(integers({4, 9}, 6, 50).to(device), 6));
  print("one_hot u8", one_hot(integers({4, 9}, 6, 50).to(device), 6, u8));
}

}  // namespace probe
