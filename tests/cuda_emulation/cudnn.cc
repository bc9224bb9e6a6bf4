// The seam of cuda/conv/cudnn.h, answered by the CPU's convolution. A bias is added where the images are square, and
// else left to the caller: both ways are taken.
#include "norma/cuda/conv/cudnn.h"

#include <cstring>

#include "engine.h"
#include "norma/cuda/runtime.h"
#include "norma/ops/conv/conv2d.h"

namespace norma::cuda {

bool conv2d_cudnn(ConvPass pass, const ConvGeometry& g, const float* x, const float* w, const float* y,
                  const float* bias) {
  const bool adds = bias && g.h == g.w;
  cuda_emulation::enqueue(context().stream, [=] {
    const auto host = [](const Shape& shape, const float* from) {
      const Tensor copy(shape);
      if (from) std::memcpy(copy.mutable_data<float>(), from, static_cast<size_t>(copy.numel()) * sizeof(float));
      return copy;
    };
    const Tensor hx = host({g.n, g.h, g.w, g.c}, pass == ConvPass::backward_input ? nullptr : x),
                 hw = host({g.oc, g.kh, g.kw, g.c / g.groups}, pass == ConvPass::backward_weight ? nullptr : w),
                 hy = host({g.n, g.oh, g.ow, g.oc}, pass == ConvPass::forward ? nullptr : y);
    ConvGeometry plain = g;
    plain.algorithm = ConvAlgorithm::im2col;
    if (pass == ConvPass::forward) cpu::conv2d_forward(plain, hx, hw, adds ? host({g.oc}, bias) : Tensor(), hy);
    else if (pass == ConvPass::backward_input) cpu::conv2d_backward_input(plain, hy, hw, hx, false);
    else cpu::conv2d_backward_weight(plain, hx, hy, hw, false);
    const Tensor& made = pass == ConvPass::forward ? hy : pass == ConvPass::backward_input ? hx : hw;
    const float* to = pass == ConvPass::forward ? y : pass == ConvPass::backward_input ? x : w;
    std::memcpy(const_cast<float*>(to), made.data<float>(), static_cast<size_t>(made.numel()) * sizeof(float));
  });
  return adds;
}

}  // namespace norma::cuda
