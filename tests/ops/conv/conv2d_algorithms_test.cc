// The convolution algorithms of the CPU, each against the plain loops in f64, on sizes that leave something over
// everywhere; what they cannot do; and how one is chosen.
#include <cstdlib>

#include "norma/core/simd/dispatch.h"
#include "norma/ops/conv/conv2d.h"
#include "tests/golden.h"
#include "tests/ops/conv/plain_conv2d.h"

namespace norma {
namespace {

using namespace norma::test;

struct Case {
  Shape x, w;
  Conv2dOptions options;
  std::string text() const {
    return fmt::format("{} {} stride {} {} padding {} {} dilation {} {} groups {}", x, w, options.stride.h,
                       options.stride.w, options.padding.top, options.padding.left, options.dilation.h,
                       options.dilation.w, options.groups);
  }
};

// y, dx and dw, the latter two added to what was there. Poisoned memory is full of NaN where nobody has written.
std::vector<Tensor> run(const Case& c, ConvAlgorithm algorithm, DType dtype = f32, bool poisoned = true) {
  Tensor x = random(c.x, 1).to(dtype), w = random(c.w, 2).to(dtype), bias = random({c.w[0]}, 3).to(dtype);
  for (Tensor* leaf : {&x, &w}) {
    leaf->set_requires_grad();
    leaf->set_grad(random(leaf->shape(), 4).to(dtype));
  }
  Conv2dOptions options = c.options;
  options.algorithm = algorithm;
  const bool poison = cpu_memory().set_poison(poisoned);
  Tape tape;
  const Tensor y = conv2d(x, w, bias, options);
  tape.backward(y, {.seed = random(y.shape(), 5).to(dtype)});
  cpu_memory().set_poison(poison);
  return {y.detach(), x.grad(), w.grad()};
}

// The largest difference, relative to the largest value.
double error(const Tensor& got, const Tensor& want) {
  const Tensor g = got.to(f64);
  double difference = 0, most = 0;
  for (int64_t i = 0; i < want.numel(); ++i) {
    const double d = std::abs(g.data<double>()[i] - want.data<double>()[i]);
    difference = d <= difference ? difference : d;  // a NaN stays
    most = std::max(most, std::abs(want.data<double>()[i]));
  }
  return difference / std::max(most, 1e-30);
}

// The same by plain loops.
std::vector<Tensor> run_plain(const Case& c) {
  const Tensor x = random(c.x, 1), w = random(c.w, 2), bias = random({c.w[0]}, 3);
  const PlainConv2d plain = plain_conv2d(x, w, bias, c.options, random(plain_conv2d_shape(c.x, c.w, c.options), 5));
  return {plain.y, plain.dx + random(c.x, 4), plain.dw + random(c.w, 4)};
}

void expect_exact(const Case& c, std::initializer_list<std::pair<ConvAlgorithm, double>> algorithms,
                  bool plain = true) {
  const std::vector<Tensor> want = plain ? run_plain(c) : run(c, ConvAlgorithm::im2col, f64);
  for (const auto& [algorithm, tolerance] : algorithms) {
    const std::vector<Tensor> got = run(c, algorithm);
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_LE(error(got[i], want[i]), tolerance) << "algorithm " << static_cast<int>(algorithm) << ", result " << i;
  }
}

constexpr double kExact = 2e-6, kWinograd = 1e-5;

TEST(ConvAlgorithms, AgreeOnOddSizes) {
  for (int64_t size : {1, 5, 7, 14, 28, 33})
    for (int64_t channels : {1, 3, 15, 16, 17, 64}) {
      if (size * size * channels > 28 * 28 * 17) continue;  // the plain loops are slow
      const int64_t filters = size % 2 ? channels : (channels * 5 + 3) % 71;
      const Case c = {{2, size, size + size % 3, channels}, {filters, 3, 3, channels}, {.padding = 1}};
      SCOPED_TRACE(c.text());
      expect_exact(
          c,
          {{ConvAlgorithm::direct, kExact}, {ConvAlgorithm::winograd, kWinograd}, {ConvAlgorithm::winograd2, kExact}});
    }
}

TEST(ConvAlgorithms, DirectDoesAnyGeometry) {
  for (const Case& c : std::vector<Case>{
           {{2, 9, 8, 5}, {7, 3, 3, 5}, {.stride = 2, .padding = 1}},
           {{2, 9, 11, 17}, {33, 3, 3, 17}, {.stride = {3, 2}, .padding = {0, 2}}},
           {{2, 9, 11, 4}, {20, 3, 3, 4}, {.padding = 2, .dilation = 2}},
           {{2, 12, 9, 3},
            {16, 3, 2, 3},
            {.stride = 2, .padding = 3, .dilation = {3, 2}}},  // of one window, several phases
           {{1, 13, 13, 6}, {48, 3, 3, 6}, {.stride = 2, .padding = 1, .dilation = 2}},  // phases without a tap
           {{3, 7, 5, 19}, {50, 1, 1, 19}, {}},
           {{1, 3, 193, 2}, {8, 3, 3, 2}, {.stride = 2, .padding = 1}},  // a strip that begins at the right edge
           {{3, 7, 5, 16}, {32, 1, 1, 16}, {.stride = 2}},
           {{2, 8, 3, 12}, {70, 5, 5, 12}, {.padding = 2}},  // windows wider than the image
           {{2, 23, 21, 3}, {64, 7, 7, 3}, {.stride = 2, .padding = 3}},
           {{2, 1, 19, 2}, {9, 1, 7, 2}, {.padding = {0, 3}}},
           {{1, 3, 3, 1}, {2, 1, 1, 1}, {.padding = 2}},                  // a frame of padding only
           {{2, 3, 3, 2}, {3, 2, 2, 2}, {.stride = 5}},                   // stride beyond the input
           {{40, 9, 9, 8}, {160, 3, 3, 8}, {.padding = 1}},               // slots and parts
           {{1, 2, 2, 300}, {300, 2, 2, 300}, {}},                        // one output pixel
           {{2, 9, 8, 16}, {16, 3, 3, 1}, {.padding = 1, .groups = 16}},  // depthwise, from here on
           {{2, 9, 8, 37}, {37, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 37}},
           {{1, 9, 9, 133}, {133, 5, 4, 1}, {.stride = {1, 3}, .padding = 2, .dilation = {2, 1}, .groups = 133}},
           {{60, 9, 9, 3}, {3, 3, 3, 1}, {.padding = 2, .groups = 3}}}) {
    SCOPED_TRACE(c.text());
    expect_exact(c, {{ConvAlgorithm::direct, kExact}});
  }
}

TEST(ConvAlgorithms, WinogradDoesAnyPadding) {
  for (const Case& c : std::vector<Case>{{{3, 6, 7, 5}, {4, 3, 3, 5}, {}},
                                         {{1, 9, 4, 17}, {33, 3, 3, 17}, {.padding = {2, 0}}},
                                         {{2, 3, 5, 16}, {16, 3, 3, 16}, {.padding = {3, 5}}},
                                         {{2, 1, 1, 130}, {257, 3, 3, 130}, {.padding = 1}},   // parts
                                         {{40, 9, 9, 40}, {80, 3, 3, 40}, {.padding = 1}}}) {  // slots
    SCOPED_TRACE(c.text());
    expect_exact(c, {{ConvAlgorithm::winograd, kWinograd}, {ConvAlgorithm::winograd2, kExact}});
  }
}

// So many channels that the transformed weights are cut up, and all tiles are one block.
TEST(ConvAlgorithms, WinogradWithWideWeights) {
  for (const Case& c : std::vector<Case>{{{2, 2, 3, 450}, {441, 3, 3, 450}, {.padding = 1}},
                                         {{3, 9, 10, 450}, {461, 3, 3, 450}, {}},
                                         {{5, 7, 7, 520}, {512, 3, 3, 520}, {.padding = 1}}}) {
    SCOPED_TRACE(c.text());
    // Rounding errors grow with the root of the number of channels that are summed; elsewhere here that is 64.
    const double more = std::sqrt(static_cast<double>(c.x[3]) / 64);
    expect_exact(c, {{ConvAlgorithm::winograd, more * kWinograd}, {ConvAlgorithm::winograd2, more * kExact}}, false);
  }
}

// Tiles that the edges cut leave products out. What is in memory in their place has no part in the results, nor in
// the choice of how these are computed.
TEST(ConvAlgorithms, WinogradReadsNothingThatItLeavesOut) {
  for (int64_t height : {5, 6, 7})
    for (int64_t width : {4, 9, 14, 15})
      for (int64_t channels : {16, 40}) {
        const Case c = {{3, height, width, channels}, {24, 3, 3, channels}, {.padding = 1}};
        for (ConvAlgorithm algorithm : {ConvAlgorithm::winograd, ConvAlgorithm::winograd2}) {
          const std::vector<Tensor> want = run(c, algorithm, f32, false), got = run(c, algorithm);
          for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(same_bits(got[i], want[i])) << c.text() << " " << i;
        }
      }
}

// An infinity or a NaN, in x or in dy, reaches the outputs and the elements of dx whose windows hold it, and no others
// of its tile; their places are those that the plain loops give.
TEST(ConvAlgorithms, WinogradKeepsABadPixelToItsWindows) {
  for (const auto& [height, width, channels] :
       {std::array<int64_t, 3>{9, 11, 5}, {9, 11, 40}, {6, 7, 16}, {10, 5, 16}}) {
    const Shape shape = {2, height, width, channels}, weight = {channels + 9, 3, 3, channels},
                output = shape.with(3, channels + 9);
    const Tensor w = random(weight, 2).to(f32);
    const auto run_with = [&](const Tensor& x, const Tensor& dy, ConvAlgorithm algorithm) {
      Tensor leaf = x.clone();
      leaf.set_requires_grad();
      leaf.set_grad(ones(shape));
      Tape tape;
      const Tensor y = conv2d(leaf, w, {}, {.padding = 1, .algorithm = algorithm});
      tape.backward(y, {.seed = dy});
      return std::vector{y.detach(), leaf.grad()};
    };
    for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
      for (int64_t place = 0; place < height * width; place += 5) {
        const Tensor x = random(shape, 1).to(f32), dy = random(output, 3).to(f32);
        x.mutable_data<float>()[place * channels + place % channels] = static_cast<float>(bad);
        dy.mutable_data<float>()[place * (channels + 9) + place % channels] = static_cast<float>(bad);
        const std::vector<Tensor> want = run_with(x, dy, ConvAlgorithm::direct);
        for (ConvAlgorithm algorithm : {ConvAlgorithm::winograd, ConvAlgorithm::winograd2}) {
          const std::vector<Tensor> got = run_with(x, dy, algorithm);
          EXPECT_TRUE(close(got[0], want[0], 1e-5)) << place;
          EXPECT_TRUE(close(got[1], want[1], 1e-5)) << place;
        }
      }
  }
}

// A finite pixel that the transforms make infinite is no other case: what its windows make of it is finite.
TEST(ConvAlgorithms, WinogradTakesPixelsOfAnySize) {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{3, 3}, {3, 4}, {7, 6}, {5, 9}, {4, 8}, {2, 1}})
    for (float large : {9e37F, -3e38F})
      for (int64_t place = 0; place < height * width; ++place) {
        const Tensor x = random({1, height, width, 5}, 1).to(f32), w = random({7, 3, 3, 5}, 2).to(f32) * 0.05;
        x.mutable_data<float>()[place * 5 + place % 5] = large;
        const Tensor want = conv2d(x, w, {}, {.padding = 1, .algorithm = ConvAlgorithm::direct});
        ASSERT_TRUE(std::isfinite(max(abs(want)).item()));
        for (ConvAlgorithm algorithm : {ConvAlgorithm::winograd, ConvAlgorithm::winograd2}) {
          const Tensor got = conv2d(x, w, {}, {.padding = 1, .algorithm = algorithm});
          EXPECT_TRUE(std::isfinite(max(abs(got)).item())) << height << " x " << width << ", pixel " << place;
        }
      }
}

TEST(ConvAlgorithms, BitsDoNotDependOnThreads) {
  const int before = num_threads();
  for (const Case& c : std::vector<Case>{{{17, 15, 16, 16}, {17, 3, 3, 16}, {.padding = 1}},
                                         {{3, 7, 5, 130}, {257, 3, 3, 130}, {.padding = 1}},
                                         {{5, 7, 7, 512}, {512, 3, 3, 512}, {.padding = 1}},
                                         {{37, 9, 9, 3}, {17, 3, 3, 3}, {.stride = 2}},
                                         {{37, 9, 9, 17}, {17, 3, 3, 1}, {.padding = 1, .groups = 17}}}) {
    for (ConvAlgorithm algorithm : {ConvAlgorithm::direct, ConvAlgorithm::winograd, ConvAlgorithm::winograd2}) {
      if (algorithm != ConvAlgorithm::direct && (c.options.groups > 1 || c.options.stride.h > 1)) continue;
      set_num_threads(1);
      const std::vector<Tensor> want = run(c, algorithm);
      set_num_threads(3);
      const std::vector<Tensor> got = run(c, algorithm);
      for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(same_bits(got[i], want[i])) << c.text() << " result " << i;
    }
  }
  set_num_threads(before);
}

// The bytes that a convolution on one thread has in use at most, beside its arguments and its result.
int64_t most_beside_result(const Tensor& x, const Tensor& w, const Conv2dOptions& options) {
  const int before = num_threads();
  set_num_threads(1);
  const int64_t held = cpu_memory().stats().bytes_in_use;
  cpu_memory().reset_peak();
  const Tensor y = conv2d(x, w, {}, options);
  set_num_threads(before);
  return cpu_memory().stats().peak_bytes - held - y.bytes();
}

// The column matrix is made a block at a time; that of a 1x1 convolution is x itself.
TEST(ConvAlgorithms, Im2colKeepsLittleOfTheColumnMatrix) {
  const Tensor x = random({8, 32, 32, 16}, 1), pointwise = random({4, 1, 1, 16}, 2), w = random({4, 3, 3, 16}, 2);
  EXPECT_LT(most_beside_result(x, pointwise, {.algorithm = ConvAlgorithm::im2col}), 1 << 14);
  EXPECT_LT(most_beside_result(x, w, {.padding = 1, .algorithm = ConvAlgorithm::im2col}), 9 * x.bytes() / 8);
}

// Transformed they would take 36 / 9 of the weight's bytes at least, all at once.
TEST(ConvAlgorithms, WinogradTransformsWideWeightsPartByPart) {
  const Tensor x = random({5, 7, 7, 520}, 1).to(f32), w = random({512, 3, 3, 520}, 2).to(f32);
  EXPECT_LT(most_beside_result(x, w, {.padding = 1, .algorithm = ConvAlgorithm::winograd}), 4 * w.bytes() / 6);
}

TEST(ConvAlgorithms, EmptyBatch) {
  const Case c = {{0, 4, 4, 2}, {3, 3, 3, 2}, {}};
  for (ConvAlgorithm algorithm : {ConvAlgorithm::direct, ConvAlgorithm::winograd, ConvAlgorithm::winograd2}) {
    const std::vector<Tensor> none = run(c, algorithm);
    EXPECT_EQ(none[0].shape(), (Shape{0, 2, 2, 3}));
    EXPECT_TRUE(same_bits(none[2], random(c.w, 4).to(f32)));  // nothing was added
  }
}

TEST(ConvAlgorithms, RejectWhatTheyCannotDo) {
  const auto call = [](const Case& c, ConvAlgorithm algorithm, DType dtype = f32) {
    return [=] { run(c, algorithm, dtype); };
  };
  const Case plain = {{2, 6, 6, 4}, {4, 3, 3, 4}, {}}, strided = {{2, 6, 6, 4}, {4, 3, 3, 4}, {.stride = 2}};
  expect_error(call(strided, ConvAlgorithm::winograd),
               "[conv2d] the winograd algorithm cannot do stride [2, 2], dilation [1, 1], groups 1 in f32: "
               "input [2, 6, 6, 4], weight [4, 3, 3, 4]");
  expect_error(call({{2, 6, 6, 4}, {4, 3, 3, 4}, {.dilation = {1, 2}}}, ConvAlgorithm::winograd2),
               "the winograd2 algorithm cannot do stride [1, 1], dilation [1, 2]");
  expect_error(call({{2, 6, 6, 4}, {4, 3, 3, 2}, {.groups = 2}}, ConvAlgorithm::winograd), "groups 2 in f32");
  expect_error(call({{2, 6, 6, 4}, {4, 3, 1, 4}, {}}, ConvAlgorithm::winograd), "weight [4, 3, 1, 4]");
  expect_error(call(plain, ConvAlgorithm::winograd, f64), "groups 1 in f64");
  expect_error(call(plain, ConvAlgorithm::direct, f64), "the direct algorithm cannot do");
  expect_error(call({{2, 6, 6, 4}, {4, 3, 3, 2}, {.groups = 2}}, ConvAlgorithm::direct), "groups 2 in f32");
}

// Sets $NORMA_CONV for as long as it lives.
struct Environment {
  explicit Environment(const char* value) {
    if (const char* text = std::getenv(name)) before = text;
    setenv(name, value, 1);
  }
  ~Environment() { setenv(name, before.c_str(), 1); }  // the empty string is as good as none
  const char* name = "NORMA_CONV";
  std::string before;
};

// The levels that this build and this CPU have agree; those above are refused.
TEST(ConvAlgorithms, AgreeAtEverySimdLevel) {
  const char* names[] = {"base", "avx2", "avx512"};
  const cpu::SimdLevel before = cpu::simd_level();
  const Case plain = {{2, 9, 7, 21}, {37, 3, 3, 21}, {.padding = 1}};
  const Case strided = {{2, 9, 7, 21}, {37, 3, 3, 21}, {.stride = 2, .padding = 1}};
  const Case depthwise = {{2, 9, 7, 21}, {21, 3, 3, 1}, {.padding = 1, .groups = 21}};
  for (const char* name : names) {
    SCOPED_TRACE(name);
    try {
      cpu::set_simd_level(cpu::simd_level(name));
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("this CPU or this build goes up to"), std::string::npos) << error.what();
      continue;
    }
    EXPECT_EQ(names[static_cast<size_t>(cpu::simd_level())], std::string(name));
    expect_exact(
        plain,
        {{ConvAlgorithm::direct, kExact}, {ConvAlgorithm::winograd, kWinograd}, {ConvAlgorithm::winograd2, kExact}});
    expect_exact(strided, {{ConvAlgorithm::direct, kExact}});
    expect_exact(depthwise, {{ConvAlgorithm::direct, kExact}});
  }
  cpu::set_simd_level(before);
}

TEST(ConvAlgorithms, EnvironmentNamesOne) {
  const Case c = {{8, 12, 12, 16}, {16, 3, 3, 16}, {.padding = 1}};
  const std::pair<const char*, ConvAlgorithm> names[] = {{"im2col", ConvAlgorithm::im2col},
                                                         {"direct", ConvAlgorithm::direct},
                                                         {"winograd", ConvAlgorithm::winograd},
                                                         {"winograd2", ConvAlgorithm::winograd2}};
  for (const auto& [name, algorithm] : names) {
    const std::vector<Tensor> want = run(c, algorithm);
    const Environment environment(name);
    EXPECT_TRUE(same_bits(run(c, ConvAlgorithm::automatic)[2], want[2])) << name;
    EXPECT_TRUE(same_bits(run(c, ConvAlgorithm::winograd)[2], run(c, ConvAlgorithm::winograd)[2]));
  }
  // Their sums for dw differ in their bits: the above would have seen another in its place.
  for (const auto& [name, algorithm] : names)
    for (const auto& [other, differs] : names)
      EXPECT_EQ(algorithm == differs, same_bits(run(c, algorithm)[2], run(c, differs)[2])) << name << " " << other;
}

TEST(ConvAlgorithms, EnvironmentYields) {
  const Case plain = {{2, 8, 8, 16}, {16, 3, 3, 16}, {.padding = 1}};
  const Case strided = {{2, 8, 8, 16}, {16, 3, 3, 16}, {.stride = 2, .padding = 1}};
  const Tensor want = run(strided, ConvAlgorithm::automatic)[0], chosen = run(plain, ConvAlgorithm::im2col)[0];
  {
    const Environment environment("winograd");
    EXPECT_TRUE(same_bits(run(strided, ConvAlgorithm::automatic)[0], want));  // to what it cannot do
    EXPECT_TRUE(same_bits(run(plain, ConvAlgorithm::im2col)[0], chosen));     // to the options
  }
  const Environment environment("fastest");
  expect_error([&] { run(plain, ConvAlgorithm::automatic); },
               "[conv2d] NORMA_CONV is 'fastest', wants one of automatic, im2col, direct, winograd, winograd2");
}

// What `automatic` picks, seen by its bits.
TEST(ConvAlgorithms, AutomaticPicksByShape) {
  using enum ConvAlgorithm;
  const auto picks = [](const Shape& x, const Shape& weight, const Conv2dOptions& options) {
    const Tensor in = random(x, 1).to(f32), w = random(weight, 2).to(f32);
    const auto by = [&](ConvAlgorithm algorithm) {
      Conv2dOptions with = options;
      with.algorithm = algorithm;
      return conv2d(in, w, {}, with);
    };
    const Tensor picked = by(automatic);
    const bool three = weight[1] == 3 && options.stride == Pair(1);  // what Winograd can do
    for (const ConvAlgorithm algorithm : {winograd, winograd2, direct})
      if ((three || algorithm == direct) && same_bits(picked, by(algorithm))) return algorithm;
    return im2col;
  };
  EXPECT_EQ(picks({4, 32, 32, 16}, {16, 3, 3, 16}, {.padding = 1}), winograd);
  EXPECT_EQ(picks({64, 6, 6, 32}, {32, 3, 3, 32}, {.padding = 1}), winograd2);  // 4 x 4 tiles would waste more
  EXPECT_EQ(picks({1, 8, 8, 64}, {64, 3, 3, 64}, {.padding = 1}), winograd);
  EXPECT_EQ(picks({1, 4, 4, 64}, {64, 3, 3, 64}, {.padding = 1}), winograd2);
  EXPECT_EQ(picks({1, 8, 8, 136}, {136, 3, 3, 136}, {.padding = 1}), direct);  // too few tiles for as many weights
  EXPECT_EQ(picks({1, 4, 4, 128}, {64, 3, 3, 128}, {.padding = 1}), im2col);
  EXPECT_EQ(picks({1, 2, 2, 16}, {16, 3, 3, 16}, {.padding = 1}), im2col);
  EXPECT_EQ(picks({4, 32, 32, 8}, {16, 3, 3, 8}, {.padding = 1}), direct);  // too few channels
  EXPECT_EQ(picks({4, 32, 32, 16}, {16, 3, 3, 16}, {.stride = 2, .padding = 1}), direct);
  EXPECT_EQ(picks({4, 32, 32, 16}, {16, 5, 5, 16}, {.padding = 2}), direct);
}

}  // namespace
}  // namespace norma
