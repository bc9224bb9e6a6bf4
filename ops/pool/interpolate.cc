#include "norma/ops/pool/interpolate.h"

#include <cmath>

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/conv/geometry.h"

namespace norma {
// Calls term(output, input, weight) for what is not zero in the matrix that makes `out` pixels of `in` along an axis,
// by output and in it by input.
static void for_terms(int64_t in, int64_t out, const InterpolateOptions& options, auto&& term) {
  const auto inputs = static_cast<double>(in), outputs = static_cast<double>(out);
  for (int64_t i = 0; i < out; ++i) {
    const auto output = static_cast<double>(i);
    if (options.mode == Interpolation::bilinear) {
      const double at = options.align_corners ? output * (inputs - 1) / std::max(outputs - 1, 1.0)
                                              : std::max((output + 0.5) * inputs / outputs - 0.5, 0.0);
      const auto first = std::min(static_cast<int64_t>(at), in - 1);
      const double second = first < in - 1 ? at - static_cast<double>(first) : 0;
      term(i, first, 1 - second);
      if (second > 0) term(i, first + 1, second);
    } else {
      const int64_t begin = i * in / out;
      const int64_t end = options.mode == Interpolation::area ? ((i + 1) * in + out - 1) / out : begin + 1;
      for (int64_t k = begin; k < end; ++k) term(i, k, 1 / static_cast<double>(end - begin));
    }
  }
}

// The matrix as the kernel wants it; turned, it makes inputs of outputs, for the gradient. The terms of an input lie
// side by side, too, since neither the first nor the last input of an output goes back.
static Tensor matrix(int64_t in, int64_t out, const InterpolateOptions& options, bool turned, Device device) {
  PoolVector<int64_t> count(turned ? in : out);
  for_terms(in, out, options, [&](int64_t output, int64_t input, double) { ++count[turned ? input : output]; });
  const int64_t width = 2 + *std::max_element(count.begin(), count.end());
  const Tensor result = zeros({std::ssize(count), width}, f64);
  double* to = result.mutable_data<double>();
  for_terms(in, out, options, [&](int64_t output, int64_t input, double weight) {
    double* row = to + (turned ? input : output) * width;
    if (row[1] == 0) row[0] = static_cast<double>(turned ? output : input);
    row[2 + static_cast<int64_t>(row[1]++)] = weight;
  });
  return result.to(device);
}

Tensor interpolate(const Tensor& x, Pair size, const InterpolateOptions& o) {
  const Op op("interpolate", {x});
  const Shape& in = x.shape();
  op.check(in.rank() == 4 && in[1] > 0 && in[2] > 0, "wants [N, H, W, C] with pixels: shape {}", in);
  op.check(std::min(size.h, size.w) >= 1 && in_steps(size) && in_steps({in[1], in[2]}),
           "output size {}: wants 1 to {}, as the input: {}", shape_of(size), kMaxStep, in);
  op.check(o.mode == Interpolation::bilinear || !o.align_corners, "align_corners is for bilinear: input {}", in);
  const Tensor y({in[0], size.h, size.w, in[3]}, x.dtype(), x.device()), mid(in.with(1, size.h), x.dtype(), x.device());
  kernel::resample(1, x.contiguous(), matrix(in[1], size.h, o, false, x.device()), mid, false);
  kernel::resample(2, mid, matrix(in[2], size.w, o, false, x.device()), y, false);
  return op.record({x}, y, [in, size, o](const Tensor& dy, Sink& dx) {
    const Tensor grad(in.with(1, size.h), dy.dtype(), dy.device());  // of mid
    kernel::resample(2, dy.contiguous(), matrix(in[2], size.w, o, true, dy.device()), grad, false);
    dx.write(0, kernel::resample, 1, grad, matrix(in[1], size.h, o, true, dy.device()));
  });
}

Tensor interpolate(const Tensor& x, Scale scale, const InterpolateOptions& options) {
  const Op op("interpolate");
  const auto size = [&](int axis, double by) {  // 0 for what is none
    const double out = x.rank() == 4 ? std::floor(static_cast<double>(x.dim(axis)) * by) : 0;
    return out >= 1 && out <= static_cast<double>(kMaxStep) ? static_cast<int64_t>(out) : 0;
  };
  return interpolate(x, Pair(size(1, scale.h), size(2, scale.w)), options);
}

void cpu::resample(int axis, const Tensor& x, const Tensor& matrix, const Tensor& y, bool add) {
  dispatch_floating("interpolate", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const double* rows = matrix.data<double>();
    const int64_t n = x.dim(axis), m = y.dim(axis), width = matrix.dim(1);
    const int64_t inner = axis == 1 ? x.dim(2) * x.dim(3) : x.dim(3);
    parallel_each(inner > 0 ? y.numel() / inner : 0, 16384 / (inner * width + 1) + 1, [=](int64_t row) {
      const double* terms = rows + row % m * width;
      const T* from = in + (row / m * n + static_cast<int64_t>(terms[0])) * inner;
      constexpr int64_t block = 64;
      double sum[block];
      for (int64_t at = 0; at < inner; at += block, from += block) {
        const int64_t count = std::min(block, inner - at);
        T* to = out + row * inner + at;
        std::fill_n(sum, count, 0.0);
        for (int64_t k = 0; k < static_cast<int64_t>(terms[1]); ++k)
          for (int64_t j = 0; j < count; ++j) sum[j] += terms[2 + k] * from[k * inner + j];
        for (int64_t j = 0; j < count; ++j) to[j] = static_cast<T>(add ? to[j] + sum[j] : sum[j]);
      }
    });
  });
}

}  // namespace norma
