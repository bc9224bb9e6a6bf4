// The probe's cases of images: convolutions by every algorithm, pooling, upsampling.
#include "probe.h"

namespace probe {
namespace {

struct Case {
  Shape x;  // [N, H, W, C]
  int64_t filters;
  Pair kernel;
  Pair stride = 1, padding = 0, dilation = 1;
  int64_t groups = 1;
  bool large = false;  // in f32, and without views
};

std::string name_of_pair(Pair p) { return fmt::format("{}x{}", p.h, p.w); }
std::string name_of_case(const Case& c) {
  return fmt::format("{} {} filters of {}, stride {}, padding {}, dilation {}, groups {}", c.x, c.filters,
                     name_of_pair(c.kernel), name_of_pair(c.stride), name_of_pair(c.padding), name_of_pair(c.dilation),
                     c.groups);
}

const std::vector<Case> kCases = {
    {{2, 7, 9, 5}, 6, 3, 1, 1},
    {{2, 8, 8, 16}, 16, 3, 1, 1},
    {{1, 4, 4, 3}, 8, 3, 1, 0},
    {{3, 5, 6, 1}, 4, 3, 1, 1},
    {{2, 9, 7, 17}, 33, 3, 1, 1},
    {{2, 6, 6, 32}, 48, 3, 1, {1, 0}},
    {{2, 11, 10, 4}, 6, 3, 2, 1},
    {{2, 11, 10, 4}, 6, 3, {2, 3}, {1, 2}},
    {{2, 9, 9, 8}, 12, 1, 1, 0},
    {{2, 9, 8, 8}, 12, 1, 2, 0},
    {{1, 13, 12, 3}, 10, 7, 2, 3},
    {{2, 8, 9, 6}, 4, {1, 5}, 1, {0, 2}},
    {{2, 8, 9, 6}, 4, {5, 2}, 1, {2, 1}},
    {{2, 10, 10, 4}, 8, 3, 1, 2, 2},
    {{1, 12, 9, 4}, 8, 3, {2, 1}, 1, {1, 2}},
    {{2, 7, 8, 12}, 18, 3, 1, 1, 1, 3},
    {{2, 7, 8, 12}, 12, 3, 1, 1, 1, 12},
    {{2, 9, 8, 32}, 32, 3, 2, 1, 1, 32},
    {{2, 9, 8, 7}, 7, 5, 1, 2, 1, 7},
    {{2, 6, 6, 8}, 16, 3, 1, 1, 1, 8},
    {{0, 6, 6, 4}, 4, 3, 1, 1},
    {{16, 32, 32, 16}, 16, 3, 1, 1, 1, 1, true},
    {{16, 32, 32, 16}, 32, 3, 2, 1, 1, 1, true},
    {{16, 8, 8, 64}, 64, 3, 1, 1, 1, 1, true},
    {{32, 28, 28, 1}, 32, 3, 1, 1, 1, 1, true},
    {{8, 14, 14, 32}, 64, 3, 1, 1, 1, 1, true},
    {{4, 16, 16, 64}, 128, 1, 2, 0, 1, 1, true},
    {{2, 28, 28, 96}, 96, 3, 1, 1, 1, 96, true},
    {{1, 8, 8, 256}, 512, 3, 1, 1, 1, 1, true},  // weights that fill the cache
    {{2, 30, 30, 3}, 64, 7, 2, 3, 1, 1, true},
};

}  // namespace

void convolutions() {
  const std::pair<const char*, ConvAlgorithm> algorithms[] = {{"automatic", ConvAlgorithm::automatic},
                                                              {"im2col", ConvAlgorithm::im2col},
                                                              {"direct", ConvAlgorithm::direct},
                                                              {"winograd", ConvAlgorithm::winograd},
                                                              {"winograd2", ConvAlgorithm::winograd2}};
  for (const Case& c : kCases) {
    const Inputs inputs = {random(c.x, 51), random({c.filters, c.kernel.h, c.kernel.w, c.x.back() / c.groups}, 52),
                           random({c.filters}, 53)};
    for (const auto& [name, algorithm] : algorithms) {
      const Conv2dOptions options = {
          .stride = c.stride, .padding = c.padding, .dilation = c.dilation, .groups = c.groups, .algorithm = algorithm};
      sweep(fmt::format("conv2d {} {}", name, name_of_case(c)),
            [&](const Inputs& in) { return conv2d(in[0], in[1], in[2], options); }, inputs, {!c.large, !c.large});
      sweep(fmt::format("conv2d without bias {} {}", name, name_of_case(c)),
            [&](const Inputs& in) { return conv2d(in[0], in[1], {}, options); }, {inputs[0], inputs[1]},
            {false, false});
    }
    // The same the other way round, from as many channels as the filters are.
    const int64_t out = c.x.back() / c.groups;
    for (Pair more : {Pair(0), Pair(std::min<int64_t>(c.stride.h - 1, 1), 0)})
      sweep(fmt::format("conv_transpose2d {} {}", name_of_pair(more), name_of_case(c)),
            [&](const Inputs& in) {
              return conv_transpose2d(in[0], in[1], in[2],
                                      {.stride = c.stride,
                                       .padding = c.padding,
                                       .output_padding = more,
                                       .dilation = c.dilation,
                                       .groups = c.groups});
            },
            {random({c.x[0], c.x[1], c.x[2], c.filters}, 54), random({c.filters, c.kernel.h, c.kernel.w, out}, 55),
             random({out * c.groups}, 56)},
            {!c.large, !c.large});
  }
}

// The mean without padding, which was an argument before it was an option.
template <class Options>
Tensor avg_pool_of_inputs(const Tensor& x, Options o) {
  if constexpr (requires { o.count_include_pad; }) {
    o.count_include_pad = false;
    return avg_pool2d(x, o);
  } else {
    return avg_pool2d(x, o, false);
  }
}

void pools() {
  struct Windows {
    Pair kernel;
    std::optional<Pair> stride{};
    Pair padding = 0;
  };
  const Windows windows[] = {{.kernel = 2},
                             {.kernel = 3},
                             {.kernel = 3, .stride = 2, .padding = 1},
                             {.kernel = {2, 3}, .stride = Pair(1, 2), .padding = {0, 1}},
                             {.kernel = 1, .stride = 2},
                             {.kernel = {5, 4}, .stride = Pair(2, 1), .padding = 2}};
  for (const Shape& shape : {Shape{2, 7, 9, 5}, Shape{3, 8, 8, 16}, Shape{2, 6, 10, 33}, Shape{1, 5, 5, 1},
                             Shape{8, 16, 16, 64}, Shape{4, 17, 20, 128}}) {
    const Tensor x = random(shape, 61), ties = integers(shape, 3, 62).to(f32);
    for (const Windows& o : windows) {
      const Pair stride = o.stride.value_or(o.kernel);
      const Pool2dOptions options{.kernel = o.kernel, .stride = o.stride, .padding = o.padding};
      const std::string name = fmt::format("{} by {}, stride {}, padding {}", shape, name_of_pair(o.kernel),
                                           name_of_pair(stride), name_of_pair(o.padding));
      sweep("max_pool2d " + name, [&](const Inputs& in) { return max_pool2d(in[0], options); }, {x});
      sweep("max_pool2d of ties " + name, [&](const Inputs& in) { return max_pool2d(in[0], options); }, {ties});
      sweep("avg_pool2d " + name, [&](const Inputs& in) { return avg_pool2d(in[0], options); }, {x});
      sweep("avg_pool2d without padding " + name, [&](const Inputs& in) { return avg_pool_of_inputs(in[0], options); },
            {x});
    }
    sweep(fmt::format("global_avg_pool {}", shape), [](const Inputs& in) { return global_avg_pool(in[0]); }, {x});
    for (Pair scale : {Pair(1), Pair(2), Pair(3, 2)})
      sweep(fmt::format("upsample_nearest {} {}", shape, name_of_pair(scale)),
            [scale](const Inputs& in) { return nn::Upsample(scale)(in[0]); }, {x});
  }
  sweep("max_pool2d by 17", [](const Inputs& in) { return max_pool2d(in[0], {.kernel = 17}); },
        {random({1, 34, 17, 3}, 63)});
}

}  // namespace probe
