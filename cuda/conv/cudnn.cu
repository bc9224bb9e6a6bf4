// cuDNN's graph API, since its convolution functions of old are deprecated as of version 9, and because its engines say
// of themselves whether they are deterministic and whether they round their inputs.
#include <cudnn.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "norma/cuda/conv/cudnn.h"
#include "norma/cuda/runtime.h"
#include "norma/ops/linalg/matmul.h"

namespace norma::cuda {
namespace {

void check_dnn(cudnnStatus_t status) {
  check(status == CUDNN_STATUS_SUCCESS, "conv2d", "cuDNN reports {}", cudnnGetErrorString(status));
}

class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) { check_dnn(cudnnBackendCreateDescriptor(type, &handle_)); }
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~Descriptor() {
    if (handle_) cudnnBackendDestroyDescriptor(handle_);
  }
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const std::vector<T>& values) {
    check_dnn(cudnnBackendSetAttribute(handle_, name, type, static_cast<int64_t>(values.size()), values.data()));
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set<cudnnBackendDescriptor_t>(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, {value.handle_});
  }
  void set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
    set(name, CUDNN_TYPE_INT64, values);
  }
  // What there is of an attribute, at most `most`; descriptors are given, and filled.
  template <class T>
  std::vector<T> get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::vector<T> values) const {
    int64_t count = 0;
    check_dnn(
        cudnnBackendGetAttribute(handle_, name, type, static_cast<int64_t>(values.size()), &count, values.data()));
    values.resize(static_cast<size_t>(std::min<int64_t>(count, static_cast<int64_t>(values.size()))));
    return values;
  }
  cudnnStatus_t try_finalize() { return cudnnBackendFinalize(handle_); }
  Descriptor&& finalize() && {
    check_dnn(try_finalize());
    return std::move(*this);
  }
  cudnnBackendDescriptor_t handle() const { return handle_; }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

constexpr int64_t kX = 1, kW = 2, kY = 3, kBias = 4, kProduct = 5;

// [n, h, w, c], with the rows and images of a larger tensor where they are not its own. One that goes from an operation
// to the next is in no memory.
Descriptor tensor(int64_t id, int64_t alignment, const std::array<int64_t, 4>& shape, int64_t row, int64_t image,
                  bool in_memory = true) {
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, {CUDNN_DATA_FLOAT});
  d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, {shape[0], shape[3], shape[1], shape[2]});
  d.set(CUDNN_ATTR_TENSOR_STRIDES, {image, 1, row, shape[3]});
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, {id});
  d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, {alignment});
  const bool is_virtual[] = {!in_memory};
  check_dnn(cudnnBackendSetAttribute(d.handle(), CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, is_virtual));
  return std::move(d).finalize();
}

// How much of the input a convolution reads along one axis, and the padding behind it. Where the same padding on both
// sides gives another number of outputs, the input is cut off, or padded more. Of an input that lies behind all
// windows, one pixel stays, since cuDNN has no empty tensors.
struct Extent {
  int64_t size, padding_after;
  Extent(const WindowAxis& axis, int64_t in, int64_t out) {
    const int64_t read = axis.inputs(out) + axis.padding;  // with the padding behind the input, not that before it
    const bool usual = axis.outputs(in) == out;
    size = usual ? in : std::max<int64_t>(1, std::min(in, read));
    padding_after = usual ? axis.padding : std::max<int64_t>(0, read - in);
  }
};
Extent rows(const ConvGeometry& g) { return {g.rows(), g.h, g.oh}; }
Extent columns(const ConvGeometry& g) { return {g.columns(), g.w, g.ow}; }

// What a plan is made for: the device of a handle or, without a GPU, one that is only described.
struct PlanFor {
  cudnnHandle_t handle = nullptr;
  const Descriptor* described = nullptr;  // if there is no handle

  void set_on_graph(Descriptor& graph) const {
    if (handle) graph.set<cudnnHandle_t>(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, {handle});
  }
  void set_on_heuristics([[maybe_unused]] Descriptor& heuristics) const {
#if CUDNN_VERSION >= 90800
    if (described) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *described);
#endif
  }
  void set_on_plan(Descriptor& plan) const {
    if (handle) plan.set<cudnnHandle_t>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, {handle});
#if CUDNN_VERSION >= 90800
    if (described) plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *described);
#endif
  }
};

using Notes = std::vector<cudnnBackendNumericalNote_t>;

struct ExecutionPlan {
  Descriptor descriptor;
  int64_t workspace;
  Notes notes;  // of its engine
  bool adds_bias = false;
};

Notes notes_of(const Descriptor& config) {
  const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  config.get<cudnnBackendDescriptor_t>(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, {engine.handle()});
  return engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                    Notes(static_cast<size_t>(CUDNN_NUMERICAL_NOTE_TYPE_COUNT)));
}

bool acceptable(const Notes& notes, bool exact) {
  return std::none_of(notes.begin(), notes.end(), [&](cudnnBackendNumericalNote_t note) {
    return note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
           (exact && (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
  });
}

// The best plan for a graph of operations whose engine is acceptable, if there is one, by these heuristics.
std::optional<ExecutionPlan> find_plan(const PlanFor& target, bool exact,
                                       std::initializer_list<cudnnBackendHeurMode_t> by,
                                       const std::vector<cudnnBackendDescriptor_t>& operations) {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations);
  target.set_on_graph(graph);
  if (graph.try_finalize() != CUDNN_STATUS_SUCCESS) return {};
  for (cudnnBackendHeurMode_t mode : by) {
    Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    heuristics.set<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, {mode});
    target.set_on_heuristics(heuristics);
    if (heuristics.try_finalize() != CUDNN_STATUS_SUCCESS) continue;
    std::vector<Descriptor> configs;  // best first
    std::vector<cudnnBackendDescriptor_t> handles;
    for (int i = 0; i < 64; ++i) {
      configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
      handles.push_back(configs.back().handle());
    }
    const size_t count = heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, handles).size();
    for (size_t i = 0; i < count; ++i) {
      Notes notes = notes_of(configs[i]);
      if (!acceptable(notes, exact)) continue;
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      target.set_on_plan(plan);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configs[i]);
      if (plan.try_finalize() != CUDNN_STATUS_SUCCESS) continue;
      const int64_t bytes = plan.get<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, {0})[0];
      return ExecutionPlan{std::move(plan), bytes, std::move(notes)};
    }
  }
  return {};
}

// With a bias, where an engine adds that to what it is about to write.
ExecutionPlan make_plan(const PlanFor& target, ConvPass pass, const ConvGeometry& g, int64_t alignment, bool exact,
                        bool with_bias) {
  const Extent h = rows(g), w = columns(g);
  const int64_t channels = g.c / g.groups;
  const Descriptor x = tensor(kX, alignment, {g.n, h.size, w.size, g.c}, g.w * g.c, g.h * g.w * g.c),
                   weight =
                       tensor(kW, alignment, {g.oc, g.kh, g.kw, channels}, g.kw * channels, g.kh * g.kw * channels),
                   y = tensor(kY, alignment, {g.n, g.oh, g.ow, g.oc}, g.ow * g.oc, g.oh * g.ow * g.oc);
  Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  convolution.set<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, {CUDNN_DATA_FLOAT});
  convolution.set<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE,
                                          {CUDNN_CROSS_CORRELATION});
  convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, {2});
  convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, {g.dilation.h, g.dilation.w});
  convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, {g.stride.h, g.stride.w});
  convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, {g.padding.h, g.padding.w});
  convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {h.padding_after, w.padding_after});
  check_dnn(convolution.try_finalize());

  // The three passes differ in names alone: those of the operation, x, w, y, the convolution, alpha and beta.
  struct Names {
    cudnnBackendDescriptorType_t operation;
    cudnnBackendAttributeName_t x, w, y, convolution, alpha, beta;
  };
#define NORMA_NAMES(operation, prefix, x, w, y)                                                                    \
  {                                                                                                                \
    CUDNN_BACKEND_OPERATION_CONVOLUTION_##operation##_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_##x, \
        CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_##w, CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_##y,          \
        CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_ALPHA,  \
        CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_BETA                                                           \
  }
  static constexpr Names kNames[] = {NORMA_NAMES(FORWARD, FORWARD, X, W, Y),
                                     NORMA_NAMES(BACKWARD_DATA, BWD_DATA, DX, W, DY),
                                     NORMA_NAMES(BACKWARD_FILTER, BWD_FILTER, X, DW, DY)};
#undef NORMA_NAMES
  const Names& names = kNames[static_cast<size_t>(pass)];
  const auto convolve = [&](const Descriptor& to_y) {
    Descriptor operation(names.operation);
    operation.set(names.x, x);
    operation.set(names.w, weight);
    operation.set(names.y, to_y);
    operation.set(names.convolution, convolution);
    operation.set<float>(names.alpha, CUDNN_TYPE_FLOAT, {1});
    operation.set<float>(names.beta, CUDNN_TYPE_FLOAT, {0});
    return std::move(operation).finalize();
  };
  if (with_bias) {
    try {
      const Descriptor product =
                           tensor(kProduct, alignment, {g.n, g.oh, g.ow, g.oc}, g.ow * g.oc, g.oh * g.ow * g.oc, false),
                       bias = tensor(kBias, alignment, {1, 1, 1, g.oc}, g.oc, g.oc), first = convolve(product);
      Descriptor sum(CUDNN_BACKEND_POINTWISE_DESCRIPTOR), add(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
      sum.set<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, {CUDNN_POINTWISE_ADD});
      sum.set<cudnnDataType_t>(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, {CUDNN_DATA_FLOAT});
      check_dnn(sum.try_finalize());
      add.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, sum);
      add.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, product);
      add.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, bias);
      add.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
      check_dnn(add.try_finalize());
      // Not by the fallback, whose engines do anything, slowly.
      if (auto plan = find_plan(target, exact, {CUDNN_HEUR_MODE_A}, {first.handle(), add.handle()})) {
        plan->adds_bias = true;
        return std::move(*plan);
      }
    } catch (const Error&) {  // of what this cuDNN does not know: then the bias is left to the caller
    }
  }
  if (auto plan = find_plan(target, exact, {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}, {convolve(y).handle()}))
    return std::move(*plan);
  fail("conv2d", "cuDNN has no deterministic engine for input [{}, {}, {}, {}], weight [{}, {}, {}, {}]", g.n, g.h, g.w,
       g.c, g.oc, g.kh, g.kw, channels);
}

// A device's handle and plans, by what they were made for.
struct Cache {
  std::mutex mutex;
  cudnnHandle_t handle = nullptr;
  std::map<std::array<int64_t, 20>, ExecutionPlan> plans;
};

}  // namespace

bool conv2d_cudnn(ConvPass pass, const ConvGeometry& g, const float* x, const float* w, const float* y,
                  const float* bias) {
  static std::array<Cache, 64>* const caches = new std::array<Cache, 64>;  // never destroyed, as their contexts
  Context& own = context();
  Cache& cache = (*caches)[static_cast<size_t>(own.device)];
  const bool exact = matmul_precision == MatmulPrecision::highest;
  const auto places = reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(w) | reinterpret_cast<uintptr_t>(y) |
                      reinterpret_cast<uintptr_t>(bias);
  const int64_t alignment = places % 16 == 0 ? 16 : 4;
  const std::array<int64_t, 20> key = {static_cast<int64_t>(pass),
                                       exact,
                                       bias != nullptr,
                                       alignment,
                                       g.n,
                                       g.h,
                                       g.w,
                                       g.c,
                                       g.oh,
                                       g.ow,
                                       g.oc,
                                       g.kh,
                                       g.kw,
                                       g.stride.h,
                                       g.stride.w,
                                       g.padding.h,
                                       g.padding.w,
                                       g.dilation.h,
                                       g.dilation.w,
                                       g.groups};
  const std::lock_guard lock(cache.mutex);
  if (!cache.handle) {
    check_dnn(cudnnCreate(&cache.handle));
    check_dnn(cudnnSetStream(cache.handle, own.stream));
  }
  auto found = cache.plans.find(key);
  if (found == cache.plans.end())
    found =
        cache.plans.emplace(key, make_plan({.handle = cache.handle}, pass, g, alignment, exact, bias != nullptr)).first;
  const ExecutionPlan& plan = found->second;
  if (pass == ConvPass::backward_input && (rows(g).size < g.h || columns(g).size < g.w))  // what no output has read
    check_cuda("conv2d", cudaMemsetAsync(const_cast<float*>(x), 0,
                                         static_cast<size_t>(g.n * g.h * g.w * g.c) * sizeof(float), own.stream));
  const Tensor workspace({plan.workspace}, u8, {Device::Kind::cuda, own.device});
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  std::vector<const void*> data = {x, w, y};
  std::vector<int64_t> ids = {kX, kW, kY};
  if (plan.adds_bias) data.push_back(bias), ids.push_back(kBias);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, data);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
  pack.set<const void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, {workspace.cuda_data<uint8_t>()});
  check_dnn(pack.try_finalize());
  check_dnn(cudnnBackendExecute(cache.handle, plan.descriptor.handle(), pack.handle()));
  return plan.adds_bias;
}

#if CUDNN_VERSION >= 90800
Conv2dPlan plan_conv2d_cudnn(std::string_view device, ConvPass pass, const ConvGeometry& g, int64_t alignment,
                             bool exact, bool bias) {
  Descriptor described(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  described.set<char>(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, {device.begin(), device.end()});
  check_dnn(described.try_finalize());
  const ExecutionPlan plan = make_plan({.described = &described}, pass, g, alignment, exact, bias);
  return {plan.workspace, {plan.notes.begin(), plan.notes.end()}, plan.adds_bias};
}
#else
Conv2dPlan plan_conv2d_cudnn(std::string_view, ConvPass, const ConvGeometry&, int64_t, bool, bool) {
  fail("conv2d", "cuDNN {} plans for devices that are there alone: wants 9.8", CUDNN_VERSION);
}
#endif

}  // namespace norma::cuda
