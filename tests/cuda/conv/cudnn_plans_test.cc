// The plans that cuDNN makes for this library's convolutions, on devices that are described (devices/*.json) and not
// there: that cuDNN takes what cuda/conv/cudnn.cu asks, has an engine that is deterministic and, in exact mode, one
// that rounds no inputs, and wants no absurd workspace. What the plans compute is for a GPU to say.
#include <cudnn.h>
#include <gtest/gtest.h>

#include <fstream>

#include "examples/cifar/models.h"
#include "examples/denoise/unet.h"
#include "examples/mnist/model.h"
#include "norma/cuda/conv/cudnn.h"

namespace norma {
namespace {

using cuda::ConvPass;
using Geometries = std::vector<ConvGeometry>;

std::array<int64_t, 16> sizes(const ConvGeometry& g) {
  return {g.n,  g.h,        g.w,        g.c,         g.oh,        g.ow,         g.oc,         g.kh,
          g.kw, g.stride.h, g.stride.w, g.padding.h, g.padding.w, g.dilation.h, g.dilation.w, g.groups};
}

// Unless it is there.
void add(Geometries& to, const ConvGeometry& g) {
  if (std::none_of(to.begin(), to.end(), [&](const ConvGeometry& other) { return sizes(other) == sizes(g); }))
    to.push_back(g);
}

// That of the convolution whose gradient it is: this one reads what the transposed one writes.
ConvGeometry geometry_of(const nn::ConvTranspose2d& layer, const Tensor& x, const Tensor& y) {
  const ConvTranspose2dOptions& o = layer.options;
  return {.n = x.dim(0),
          .h = y.dim(1),
          .w = y.dim(2),
          .c = y.dim(3),
          .oh = x.dim(1),
          .ow = x.dim(2),
          .oc = x.dim(3),
          .kh = layer.weight.dim(1),
          .kw = layer.weight.dim(2),
          .stride = o.stride,
          .padding = o.padding,
          .dilation = o.dilation,
          .groups = o.groups};
}

// What a model's convolutions do for a batch of `batch` pictures [H, W, C].
void add_convolutions(Geometries& to, nn::Module& model, int64_t batch, const Shape& picture) {
  const nn::EvalMode evaluation(model);
  const NoGrad unrecorded;
  const nn::Observer observer([&](nn::Module& module, const Tensor& x, const Tensor& y) {
    ConvGeometry g{};
    if (auto* conv = dynamic_cast<nn::Conv2d*>(&module))
      g = conv2d_geometry(Op("conv2d"), x, conv->weight, conv->bias, conv->options);
    else if (auto* transposed = dynamic_cast<nn::ConvTranspose2d*>(&module)) g = geometry_of(*transposed, x, y);
    else return;
    g.n = batch;
    add(to, g);
  });
  model(zeros({1, picture[0], picture[1], picture[2]}));
}

// The examples' networks on the pictures they are for, each with its default batch and with another one.
Geometries geometries_of_examples() {
  const examples::NormChoice norms{false, [](int64_t channels) { return nn::BatchNorm(channels); }};
  Geometries all;
  for (const Shape& picture : {Shape{28, 28, 1}, Shape{8, 8, 1}, Shape{32, 32, 3}}) {
    examples::SmallCnn mnist(picture, 10);
    add_convolutions(all, mnist, 128, picture);
    add_convolutions(all, mnist, 96, picture);  // the last batch of 60,000 pictures
    nn::Sequential laboratory;                  // as examples/common/lab.cc has it
    int64_t in = picture[2];
    for (const int64_t out : {16, 16, 16, 32, 32, 32}) {
      laboratory.add(nn::Conv2d(in, out, 3, {.stride = in != out ? 2 : 1, .padding = 1}, {.bias = false}));
      in = out;
    }
    add_convolutions(all, laboratory, 128, picture);
    add_convolutions(all, laboratory, 1024, picture);
    examples::UNet denoise(picture[2], norms);
    add_convolutions(all, denoise, 64, picture);
  }
  for (const char* name : {"resnet20", "resnet18", "vgg11"}) {  // the deeper ones repeat the shapes of resnet20
    const std::unique_ptr<nn::Module> cifar = examples::make_model(name, 10, 3, norms);
    add_convolutions(all, *cifar, 128, {32, 32, 3});
  }
  return all;
}

struct OddShape {
  int64_t n, h, w, c, oc;
  Pair kernel, stride, padding, dilation;
  int64_t groups;
};

// What no example has: groups, depthwise, dilation, strides and paddings of two sizes or larger than the kernel,
// kernels of one pixel, of one axis, large ones and those of the size of the picture, single pictures, pixels and
// channels; and transposed convolutions, whose x is cut off for cuDNN, or padded less behind than before.
Geometries odd_geometries() {
  const OddShape shapes[] = {{4, 9, 9, 6, 12, 3, 1, 1, 1, 3},
                             {2, 14, 14, 64, 64, 3, 1, 1, 1, 2},
                             {8, 56, 56, 32, 32, 3, 1, 1, 1, 32},
                             {8, 57, 55, 24, 48, 3, 2, 1, 1, 24},
                             {8, 56, 56, 32, 32, 7, 1, 3, 1, 32},
                             {7, 13, 11, 5, 7, 3, {2, 1}, {0, 1}, {1, 2}, 1},
                             {3, 20, 30, 8, 8, 3, 1, {2, 4}, {2, 4}, 1},
                             {3, 33, 31, 6, 4, 3, {3, 2}, {5, 0}, {3, 1}, 2},
                             {2, 10, 17, 3, 5, {1, 7}, 1, {0, 3}, 1, 1},
                             {2, 10, 17, 3, 5, {5, 1}, {4, 1}, {1, 0}, 1, 1},
                             {32, 7, 7, 256, 512, 1, 1, 0, 1, 1},
                             {5, 9, 8, 7, 3, 1, 3, 0, 1, 1},
                             {8, 224, 224, 3, 64, 7, 2, 3, 1, 1},
                             {8, 224, 224, 3, 96, 4, 4, 0, 1, 1},
                             {2, 64, 64, 4, 4, 15, 1, 7, 1, 1},
                             {2, 64, 48, 3, 8, 31, 1, 15, 1, 1},
                             {16, 7, 7, 64, 10, 7, 1, 0, 1, 1},
                             {1, 3, 3, 1, 1, 3, 1, 0, 1, 1},
                             {1, 1, 1, 1, 1, 1, 1, 0, 1, 1},
                             {1, 5, 1, 1, 3, {2, 1}, 1, 3, 1, 1},
                             {1, 500, 700, 3, 3, 3, 1, 1, 1, 1},
                             {1024, 32, 32, 3, 24, 2, 1, 0, 1, 1}};
  Geometries all;
  for (const OddShape& s : shapes) {
    ConvGeometry g{.n = s.n,
                   .h = s.h,
                   .w = s.w,
                   .c = s.c,
                   .oc = s.oc,
                   .kh = s.kernel.h,
                   .kw = s.kernel.w,
                   .stride = s.stride,
                   .padding = s.padding,
                   .dilation = s.dilation,
                   .groups = s.groups};
    g.oh = g.rows().outputs(g.h), g.ow = g.columns().outputs(g.w);
    add(all, g);
  }
  for (const ConvTranspose2dOptions& options :
       {ConvTranspose2dOptions{.stride = 2, .padding = 1, .output_padding = 1},
        {.stride = {3, 2}, .output_padding = {2, 1}},
        {.stride = 4, .padding = {0, 3}, .output_padding = {3, 0}, .groups = 2},
        {.output_padding = {1, 0}, .dilation = 2},                   // cut off
        {.padding = 2, .output_padding = {1, 2}, .dilation = 3}}) {  // padded less behind than before
    nn::ConvTranspose2d layer(8, 6, 3, options);
    add_convolutions(all, layer, 5, {7, 10, 8});
  }
  return all;
}

// Of x, the weight and y.
int64_t bytes(const ConvGeometry& g) {
  return 4 * (g.n * g.h * g.w * g.c + g.oc * g.kh * g.kw * (g.c / g.groups) + g.n * g.oh * g.ow * g.oc);
}

// An engine may want each tensor once more in another layout, there with channels filled up to the tensor cores' 4 or
// 8, a Winograd transform of the weight (4 times its size for tiles of 4 x 4), and partial sums of dw, of which there
// are as many as the device has room for, however small the tensors are. All plans of cuDNN 9.19 keep within 4.3 times
// the tensors' bytes, or within 14 MB.
int64_t most_workspace(const ConvGeometry& g) { return 8 * bytes(g) + (int64_t{16} << 20); }

class CudnnPlans : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (CUDNN_VERSION < 90800 || cudnnGetVersion() < 90800)
      GTEST_SKIP() << "cuDNN " << cudnnGetVersion() << " plans for devices that are there alone: wants 9.8";
    std::ifstream file(fmt::format("{}/{}.json", NORMA_DEVICES, GetParam()));
    device_.assign(std::istreambuf_iterator<char>(file), {});
    ASSERT_FALSE(device_.empty());
  }

  // All passes, exact and in TF32, forward without a bias and with one.
  void expect_plans(const Geometries& geometries, int64_t alignment) {
    int with_tensor_cores = 0;
    for (const ConvGeometry& g : geometries)
      for (const bool exact : {true, false}) {
        for (const ConvPass pass : {ConvPass::forward, ConvPass::backward_input, ConvPass::backward_weight})
          with_tensor_cores += expect_plan(pass, g, alignment, exact, false);
        with_tensor_cores += expect_plan(ConvPass::forward, g, alignment, exact, true);
      }
    EXPECT_GT(with_tensor_cores, 0) << "TF32 is allowed in vain";
    // On an A100 three of 226 do not.
    EXPECT_GT(adding_a_bias_, 2 * geometries.size() * 9 / 10) << "engines add few of the biases";
  }

 private:
  // Whether it uses tensor cores.
  bool expect_plan(ConvPass pass, const ConvGeometry& g, int64_t alignment, bool exact, bool bias) {
    const char* const passes[] = {"forward", "backward_input", "backward_weight"};
    SCOPED_TRACE(
        fmt::format("{}{} in {}, x {}, weight {}, y {}, stride {}, padding {}, dilation {}, groups {}, of {} bytes",
                    passes[static_cast<size_t>(pass)], bias ? " with bias" : "", exact ? "f32" : "TF32",
                    Shape{g.n, g.h, g.w, g.c}, Shape{g.oc, g.kh, g.kw, g.c / g.groups}, Shape{g.n, g.oh, g.ow, g.oc},
                    shape_of(g.stride), shape_of(g.padding), shape_of(g.dilation), g.groups, bytes(g)));
    cuda::Conv2dPlan plan;
    try {
      plan = cuda::plan_conv2d_cudnn(device_, pass, g, alignment, exact, bias);
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
      return false;
    }
    const auto has = [&](cudnnBackendNumericalNote_t note) {
      return std::find(plan.notes.begin(), plan.notes.end(), note) != plan.notes.end();
    };
    EXPECT_FALSE(has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC));
    EXPECT_FALSE(has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION));
    EXPECT_FALSE(exact && (has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) || has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)));
    EXPECT_FALSE(plan.adds_bias && !bias);
    adding_a_bias_ += plan.adds_bias;
    EXPECT_GE(plan.workspace, 0);
    EXPECT_LE(plan.workspace, most_workspace(g));
    return has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  }

  std::string device_;        // as JSON
  size_t adding_a_bias_ = 0;  // plans that do
};

TEST_P(CudnnPlans, OfTheExamples) {
  static const Geometries geometries = geometries_of_examples();  // whose networks take seconds to make
  expect_plans(geometries, 16);
}

TEST_P(CudnnPlans, OfOddShapes) { expect_plans(odd_geometries(), 16); }

TEST_P(CudnnPlans, OfOddShapesInTensorsThatAreHardlyAligned) { expect_plans(odd_geometries(), 4); }

INSTANTIATE_TEST_SUITE_P(Devices, CudnnPlans, ::testing::Values("a100", "h100", "h200", "rtx4090"),
                         [](const auto& device) { return std::string(device.param); });

}  // namespace
}  // namespace norma
