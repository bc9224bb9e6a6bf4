// Every op on CUDA against the CPU; norms have a file of their own.
#include "tests/cuda/parity.h"

namespace norma {
namespace {

using namespace norma::test;

TEST_F(Parity, Unary) {
#define NORMA_CASE(name) {#name, name},
  const std::vector<std::pair<std::string, Tensor (*)(const Tensor&)>> functions = {NORMA_EACH_UNARY(NORMA_CASE)};
#undef NORMA_CASE
  for (const auto& [name, f] : functions)
    expect_parity(name, [f = f](const Inputs& in) { return f(in[0]); }, {positive({7, 33})});
  expect_parity("elu", [](const Inputs& in) { return elu(in[0], 0.3); }, {random({1000})});
  expect_parity("softplus", [](const Inputs& in) { return softplus(in[0] * 9, 2, 10); }, {random({1000})});
  expect_parity("relu", [](const Inputs& in) { return relu(in[0]); }, {random({5, 3, 17})});
  expect_parity("leaky_relu", [](const Inputs& in) { return leaky_relu(in[0], 0.1); }, {random({1000})});
  expect_parity("clamp", [](const Inputs& in) { return clamp(in[0], -0.5, 0.7); }, {random({2, 2, 2, 2, 3})});
  expect_parity("exp", [](const Inputs& in) { return exp(in[0]); }, {random({})});
  expect_parity("exp", [](const Inputs& in) { return exp(in[0]); }, {random({3, 0, 2})});
}

TEST_F(Parity, Binary) {
  const std::vector<std::pair<std::string, Tensor (*)(const Tensor&, const Tensor&)>> functions = {
      {"add", add},
      {"sub", sub},
      {"mul", mul},
      {"div", div},
      {"pow", pow},
      {"prelu", prelu},
      {"minimum", minimum},
      {"maximum", maximum},
      {"mse", [](const Tensor& a, const Tensor& b) { return elementwise("mse", Binary::mse, a, b); }},
      {"bce", [](const Tensor& a, const Tensor& b) { return elementwise("bce", Binary::bce_with_logits, a, b); }}};
  for (const auto& [name, f] : functions)
    for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{
             {{33, 17}, {33, 17}}, {{33, 17}, {17}}, {{3, 1, 5}, {2, 1}}, {{2, 3}, {}}})
      expect_parity(name, [f = f](const Inputs& in) { return f(in[0], in[1]); }, {positive(a), positive(b, 8)});
  const std::vector<Tensor (*)(const Tensor&, const Tensor&)> comparisons = {
      eq, ne, lt, le, gt, ge, logical_and, logical_or, logical_xor};
  for (auto f : comparisons) {
    expect_parity("compare", [f](const Inputs& in) { return f(in[0], in[1]); },
                  {integers({5, 7}, 3), integers({7}, 3, 7)});
    expect_parity("compare", [f](const Inputs& in) { return f(in[0], in[1]); }, {random({5, 7}), random({5, 1}, 2)});
  }
  expect_parity("where", [](const Inputs& in) { return where(in[0], in[1], in[2]); },
                {gt(random({5, 7}), 0), random({7}, 2), random({5, 1}, 3)});
}

TEST_F(Parity, Copies) {
  for (DType dtype : {f32, f64, i64, u8, boolean})
    expect_parity("to", [dtype](const Inputs& in) { return to(in[0] * 3, dtype); }, {random({5, 7})});
  expect_parity("permute",
                [](const Inputs& in) {
                  return permute(in[0], {2, 0, 3, 1}).contiguous();
                },
                {random({3, 5, 2, 7})});
  expect_parity("reshape",
                [](const Inputs& in) {
                  return reshape(permute(in[0], {1, 0}), {5, -1});
                },
                {random({7, 10})});
  expect_parity("slice", [](const Inputs& in) { return slice(in[0], 0, 1, 7, 2) + slice(in[0], 0, 0, 3); },
                {random({9, 4})});
  expect_parity("expand", [](const Inputs& in) { return expand(in[0], {4, 3, 5}); }, {random({3, 1})});
  expect_parity("concat",
                [](const Inputs& in) {
                  return concat({in[0], in[1], in[0]}, 1);
                },
                {random({3, 2, 5}), random({3, 4, 5}, 2)});
  expect_parity("pad", [](const Inputs& in) { return pad(in[0], {{1, 2}, {0, 3}}, 7); }, {random({3, 5})});
  expect_parity("gather", [](const Inputs& in) { return gather(in[0], 1, in[1]); },
                {random({3, 7, 5}), integers({3, 9, 5}, 7)});
  expect_parity("index_select", [](const Inputs& in) { return index_select(in[0], 0, in[1]); },
                {random({7, 5}), integers({11}, 7)});
  expect_parity("gather from the end", [](const Inputs& in) { return gather(in[0], -1, in[1].slice(1, 0, 4)); },
                {random({3, 7}), from_the_end({3, 9}, 7)});
  expect_parity("scatter_add", [](const Inputs& in) { return scatter_add(in[0], 1, in[1], in[2]); },
                {random({3, 7, 5}), integers({3, 90, 5}, 7), random({3, 90, 5}, 2)});
  expect_parity("flip", [](const Inputs& in) { return flip(roll(in[0], 2, 0), 1); }, {random({3, 7, 5})});
  expect_parity("triu", [](const Inputs& in) { return triu(in[0], -1); }, {random({3, 7, 5})});
  expect_parity("one_hot", [](const Inputs& in) { return one_hot(in[0], 7); }, {integers({3, 5}, 7)});
}

TEST_F(Parity, Reductions) {
  for (const auto& [shape, axes] : std::vector<std::pair<Shape, Shape>>{{{3, 5, 7}, {}},
                                                                        {{3, 5, 7}, {1}},
                                                                        {{3, 5, 7}, {0, 2}},
                                                                        {{1000}, {}},
                                                                        {{2000, 3}, {0}},
                                                                        {{3, 300, 33}, {1}},
                                                                        {{2, 100000}, {1}},
                                                                        {{70, 40000}, {0}}}) {
    const Inputs x = {random(shape)};
    expect_parity(
        "sum", [a = axes](const Inputs& in) { return sum(in[0], a); }, x);
    expect_parity(
        "max", [a = axes](const Inputs& in) { return max(in[0], a, true); }, x);
    if (shape.numel() > 10000) continue;
    expect_parity(
        "mean", [a = axes](const Inputs& in) { return mean(in[0], a); }, x);
    expect_parity(
        "min", [a = axes](const Inputs& in) { return min(in[0], a); }, x);
    expect_parity(
        "var", [a = axes](const Inputs& in) { return var(in[0], a); }, x);
    expect_parity(
        "logsumexp", [a = axes](const Inputs& in) { return logsumexp(in[0], a); }, x);
    expect_parity(
        "stddev", [a = axes](const Inputs& in) { return stddev(in[0], a); }, x);
    expect_parity(
        "vector_norm", [a = axes](const Inputs& in) { return vector_norm(in[0], 3, a); }, x);
    expect_parity(
        "prod", [a = axes](const Inputs& in) { return prod(in[0] * 0.02 + 1, a); }, x, 1e-5);
    const Inputs counts = {integers(shape, 300)};
    for (DType dtype : {i64, u8, boolean}) {
      expect_parity(
          "sum", [=, a = axes](const Inputs& in) { return sum(in[0].to(dtype), a); }, counts);
      expect_parity(
          "max", [=, a = axes](const Inputs& in) { return max(in[0].to(dtype), a); }, counts);
    }
  }
  for (int64_t axis : {0, 1, 2}) {
    expect_parity("cumsum", [=](const Inputs& in) { return cumsum(in[0], axis); }, {random({3, 70, 5})});
    expect_parity("topk", [=](const Inputs& in) { return topk(in[0], 3, axis).values; }, {random({3, 70, 5})});
    expect_parity("argmin", [=](const Inputs& in) { return argmin(in[0], axis); }, {random({3, 70, 5})});
  }
  expect_parity("argmax", [](const Inputs& in) { return argmax(in[0], 1); }, {random({3, 17, 5})});
  expect_parity("argmax", [](const Inputs& in) { return argmax(in[0], 0); }, {integers({17, 5}, 4)});
  expect_parity("sum", [](const Inputs& in) { return sum(in[0], {1}); }, {random({3, 0, 2})});
}

TEST_F(Parity, Softmax) {
  for (const Shape& shape : {Shape{1, 1}, Shape{9, 10}, Shape{17, 33}, Shape{2, 1000}}) {
    expect_parity("softmax", [](const Inputs& in) { return softmax(in[0]); }, {random(shape)});
    expect_parity("log_softmax", [](const Inputs& in) { return log_softmax(in[0], 0); }, {random(shape)});
    for (double smoothing : {0.0, 0.1})
      expect_parity("cross_entropy",
                    [=](const Inputs& in) {
                      return cross_entropy(in[0] * 3, in[1],
                                           {.label_smoothing = smoothing, .ignore_index = shape[1] > 1 ? 1 : -100});
                    },
                    {random(shape), integers({shape[0]}, shape[1])});
    for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
      for (auto f : {cross_entropy, nll})
        expect_parity("weighted loss",
                      [=](const Inputs& in) {
                        const Tensor weight = add(abs(in[2]), 0.1).detach();
                        return f(in[0], in[1], {0.1, -100, weight, reduction});
                      },
                      {random(shape), integers({shape[0]}, shape[1]), random({shape[1]}, 3)});
  }
}

TEST_F(Parity, Dropout) {
  expect_parity("dropout",
                [](const Inputs& in) {
                  Generator generator(3, 1);
                  return dropout(in[0], 0.3, generator);
                },
                {random({7, 33})});
}

TEST_F(Parity, RandomFillsAreTheCpus) {
  for (DType dtype : {f32, f64}) {
    for (int64_t n : {1, 4, 4099}) {
      const Tensor a({n}, dtype), b({n}, dtype, kCuda);
      Generator(7, 2).fill_uniform(a, -1, 3);
      Generator(7, 2).fill_uniform(b, -1, 3);
      EXPECT_TRUE(close(b, a)) << n;
      Generator(8, 2).fill_normal(a, 1, 3);
      Generator(8, 2).fill_normal(b, 1, 3);
      EXPECT_TRUE(close(b, a)) << n;
    }
  }
}

TEST_F(Parity, Optimizers) {
  for (DType dtype : {f32, f64}) {
    for (const SgdRule& rule : {SgdRule{}, {.momentum = 0.9}, {0.9, 0.2, true}}) {
      std::vector<Tensor> results;
      for (Device device : {cpu_device, kCuda}) {
        const auto make = [&](uint64_t seed) { return random({1001}, seed).to(dtype).to(device).clone(); };
        const Tensor p = make(1), v = make(3), velocity = rule.momentum == 0 ? Tensor() : v;
        const ParameterStep step = {p, make(2), {velocity}, 0.1, 0.01, rule.nesterov ? 2 : 1};
        kernel::sgd_update({&step, 1}, rule);
        results.insert(results.end(), {p, v});
      }
      EXPECT_TRUE(close(results[2], results[0]));
      EXPECT_TRUE(close(results[3], results[1]));
    }
    for (bool decoupled : {false, true}) {
      std::vector<Tensor> results;
      for (Device device : {cpu_device, kCuda}) {
        const auto make = [&](uint64_t seed) { return random({1001}, seed).to(dtype).to(device).clone(); };
        const Tensor p = make(1), m = make(3), v = square(make(4)).detach();
        const ParameterStep step = {p, make(2), {m, v}, 0.1, 0.01, 3};
        kernel::adam_update({&step, 1}, {0.9, 0.99, 1e-8, decoupled});
        results.insert(results.end(), {p, m, v});
      }
      for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(close(results[3 + i], results[i]));
    }
  }
}

TEST_F(Parity, Products) {
  for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{{{1, 1}, {1, 1}},
                                                                 {{17, 33}, {33, 5}},
                                                                 {{7, 17, 3}, {3, 5}},
                                                                 {{3, 2, 7, 5}, {3, 2, 5, 4}},
                                                                 {{3, 1, 7, 5}, {2, 5, 4}},
                                                                 {{2, 3, 1, 7, 5}, {2, 1, 4, 5, 4}},
                                                                 {{4, 0}, {0, 3}}})
    expect_parity(
        "matmul", [](const Inputs& in) { return matmul(in[0], in[1]); }, {random(a), random(b, 2)}, 1e-5);
  expect_parity(
      "linear", [](const Inputs& in) { return linear(in[0], in[1], in[2]); },
      {random({5, 3, 17}), random({9, 17}, 2), random({9}, 3)}, 1e-5);
  expect_parity("linear", [](const Inputs& in) { return linear(in[0], in[1]); }, {random({0, 17}), random({9, 17}, 2)});
}

TEST_F(Parity, PoolingAndInterpolation) {
  for (Pool2dOptions o : {Pool2dOptions{.kernel = 2},
                          {.kernel = {3, 2}, .stride = Pair(2, 1), .padding = {1, 1}},
                          {.kernel = 3, .stride = Pair(4)},
                          {.kernel = {17, 17}, .padding = {8, 8}},
                          {.kernel = 3, .stride = 2, .padding = {4, 0, 1, 5}, .dilation = {2, 3}, .ceil_mode = true}}) {
    const Inputs x = {random({3, 19, 18, 5})};
    expect_parity(
        "max_pool2d", [o](const Inputs& in) { return max_pool2d(in[0], o); }, x);
    for (bool count : {false, true}) {
      o.count_include_pad = count;
      expect_parity(
          "avg_pool2d", [=](const Inputs& in) { return avg_pool2d(in[0], o); }, x);
    }
  }
  expect_parity("global_avg_pool", [](const Inputs& in) { return global_avg_pool(in[0]); }, {random({3, 5, 7, 9})});
  for (Pair size : {Pair(15, 14), Pair(3, 11)}) {
    const Inputs x = {random({2, 5, 7, 3})};
    for (const InterpolateOptions& o : {InterpolateOptions{},
                                        {.mode = Interpolation::bilinear},
                                        {.mode = Interpolation::bilinear, .align_corners = true}})
      expect_parity(
          "interpolate", [=](const Inputs& in) { return interpolate(in[0], size, o); }, x);
    expect_parity(
        "adaptive_avg_pool2d", [=](const Inputs& in) { return adaptive_avg_pool2d(in[0], size); }, x);
  }
  NoGrad inference;
  const Tensor x = random({2, 6, 6, 3});
  EXPECT_TRUE(same_bits(max_pool2d(x.to(kCuda), {.kernel = 2}).to(cpu_device), max_pool2d(x, {.kernel = 2})));
}

TEST_F(Parity, Convolution) {
  for (const Conv2dOptions& o : {Conv2dOptions{},
                                 {.stride = {2, 1}, .padding = 1},
                                 {.padding = {2, 0}, .dilation = {2, 1}},
                                 {.stride = 3, .groups = 2},
                                 {.padding = {0, 2, 3, 1}},
                                 {.stride = 2, .padding = Padding2d::same()},
                                 {.padding = {2, 1, 0, 1}, .padding_mode = PadMode::reflect},
                                 {.groups = 4}}) {
    const int64_t c = 4;
    for (const int64_t width : {8, 9})  // of square images the emulation adds the bias itself
      expect_parity(
          "conv2d", [o](const Inputs& in) { return conv2d(in[0], in[1], in[2], o); },
          {random({3, 9, width, c}), random({8, 3, 2, c / o.groups}, 2), random({8}, 3)}, 1e-5);
  }
  for (const ConvTranspose2dOptions& o : {ConvTranspose2dOptions{},
                                          {.stride = 2, .padding = 1, .output_padding = 1},
                                          {.stride = {1, 3}, .dilation = 2, .groups = 2}})
    expect_parity(
        "conv_transpose2d", [o](const Inputs& in) { return conv_transpose2d(in[0], in[1], in[2], o); },
        {random({2, 5, 4, 4}), random({4, 3, 3, 6 / o.groups}, 2), random({6}, 3)}, 1e-5);
  expect_parity("conv2d", [](const Inputs& in) { return conv2d(in[0], in[1], {}); },
                {random({0, 5, 5, 3}), random({2, 3, 3, 3}, 2)});
}

TEST_F(Parity, DataErrorsAreThrownWhereTheHostWaits) {
  const auto run = [](const Function& f, const Inputs& in) {
    Inputs moved;
    for (const Tensor& x : in) moved.push_back(x.to(kCuda));
    (void)f(moved).to(cpu_device);
  };
  const Tensor x = random({3, 5}), bad = tensor<int64_t>({1, 7, 2}), ignored = full({3}, -100, i64);
  expect_error(
      [&] {
        run([](const Inputs& in) { return index_select(in[0], 0, in[1]); }, {x, bad});
      },
      "[index_select] index 7 at 1 is outside of [-3, 3)");
  expect_error([&] { run([](const Inputs& in) { return one_hot(in[0], 6); }, {bad}); },
               "index 7 at 1 is outside of [0, 6)");
  expect_error(
      [&] {
        run([](const Inputs& in) { return cross_entropy(in[0], in[1]); }, {x, bad});
      },
      "[cross_entropy] label 7 at 1 is outside of [0, 5)");
  expect_error(
      [&] {
        run(
            [](const Inputs& in) {
              return nll(in[0], in[1], {0.1, 2, abs(in[2]), Reduction::none});
            },
            {x, bad, random({5})});
      },
      "[nll] label 7 at 1 is outside of [0, 5)");
  expect_error(
      [&] {
        run([](const Inputs& in) { return cross_entropy(in[0], in[1]); }, {x, ignored});
      },
      "[cross_entropy] every label is ignored");
  struct Waits : nn::Module {  // for a kernel that is not its own: the error does not name it
    Tensor forward(const Tensor& late) override { return late.to(cpu_device); }
  } waits;
  const Tensor late = index_select(x.to(kCuda), 0, bad.to(kCuda));
  try {
    waits(late);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[index_select] index 7 at 1 is outside of [-3, 3)");
  }
  run([](const Inputs& in) { return in[0] + 1; }, {x});  // an error is thrown once
}

TEST_F(Parity, DevicesDoNotMix) {
  const Tensor x = random({3, 5}), y = x.to(kCuda);
  expect_error([&] { add(x, y); }, "devices differ");
  expect_error([&] { (void)y.data<double>(); }, "asked for on the CPU");
  expect_error([&] { (void)x.cuda_data<double>(); }, "asked for on a CUDA device");
  expect_error([&] { (void)x.to(Device::parse("cuda:9")); }, "there is no device cuda:9");
}

TEST_F(Parity, DevicesAreApart) {
  const Device second{Device::Kind::cuda, 1};
  if (cuda::device_count() < 2) GTEST_SKIP() << "one device";
  const Tensor x = random({3, 5}), a = x.to(kCuda), b = x.to(second);
  const Tensor y = square(a), z = exp(b), w = square(a) + y;
  EXPECT_EQ(z.device(), second);
  EXPECT_TRUE(close(z, exp(x)));
  EXPECT_TRUE(close(w, 2 * square(x)));
  EXPECT_TRUE(close(a.to(second), x));
}

TEST_F(Parity, ASteadyStateAsksTheSystemForNothing) {
  const auto step = [] {
    Tensor x = random({8, 9}).to(kCuda).clone().set_requires_grad();
    Tape tape;
    tape.backward(mean(relu(x)));
  };
  step();
  const int64_t before = backend(kCuda).memory().stats().system_calls;
  step();
  EXPECT_EQ(backend(kCuda).memory().stats().system_calls, before);
  EXPECT_GT(before, 0);
}

}  // namespace
}  // namespace norma
