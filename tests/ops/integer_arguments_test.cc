// Every op's integer arguments, fuzzed; and the sizes that do not fit into an int64_t, one by one.
#include "tests/integers.h"

namespace norma {
namespace {

using namespace norma::test;

Tensor leaf(const Shape& shape, DType dtype = f64) {
  Tensor x = ones(shape, dtype, test_device());
  x.set_requires_grad();
  return x;
}

// Images, most of them of some pixels, in f32 or f64.
Tensor images(Integers& draw) {
  constexpr int64_t kSizes[][4] = {{2, 5, 6, 4}, {1, 3, 3, 1}, {0, 4, 5, 2}, {1, 1, 1, 3}, {3, 9, 2, 16}, {2, 0, 3, 2}};
  const auto& size = kSizes[draw.below(std::ssize(kSizes))];
  return leaf({size[0], size[1], size[2], size[3]}, draw.below(2) ? f32 : f64);
}

Tensor labels_of(int64_t n) { return there(zeros({n}, i64)); }

Conv2dOptions conv_options(Integers& draw, bool plain) {
  if (plain) return {.padding = draw.mostly_pair(1)};
  Padding2d padding(draw.mostly(1), draw.mostly(0), draw.mostly(1), draw.mostly(2));
  if (draw.below(4) == 0) padding = Padding2d::same();
  return {.stride = draw.mostly_pair(2),
          .padding = padding,
          .dilation = draw.mostly_pair(1),
          .groups = draw.mostly(1),
          .padding_mode = static_cast<PadMode>(draw.below(8) == 0 ? draw.below(4) : 0)};
}

Grouping grouping(Integers& draw) {
  Grouping g;
  switch (draw.below(6)) {
    case 0: g = chunks(draw()); break;
    case 1: g = labels(labels_of(2), draw.mostly(2)); break;
    case 2: g = groups(draw()); break;
    case 3: g.samples = {Samples::Kind::chunks, draw()}; break;
    case 4: g.samples = {Samples::Kind::labels, draw(), zeros({2}, i64)}; break;
    default: g.channels.count = draw();
  }
  if (draw.below(4) == 0) g.positions = Positions::each;
  return g;
}

const std::vector<IntegerCall> kShapeCalls = {
    {"empty", [](Integers& draw) { return std::vector{full(draw.shape(), 1, f64, test_device())}; }},
    {"arange", [](Integers& draw) { return std::vector{arange(draw())}; }},
    {"arange", [](Integers& draw) { return std::vector{arange(draw(), draw(), draw.mostly(1))}; }},
    {"linspace", [](Integers& draw) { return std::vector{linspace(0, 1, draw())}; }},
    {"eye", [](Integers& draw) { return std::vector{eye(draw())}; }},
    {"select",
     [](Integers& draw) {
       return std::vector{select(leaf({5, 4}), draw(), draw())};
     }},
    {"flip",
     [](Integers& draw) {
       return std::vector{flip(leaf({0, 5, 4}), draw())};
     }},
    {"tensor",
     [](Integers& draw) {
       return std::vector{tensor({1.0, 2.0, 3.0, 4.0}, draw.shape())};
     }},
    {"reshape",
     [](Integers& draw) {
       return std::vector{reshape(leaf({2, 3, 4}), {draw(), draw(), draw.mostly(4)})};
     }},
    {"reshape of nothing",
     [](Integers& draw) {
       return std::vector{reshape(leaf({0, 3}), {draw.mostly(0), draw(), draw()})};
     }},
    {"flatten",
     [](Integers& draw) {
       return std::vector{flatten(leaf({draw.mostly(2), 3, 2}))};
     }},
    {"permute",
     [](Integers& draw) {
       return std::vector{permute(leaf({2, 3}), {draw.mostly(1), draw.mostly(0)})};
     }},
    {"transpose",
     [](Integers& draw) {
       return std::vector{transpose(leaf({2, 3, 4}), draw(), draw())};
     }},
    {"slice",
     [](Integers& draw) {
       return std::vector{slice(leaf({5, 4}), draw(), draw.mostly(1), draw(), draw.mostly(2))};
     }},
    {"split",
     [](Integers& draw) {
       return split(leaf({5, 4}), {draw.mostly(2), draw.mostly(2)}, draw.mostly(1));
     }},
    {"chunk",
     [](Integers& draw) {
       return chunk(leaf({5, 0}), draw(), draw.mostly(1));
     }},
    {"roll",
     [](Integers& draw) {
       return std::vector{roll(leaf({5, 4}), draw(), draw.mostly(1))};
     }},
    {"tile",
     [](Integers& draw) {
       return std::vector{tile(leaf({2, 0, 3}), {draw.mostly(1), draw(), draw.mostly(2)})};
     }},
    {"view::slice",
     [](Integers& draw) {
       const Tensor x = view::slice(leaf({0, 5, 4}), draw.mostly(1), draw.mostly(0), draw.mostly(4), draw.mostly(1));
       return std::vector{view::slice(x, draw.mostly(1), draw(), draw(), draw.mostly(1))};
     }},
    {"expand",
     [](Integers& draw) {
       return std::vector{expand(leaf({1, 3}), {draw(), draw.mostly(2), draw.mostly(3)})};
     }},
    {"squeeze",
     [](Integers& draw) {
       return std::vector{squeeze(leaf({1, 3, 1}), draw())};
     }},
    {"unsqueeze",
     [](Integers& draw) {
       return std::vector{unsqueeze(leaf({2, 3}), draw())};
     }},
    {"concat",
     [](Integers& draw) {
       return std::vector{concat({leaf({2, 3}), leaf({2, 3})}, draw())};
     }},
    {"pad",
     [](Integers& draw) {
       return std::vector{pad(leaf({2, 3}), {{draw(), draw()}, {draw(), draw()}})};
     }},
    {"gather",
     [](Integers& draw) {
       return std::vector{gather(leaf({2, 3}), draw(), there(tensor({draw.mostly(0), draw.mostly(1)}, {2, 1})))};
     }},
    {"index_select",
     [](Integers& draw) {
       return std::vector{index_select(leaf({2, 3}), draw(), there(tensor({draw.mostly(0), draw.mostly(1)})))};
     }},
    {"one_hot",
     [](Integers& draw) {
       return std::vector{one_hot(there(tensor({draw.mostly(0), draw.mostly(2)})), draw())};
     }},
    {"at",
     [](Integers& draw) {
       return std::vector{scalar(leaf({2, 3}).at({draw(), draw()}))};
     }},
    {"dim",
     [](Integers& draw) {
       return std::vector{scalar(static_cast<double>(leaf({2, 3}).dim(draw())))};
     }},
    {"view", [](Integers& draw) {
       return std::vector{Tensor(leaf({2, 3}).storage(), {draw(), draw()}, {draw(), draw()}, draw(), f64)};
     }}};

const std::vector<IntegerCall> kReductionCalls = {
    {"sum",
     [](Integers& draw) {
       return std::vector{sum(leaf({2, 3, 4}), {draw(), draw()}, draw.below(2))};
     }},
    {"mean",
     [](Integers& draw) {
       return std::vector{mean(leaf({2, 3, 4}), {draw()}, draw.below(2))};
     }},
    {"max",
     [](Integers& draw) {
       return std::vector{max(leaf({2, 3, 4}), {draw()})};
     }},
    {"min",
     [](Integers& draw) {
       return std::vector{min(leaf({2, 3, 4}), {draw()})};
     }},
    {"var",
     [](Integers& draw) {
       return std::vector{var(leaf({2, 9}), {draw.mostly(1)}, draw())};
     }},
    {"logsumexp",
     [](Integers& draw) {
       return std::vector{logsumexp(leaf({2, 3, 4}), {draw()})};
     }},
    {"argmax",
     [](Integers& draw) {
       return std::vector{argmax(leaf({2, 3, 4}), draw())};
     }},
    {"prod",
     [](Integers& draw) {
       return std::vector{prod(leaf({2, 3, 4}), {draw(), draw()}, draw.below(2))};
     }},
    {"stddev",
     [](Integers& draw) {
       return std::vector{stddev(leaf({2, 9}), {draw.mostly(1)}, draw())};
     }},
    {"cumsum",
     [](Integers& draw) {
       return std::vector{cumsum(leaf({2, 3, 4}), draw())};
     }},
    {"topk",
     [](Integers& draw) {
       const TopK top = topk(leaf({2, 3, 4}), draw.mostly(2), draw(), draw.below(2));
       return std::vector{top.values, top.indices};
     }},
    {"softmax",
     [](Integers& draw) {
       return std::vector{softmax(leaf({2, 3, 4}), draw())};
     }},
    {"log_softmax",
     [](Integers& draw) {
       return std::vector{log_softmax(leaf({2, 3, 4}), draw())};
     }},
    {"sum_to",
     [](Integers& draw) {
       return std::vector{sum_to(leaf({2, 3}), {draw(), draw.mostly(3)})};
     }},
    {"cross_entropy",
     [](Integers& draw) {
       const Tensor picks = there(tensor({draw.mostly(0), draw.mostly(2)}));
       return std::vector{cross_entropy(leaf({2, 3}), picks, {.ignore_index = draw()})};
     }},
    {"matmul", [](Integers& draw) {
       const int64_t n = draw.mostly(3);
       return std::vector{matmul(leaf({draw.mostly(0), draw.mostly(2), n}), leaf({n, draw.mostly(2)}))};
     }}};

const std::vector<IntegerCall> kImageCalls = {
    {"conv2d",
     [](Integers& draw) {
       const Tensor x = images(draw), w = leaf({4, draw.mostly(3), draw.mostly(2), x.dim(3)}, x.dtype());
       return std::vector{conv2d(x, w, draw.below(2) ? leaf({4}, x.dtype()) : Tensor(), conv_options(draw, false))};
     }},
    {"conv2d 3x3",
     [](Integers& draw) {
       const Tensor x = images(draw), w = leaf({16, 3, 3, x.dim(3)}, x.dtype());
       Conv2dOptions options = conv_options(draw, true);
       options.algorithm = static_cast<ConvAlgorithm>(draw.below(5));
       return std::vector{conv2d(x, w, {}, options)};
     }},
    {"depthwise",
     [](Integers& draw) {
       const Tensor x = leaf({2, 5, 6, 16}, f32), w = leaf({16, 3, 2, 1}, f32);
       Conv2dOptions options = conv_options(draw, false);
       options.groups = draw.mostly(16);
       return std::vector{conv2d(x, w, {}, options)};
     }},
    {"conv2d of a wide weight",
     [](Integers& draw) {
       return std::vector{conv2d(leaf({1, 2, 2, 1}), expand(leaf({1, 1, 1, 1}), {1, 1LL << draw.below(46), 1, 1}), {},
                                 conv_options(draw, false))};
     }},
    {"conv_transpose2d",
     [](Integers& draw) {
       const Tensor x = images(draw), w = leaf({x.dim(3), draw.mostly(3), draw.mostly(2), 4}, x.dtype());
       return std::vector{conv_transpose2d(x, w, {},
                                           {.stride = draw.mostly_pair(2),
                                            .padding = draw.mostly_pair(1),
                                            .output_padding = draw.mostly_pair(1),
                                            .dilation = draw.mostly_pair(1),
                                            .groups = draw.mostly(1)})};
     }},
    {"conv2d_norm",
     [](Integers& draw) {
       const Tensor x = ones({2, 6, 5, 3}, f32, test_device()), w = ones({16, 3, 3, 3}, f32, test_device());
       const Tensor mean = zeros({16}, f64, test_device()), var = ones({16}, f64, test_device());
       return std::vector{conv2d_norm(x, w, {}, conv_options(draw, false), whole(), Statistics::given(mean, var), {},
                                      {}, {.normalized_channels = draw.mostly(-1)}, draw.mostly_pair(2))};
     }},
    {"max_pool2d",
     [](Integers& draw) {
       return std::vector{
           max_pool2d(images(draw),
                      {.kernel = draw.mostly_pair(2), .stride = draw.mostly_pair(1), .padding = draw.mostly_pair(1)})};
     }},
    {"max_pool2d by kernel",
     [](Integers& draw) { return std::vector{max_pool2d(images(draw), {.kernel = draw.pair()})}; }},
    {"avg_pool2d",
     [](Integers& draw) {
       const Pair kernel = draw.mostly_pair(2);
       return std::vector{avg_pool2d(images(draw), {.kernel = kernel,
                                                    .stride = draw.mostly_pair(1),
                                                    .padding = {draw.mostly(kernel.h / 2), draw.mostly(kernel.w / 2),
                                                                draw.mostly(0), draw.mostly(1)},
                                                    .dilation = draw.mostly_pair(1),
                                                    .ceil_mode = draw.below(2) == 0,
                                                    .count_include_pad = draw.below(2) == 0})};
     }},
    {"padded max_pool2d",
     [](Integers& draw) {
       const Pair kernel = draw.mostly_pair(3);
       return std::vector{max_pool2d(
           images(draw), {.kernel = kernel, .stride = draw.mostly_pair(1), .padding = {kernel.h / 2, kernel.w / 2}})};
     }},
    {"global_avg_pool",
     [](Integers& draw) {
       return std::vector{global_avg_pool(leaf({1, draw.mostly(2), draw.mostly(3), 2}))};
     }},
    {"interpolate",
     [](Integers& draw) {
       const InterpolateOptions options{.mode = static_cast<Interpolation>(draw.below(2))};
       return std::vector{interpolate(images(draw), draw.mostly_pair(2), options),
                          interpolate(images(draw), Scale(draw.mostly_pair(2)), options)};
     }},
    {"adaptive_avg_pool2d",
     [](Integers& draw) { return std::vector{adaptive_avg_pool2d(images(draw), draw.mostly_pair(2))}; }},
    {"pixel_shuffle",
     [](Integers& draw) {
       const Tensor x = leaf({1, draw.mostly(2), 2, draw.mostly(4)});
       return std::vector{pixel_shuffle(x, draw.mostly(2)), pixel_unshuffle(x, draw.mostly(2))};
     }},
    {"pad with copies",
     [](Integers& draw) {
       return std::vector{pad(leaf({3, 2}), {{draw.mostly(1), draw.mostly(1)}, {0, draw.mostly(1)}},
                              static_cast<PadMode>(draw.below(4)))};
     }},
    {"norm",
     [](Integers& draw) {
       return std::vector{
           norm(leaf({2, 3, 3, 4}), grouping(draw), {}, {}, {}, {.normalized_channels = draw.mostly(-1)})};
     }},
    {"norm of rows",
     [](Integers& draw) {
       return std::vector{norm(leaf({draw.mostly(6), 4}), grouping(draw), {}, {}, {})};
     }},
    {"norm_max_pool",
     [](Integers& draw) {
       return std::vector{norm_max_pool(leaf({2, 4, 4, 16}), grouping(draw), {}, {}, {},
                                        {.kernel = draw.mostly_pair(2), .stride = draw.mostly_pair(2)})};
     }},
    {"moments",
     [](Integers& draw) {
       const Moments m = moments(leaf({2, 3, 4}), grouping(draw));
       return std::vector{m.mean, m.var(draw())};
     }},
    {"dropout", [](Integers& draw) {
       return std::vector{dropout(leaf({draw.mostly(3), 2}), 0.5)};
     }}};

const std::vector<IntegerCall> kRandomCalls = {
    {"rand", [](Integers& draw) { return std::vector{rand(draw.shape())}; }},
    {"permutation",
     [](Integers& draw) {
       const std::vector<int64_t> order = Generator(1).permutation(draw());
       return std::vector{tensor(order, {std::ssize(order)})};
     }},
    {"below", [](Integers& draw) { return std::vector{scalar(static_cast<double>(Generator(1).below(draw())))}; }},
    {"reserve",
     [](Integers& draw) { return std::vector{scalar(static_cast<double>(Generator(1).reserve(draw()).position))}; }}};

TEST(IntegerArguments, OfShapes) { fuzz_integers(kShapeCalls, 4000); }
TEST(IntegerArguments, OfReductions) { fuzz_integers(kReductionCalls, 2000); }
TEST(IntegerArguments, OfImages) { fuzz_integers(kImageCalls, 3000); }
TEST(IntegerArguments, OfRandomNumbers) { fuzz_integers(kRandomCalls, 1000); }

constexpr int64_t kMost = INT64_MAX;

TEST(IntegerArguments, ConvolutionsRefuseWhatOverflows) {
  const Tensor x = leaf({1, 4, 4, 2}), w = leaf({2, 3, 3, 2});
  const auto conv = [&](const Conv2dOptions& options) { return [=] { conv2d(x, w, {}, options); }; };
  for (int64_t size : {kMost, int64_t{1} << 62, int64_t{1} << 31}) {
    expect_error(conv({.stride = {1, size}}), fmt::format("[conv2d] stride [1, {}]: wants at most 2147483647", size));
    expect_error(conv({.padding = {size, 0}}), "[conv2d] padding");
    expect_error(conv({.dilation = size}), "[conv2d] dilation");
    expect_error(conv({.groups = size}), "[conv2d] input has 2 channels");
    expect_error([&] { conv_transpose2d(x, w, {}, {.stride = size}); }, "[conv_transpose2d] stride");
    expect_error([&] { conv_transpose2d(x, w, {}, {.dilation = size}); }, "[conv_transpose2d] dilation");
    expect_error([&] { conv_transpose2d(x, w, {}, {.output_padding = size}); }, "[conv_transpose2d] output_padding");
  }
  expect_error(conv({.dilation = kMaxStep}), "[conv2d] kernel of weight [2, 3, 3, 2] with dilation");
  expect_error(conv({.padding = kMaxStep}), "is too large");
  EXPECT_EQ(conv2d(x, w, {}, {.stride = kMaxStep}).shape(), (Shape{1, 1, 1, 2}));
  EXPECT_EQ(conv2d(x, leaf({2, 1, 1, 2}), {}, {.dilation = kMaxStep}).shape(), (Shape{1, 4, 4, 2}));
  const Tensor tall = expand(leaf({2, 1, 1, 2}), {2, int64_t{1} << 43, 1, 2});
  expect_error([&] { conv2d(x, tall, {}, {.dilation = kMaxStep}); }, "is larger than input");
  expect_error([&] { conv_transpose2d(x, tall, {}, {.dilation = kMaxStep}); }, "too large an output");
  expect_error([&] { conv_transpose2d(x, w, {}, {.stride = kMaxStep}); }, "[tensor] shape");
}

TEST(IntegerArguments, PoolsRefuseWhatOverflows) {
  const Tensor x = leaf({1, 4, 4, 2});
  const int64_t huge = int64_t{1} << 32;
  for (int64_t size : {huge, kMost}) {
    expect_error([&] { max_pool2d(x, {.kernel = size}); }, "[max_pool2d] kernel");
    expect_error([&] { max_pool2d(x, {.kernel = size, .padding = size / 2}); }, "[max_pool2d] kernel");
    expect_error([&] { max_pool2d(x, {.kernel = 2, .padding = size}); }, "[max_pool2d] padding");
    expect_error([&] { max_pool2d(x, {.kernel = 2, .padding = Padding2d::same(), .dilation = size}); },
                 "[max_pool2d] dilation");
    expect_error([&] { avg_pool2d(x, {.kernel = 2, .stride = size}); }, "[avg_pool2d] stride");
    expect_error([&] { interpolate(x, Pair(size)); }, "[interpolate] output size");
    expect_error([&] { interpolate(x, Scale(Pair(size))); }, "[interpolate] output size");
  }
  expect_error([&] { max_pool2d(x, {.kernel = kMaxStep, .padding = kMaxStep / 2}); }, "more than 2^32 elements");
  expect_error([&] { interpolate(x, Pair(kMaxStep)); }, "is too large");
  // A window may reach far beyond the image: what it takes is of the image's size.
  EXPECT_EQ(max_pool2d(x, {.kernel = {1 << 30, 2}, .stride = Pair(kMaxStep, 2), .padding = {1 << 29, 0}}).shape(),
            (Shape{1, 1, 2, 2}));
}

TEST(IntegerArguments, ShapesRefuseWhatOverflows) {
  const int64_t huge = int64_t{1} << 62;
  for (const Shape& shape : {Shape{huge, 8}, {8, huge}, {0, huge, 8}, {kMost}, {int64_t{1} << 46}}) {
    expect_error([&] { empty(shape); }, "[tensor] shape");
    expect_error([&] { zeros(shape, u8, test_device()); }, "[tensor] shape");
  }
  expect_error([&] { reshape(leaf({0}), {0, huge, 8}); }, "is too large");
  expect_error([&] { reshape(leaf({4}), {-1, huge, 8}); }, "more elements than can be counted");
  expect_error([&] { expand(leaf({1, 1}), {huge, 8}); }, "is too large");
  expect_error([&] { pad(leaf({2}), {{kMost, kMost}}); }, "is too large");
  expect_error([&] { var(leaf({4}), {}, kMost); }, "[var] 4 elements to reduce");
  const Tensor none = leaf({0, 1 << 22, 1 << 22});
  EXPECT_EQ(matmul(none, none).numel(), 0);
  expect_error([&] { view::slice(none, int64_t{1} << 32, 0, 0); }, "axis 4294967296");
  expect_error([&] { none.dim(int64_t{1} << 32); }, "axis 4294967296");
}

TEST(IntegerArguments, GroupingsTakeAsManyAsYouLike) {
  const Tensor x = random({6, 2, 2, 4});
  EXPECT_TRUE(same_bits(norm(x, chunks(kMost), {}, {}, {}), norm(x, whole(), {}, {}, {})));
  expect_error([&] { norm(x, labels(labels_of(6), kMost), {}, {}, {}); }, "[norm] 9223372036854775807 labels");
  cpu_memory().set_limit(int64_t{1} << 30);  // the address sanitizer ends the program where the system would say no
  expect_error([&] { norm(x, labels(labels_of(6), int64_t{1} << 45), {}, {}, {}); },
               sizeof(size_t) == 8 ? "[memory] cannot allocate" : "more sets than can be counted");
  cpu_memory().set_limit(INT64_MAX);
  expect_error([&] { norm(x, groups(kMost), {}, {}, {}); }, "4 channels do not divide into 9223372036854775807 groups");
  expect_error([&] { norm(x, {.channels = {-2}}, {}, {}, {}); }, "do not divide into -2 groups");
  expect_error([&] { norm(x, {.samples = {Samples::Kind::chunks, 0}}, {}, {}, {}); }, "[norm] 0 chunks");
  expect_error([] { Generator(1).permutation(-1); }, "[permutation] of -1 numbers");
  expect_error([] { Generator(1).permutation(kMost); }, "is too large");
}

}  // namespace
}  // namespace norma
