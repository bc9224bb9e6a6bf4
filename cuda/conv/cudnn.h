// The seam to cuDNN: convolution of f32 images. The tests' emulation answers it with the CPU's kernels.
#pragma once

#include <string_view>
#include <vector>

#include "norma/ops/conv/geometry.h"

namespace norma::cuda {

enum class ConvPass : uint8_t { forward, backward_input, backward_weight };

// One pass. forward reads x and w and writes y; backward_input reads w and y's gradient `y` and writes x's gradient to
// `x`; backward_weight likewise to `w`. Device memory, contiguous, of the shapes that ConvGeometry says, none empty.
// Deterministic. bias, of forward: [oc], or null. Says whether that was added to y: where no engine does, it is left
// to the caller.
bool conv2d_cudnn(ConvPass pass, const ConvGeometry& geometry, const float* x, const float* w, const float* y,
                  const float* bias = nullptr);

// What cuDNN plans for a pass on a device that is described in JSON, and need not be there: for tests without a GPU.
// The plan is made as conv2d_cudnn makes its own; alignment: of the tensors, in bytes; exact: without TF32. Wants
// cuDNN 9.8. Not in the emulation.
struct Conv2dPlan {
  int64_t workspace;       // bytes
  std::vector<int> notes;  // of the engine: values of cudnnBackendNumericalNote_t
  bool adds_bias;          // where there is one
};
Conv2dPlan plan_conv2d_cudnn(std::string_view device, ConvPass pass, const ConvGeometry& geometry, int64_t alignment,
                             bool exact, bool bias = false);

}  // namespace norma::cuda
