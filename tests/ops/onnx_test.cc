// The node tests of ONNX, as far as norma can express them: tests/golden/make_onnx.py chose them, and wrote each as
// steps, calls of the functions that stand in the table below.
#include <map>
#include <set>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using nlohmann::json;

DType dtype_named(const std::string& name) {
  for (DType dtype : {f32, f64, i64, u8, boolean})
    if (name == name_of(dtype)) return dtype;
  throw Error("no dtype is called " + name);
}

// One step of a case: the arguments of a function, in their order.
struct Call {
  std::vector<Tensor> tensors;
  json attrs;
  DType dtype;  // that of floating tensors

  const Tensor& operator[](size_t i) const { return tensors.at(i); }
  template <class T = int64_t>
  T get(const char* key) const {
    return attrs.at(key).get<T>();
  }
  template <class T>
  T get(const char* key, T otherwise) const {
    return attrs.value(key, otherwise);
  }
  Shape shape(const char* key) const {
    const auto extents = get<std::vector<int64_t>>(key);
    return Shape(std::span<const int64_t>(extents));
  }
  Padding2d padding() const {
    const auto p = get<std::vector<int64_t>>("padding");
    return {p.at(0), p.at(1), p.at(2), p.at(3)};
  }
  Pair pair(const char* key) const { return {attrs.at(key).at(0).get<int64_t>(), attrs.at(key).at(1).get<int64_t>()}; }
};

Tensor run_norm(const Call& c) {
  const auto name = c.get<std::string>("grouping");
  const Grouping grouping = name == "whole"      ? whole()
                            : name == "instance" ? instance()
                            : name == "features" ? features()
                                                 : groups(c.get("groups"));
  const bool given = c.tensors.size() == 5;
  return norm(c[0], grouping, given ? Statistics::given(c[3], c[4]) : Statistics::batch(), c[1], c[2],
              {.eps = c.get<double>("eps"), .center = c.get("center", true)});
}

Pool2dOptions pool_options(const Call& c) {
  return {.kernel = c.pair("kernel"),
          .stride = c.pair("stride"),
          .padding = c.padding(),
          .dilation = c.attrs.contains("dilation") ? c.pair("dilation") : 1,
          .ceil_mode = c.get("ceil", false),
          .count_include_pad = c.get("count_include_pad", true)};
}

Tensor padded(const Call& c) {
  const auto pads = c.get<std::vector<std::pair<int64_t, int64_t>>>("pads");
  if (!c.attrs.contains("mode")) return pad(c[0], pads, c.get<double>("value"));
  const auto mode = c.get<std::string>("mode");
  return pad(c[0], pads,
             mode == "reflect"     ? PadMode::reflect
             : mode == "replicate" ? PadMode::replicate
                                   : PadMode::circular);
}

TopK top(const Call& c) { return topk(c[0], c.get("k"), c.get("axis"), c.get<bool>("largest")); }

CrossEntropyOptions loss_options(const Call& c) {
  return {.ignore_index = c.get("ignore_index", -100),
          .weight = c[2],
          .reduction = reduction_named(c.get<std::string>("reduction"))};
}

const std::map<std::string, std::function<Tensor(const Call&)>>& functions() {
#define UNARY(name) {#name, [](const Call& c) { return name(c[0]); }},
#define BINARY(name) {#name, [](const Call& c) { return name(c[0], c[1]); }},
#define WITH_AXIS(name) {#name, [](const Call& c) { return name(c[0], c.get("axis")); }},
#define REDUCTION(name) {#name, [](const Call& c) { return name(c[0], c.shape("axes"), c.get<bool>("keepdim")); }},
#define WITH_SHAPE(name, key) {#name, [](const Call& c) { return name(c[0], c.shape(key)); }},
  static const std::map<std::string, std::function<Tensor(const Call&)>> table{
      UNARY(neg) UNARY(exp) UNARY(log) UNARY(sqrt) UNARY(rsqrt) UNARY(abs) UNARY(square) UNARY(tanh) UNARY(sigmoid)
      UNARY(relu) UNARY(gelu) UNARY(gelu_tanh) UNARY(silu) UNARY(flatten) UNARY(global_avg_pool)
      UNARY(sin) UNARY(cos) UNARY(erf) UNARY(floor) UNARY(round) UNARY(sign) UNARY(hardswish)
      UNARY(softplus) UNARY(isnan) UNARY(isinf) UNARY(logical_not)
      BINARY(add) BINARY(sub) BINARY(mul) BINARY(div) BINARY(pow) BINARY(minimum) BINARY(maximum)
      BINARY(eq) BINARY(lt) BINARY(le) BINARY(gt) BINARY(ge) BINARY(matmul)
      BINARY(logical_and) BINARY(logical_or) BINARY(logical_xor) BINARY(prelu)
      REDUCTION(sum) REDUCTION(mean) REDUCTION(max) REDUCTION(min) REDUCTION(logsumexp) REDUCTION(prod)
      WITH_AXIS(softmax) WITH_AXIS(log_softmax) WITH_AXIS(l2_normalize) WITH_AXIS(squeeze) WITH_AXIS(unsqueeze)
      WITH_AXIS(flip) WITH_AXIS(cumsum)
      WITH_SHAPE(permute, "axes") WITH_SHAPE(reshape, "shape") WITH_SHAPE(expand, "shape")
      WITH_SHAPE(tile, "repeats")
      {"where", [](const Call& c) { return where(c[0], c[1], c[2]); }},
      {"clamp", [](const Call& c) { return clamp(c[0], c.get("low", -INFINITY), c.get("high", INFINITY)); }},
      {"leaky_relu", [](const Call& c) { return leaky_relu(c[0], c.get<double>("slope")); }},
      {"dropout", [](const Call& c) { return dropout(c[0], c.get<double>("p")); }},
      {"to", [](const Call& c) {
         return to(c[0], c.attrs.contains("dtype") ? dtype_named(c.get<std::string>("dtype")) : c.dtype);
       }},
      {"var", [](const Call& c) {
         return var(c[0], c.shape("axes"), c.get("correction"), c.get<bool>("keepdim"));
       }},
      {"vector_norm", [](const Call& c) {
         return vector_norm(c[0], c.get<double>("p"), c.shape("axes"), c.get<bool>("keepdim"));
       }},
      {"elu", [](const Call& c) { return elu(c[0], c.get<double>("alpha")); }},
      {"topk_values", [](const Call& c) { return top(c).values; }},
      {"topk_indices", [](const Call& c) { return top(c).indices; }},
      {"triu", [](const Call& c) { return triu(c[0], c.get("diagonal")); }},
      {"tril", [](const Call& c) { return tril(c[0], c.get("diagonal")); }},
      {"scatter_add", [](const Call& c) { return scatter_add(c[0], c.get("axis"), c[1], c[2]); }},
      {"split", [](const Call& c) {
         return split(c[0], c.get<std::vector<int64_t>>("sizes"), c.get("axis")).at(c.get<size_t>("part"));
       }},
      {"pixel_shuffle", [](const Call& c) { return pixel_shuffle(c[0], c.get("r")); }},
      {"argmin", [](const Call& c) { return argmin(c[0], c.get("axis"), c.get<bool>("keepdim")); }},
      {"argmax", [](const Call& c) { return argmax(c[0], c.get("axis"), c.get<bool>("keepdim")); }},
      {"cross_entropy", [](const Call& c) { return cross_entropy(c[0], c[1], loss_options(c)); }},
      {"nll", [](const Call& c) { return nll(c[0], c[1], loss_options(c)); }},
      {"linear", [](const Call& c) { return linear(c[0], c[1], c[2]); }},
      {"conv2d", [](const Call& c) {
         return conv2d(c[0], c[1], c[2], {.stride = c.pair("stride"), .padding = c.padding(),
                                          .dilation = c.pair("dilation"), .groups = c.get("groups")});
       }},
      {"conv_transpose2d", [](const Call& c) {
         return conv_transpose2d(c[0], c[1], c[2],
                                 {.stride = c.pair("stride"), .padding = c.pair("padding"),
                                  .output_padding = c.pair("output_padding"), .dilation = c.pair("dilation"),
                                  .groups = c.get("groups")});
       }},
      {"max_pool2d", [](const Call& c) { return max_pool2d(c[0], pool_options(c)); }},
      {"avg_pool2d", [](const Call& c) { return avg_pool2d(c[0], pool_options(c)); }},
      {"interpolate", [](const Call& c) {
         const bool nearest = c.get<std::string>("mode") == "nearest";
         return interpolate(c[0], c.pair("size"), {.mode = nearest ? Interpolation::nearest : Interpolation::bilinear,
                                                   .align_corners = c.get<bool>("align_corners")});
       }},
      {"norm", run_norm},
      {"concat", [](const Call& c) { return concat(c.tensors, c.get("axis")); }},
      {"pad", padded},
      {"transpose", [](const Call& c) { return transpose(c[0], c.get("i"), c.get("j")); }},
      {"slice", [](const Call& c) {
         return slice(c[0], c.get("axis"), c.get("start"), c.get("stop", kEnd), c.get("step"));
       }},
      {"gather", [](const Call& c) { return gather(c[0], c.get("axis"), c[1]); }},
      {"index_select", [](const Call& c) { return index_select(c[0], c.get("axis"), c[1]); }},
      {"one_hot", [](const Call& c) {
         return one_hot(c[0], c.get("classes"),
                        c.attrs.contains("dtype") ? dtype_named(c.get<std::string>("dtype")) : c.dtype);
       }},
  };
#undef UNARY
#undef BINARY
#undef WITH_AXIS
#undef REDUCTION
#undef WITH_SHAPE
  return table;
}

// The results of a case's steps, as its index names them: "s0", "s1", ...
class Steps {
 public:
  explicit Steps(const GoldenCase& golden) : golden_(golden) {
    for (const json& step : golden.attrs.at("steps")) {
      const auto found = functions().find(step.at(0));
      check(found != functions().end(), "onnx", "the test knows no function {}", step.at(0).get<std::string>());
      Call call{{}, step.at(2), golden.dtype};
      for (const json& argument : step.at(1)) call.tensors.push_back(value(argument));
      results_.push_back(found->second(call));
    }
  }
  // A name ("s" for a result, else a tensor of the case), a number, or nothing.
  Tensor value(const json& argument) const {
    if (argument.is_null()) return {};
    if (argument.is_number()) {
      const DType dtype = argument.is_number_integer() ? i64 : golden_.dtype;
      return full({}, argument.get<double>(), dtype, test_device());
    }
    const std::string name = argument;
    return name[0] == 's' ? results_.at(std::stoul(name.substr(1))) : golden_[name];
  }

 private:
  const GoldenCase& golden_;
  std::vector<Tensor> results_;
};

// Integers and booleans are to be equal. Floats, of the dtype that the case runs in, agree to 1e-5 of the largest one,
// since ONNX computed most of them in float32; those that it computed in float64 to 1e-12 in that.
::testing::AssertionResult agrees(const Tensor& got, const Tensor& stored, const GoldenCase& golden) {
  const DType dtype = !stored.is_floating() || golden.op.starts_with("Cast") ? stored.dtype() : golden.dtype;
  if (got.shape() != stored.shape() || got.dtype() != dtype)
    return ::testing::AssertionFailure() << fmt::format("{} {}, want {} {}", got.dtype(), got.shape(), dtype,
                                                        stored.shape());
  const std::vector<double> a = got.to_vector<double>(), b = stored.to_vector<double>();
  double scale = 0;
  for (double value : b)
    if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
  const double tolerance = !stored.is_floating()                          ? 0
                           : golden.dtype == f64 && stored.dtype() == f64 ? 1e-12
                                                                          : golden.attrs.value("tolerance", 1e-5);
  for (size_t i = 0; i < a.size(); ++i) {
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    if (!same && !(std::abs(a[i] - b[i]) <= tolerance * scale))
      return ::testing::AssertionFailure() << fmt::format("element {}: {:.9g}, want {:.9g}", i, a[i], b[i]);
  }
  return ::testing::AssertionSuccess();
}

void check_node_test(const GoldenCase& golden) {
  const Steps steps(golden);
  size_t count = 0;
  for (const json& result : golden.attrs.at("results")) {
    const std::string key = fmt::format("y{}", count++);
    EXPECT_TRUE(agrees(steps.value(result), *golden.file->find(golden.name + "/" + key), golden)) << key;
  }
  EXPECT_GT(count, 0U);
  EXPECT_FALSE(golden.has(fmt::format("y{}", count))) << "a result that is compared with nothing";
}

TEST(Onnx, NodeTestsAgree) {
  const TensorFile file = load_safetensors(NORMA_GOLDEN_DIR "/onnx.safetensors");
  int cases = 0;
  std::set<std::string> called;
  for (const auto& [name, text] : file.metadata) {
    if (name == "onnx") continue;  // its version
    ++cases;
    const json index = json::parse(text);
    for (const json& step : index.at("steps")) called.insert(step.at(0));
    for (const json& dtype : index.at("run_in")) {
      SCOPED_TRACE(fmt::format("{} in {}: {}", name, dtype.get<std::string>(), text));
      const GoldenCase golden{name, index.at("op"), index, &file, dtype_named(dtype)};
      EXPECT_NO_THROW(check_node_test(golden));
    }
  }
  EXPECT_EQ(cases, 655);  // as make_onnx.py printed
  for (const auto& [function, _] : functions()) EXPECT_TRUE(called.contains(function)) << function << " has no case";
}

}  // namespace
}  // namespace norma
