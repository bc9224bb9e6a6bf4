#include "norma/ops/pool/interpolate.h"

#include <cmath>

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"
#include "norma/ops/conv/geometry.h"

namespace norma {
namespace {

// One axis of images, as a matrix that makes its outputs of its inputs.
struct Axis {
  int64_t in, out;
  double scale;  // 0 where there is none
  InterpolateOptions options;

  // Calls term(output, input, weight) for what is not zero, by output and in it by input.
  template <class F>
  void for_terms(F&& term) const {
    const auto inputs = static_cast<double>(in), outputs = static_cast<double>(out);
    const bool area = options.mode == Interpolation::area,
               twice = options.mode == Interpolation::nearest && out == 2 * in;
    const bool by_size = area || scale == 0 || inputs * scale == outputs || out == in || twice;
    const double step = by_size ? inputs / outputs : 1 / scale, corners = (inputs - 1) / std::max(outputs - 1, 1.0);
    for (int64_t i = 0; i < out; ++i) {
      const auto output = static_cast<double>(i);
      if (options.mode == Interpolation::bilinear) {
        const double at = options.align_corners ? output * corners : std::max((output + 0.5) * step - 0.5, 0.0);
        const auto first = std::min(static_cast<int64_t>(at), in - 1);
        const double second = first < in - 1 ? at - static_cast<double>(first) : 0;
        term(i, first, 1 - second);
        if (second > 0) term(i, first + 1, second);
      } else {  // by a scale in f32, as PyTorch: what rounding puts just below an integer is that integer
        const int64_t begin =
            by_size ? i * in / out : std::min(static_cast<int64_t>(static_cast<float>(output * step)), in - 1);
        const int64_t end = area ? ((i + 1) * in + out - 1) / out : begin + 1;
        for (int64_t k = begin; k < end; ++k) term(i, k, 1 / static_cast<double>(end - begin));
      }
    }
  }

  // As the kernel wants it; turned, it makes inputs of outputs, for the gradient. The terms of an input lie side by
  // side, too, since neither the first nor the last input of an output goes back.
  Tensor matrix(bool turned, Device device) const {
    PoolVector<int64_t> count(turned ? in : out);
    for_terms([&](int64_t output, int64_t input, double) { ++count[turned ? input : output]; });
    const int64_t width = 2 + *std::max_element(count.begin(), count.end());
    const Tensor result = zeros({std::ssize(count), width}, f64);
    double* to = result.mutable_data<double>();
    for_terms([&](int64_t output, int64_t input, double weight) {
      double* row = to + (turned ? input : output) * width;
      if (row[1] == 0) row[0] = static_cast<double>(turned ? output : input);
      row[2 + static_cast<int64_t>(row[1]++)] = weight;
    });
    return result.to(device);
  }
};

Tensor interpolate(const Op& op, const Tensor& x, Pair size, Scale scale, const InterpolateOptions& o) {
  op.check_same({x});
  const Shape& in = x.shape();
  op.check(in.rank() == 4 && in[1] > 0 && in[2] > 0, "wants [N, H, W, C] with pixels: shape {}", in);
  op.check(std::min(size.h, size.w) >= 1 && in_steps(size) && in_steps({in[1], in[2]}),
           "output size {}: wants 1 to {}, as the input: {}", shape_of(size), kMaxStep, in);
  op.check(o.mode == Interpolation::bilinear || !o.align_corners, "align_corners is for bilinear: input {}", in);
  const Axis rows = {in[1], size.h, scale.h, o}, columns = {in[2], size.w, scale.w, o};
  const Device at = x.device();
  const Tensor y({in[0], size.h, size.w, in[3]}, x.dtype(), at);
  kernel::resample(x.contiguous(), rows.matrix(false, at), columns.matrix(false, at), y, false);
  return op.record({x}, y, [rows, columns, at](const Tensor& dy, Sink& dx) {
    dx.write(0, kernel::resample, dy.contiguous(), rows.matrix(true, at), columns.matrix(true, at));
  });
}

}  // namespace

Tensor interpolate(const Tensor& x, Pair size, const InterpolateOptions& options) {
  return interpolate(Op("interpolate"), x, size, Scale(0.0), options);
}

Tensor interpolate(const Tensor& x, Scale scale, const InterpolateOptions& options) {
  const Op op("interpolate");
  const auto size = [&](int axis, double by) {  // 0 for what is none
    const double out = x.rank() == 4 ? std::floor(static_cast<double>(x.dim(axis)) * by) : 0;
    return out >= 1 && out <= static_cast<double>(kMaxStep) ? static_cast<int64_t>(out) : 0;
  };
  return interpolate(op, x, {size(1, scale.h), size(2, scale.w)}, scale, options);
}

void cpu::resample(const Tensor& x, const Tensor& rows, const Tensor& columns, const Tensor& y, bool add) {
  dispatch_floating("interpolate", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const double *tops = rows.data<double>(), *lefts = columns.data<double>(), *end_of_row = lefts + columns.numel();
    const int64_t h = x.dim(1), w = x.dim(2), c = x.dim(3), oh = y.dim(1), length = y.dim(2) * c;
    const int64_t down = rows.dim(1), across = columns.dim(1);
    parallel_for(x.dim(0) * oh, 16384 / (length * down * across + 1) + 1, [&](int64_t begin, int64_t end) {
      PoolVector<double> sums(c);
      double* __restrict sum = sums.data();
      for (int64_t row = begin; row < end; ++row) {
        const double* ys = tops + row % oh * down;
        T* to = out + row * length;
        const bool again = !add && row > begin && row % oh > 0 && std::equal(ys, ys + down, ys - down);
        if (again) std::copy_n(to - length, length, to);  // the row before
        const bool copies = !add && ys[1] == 1 && ys[2] == 1;
        const T* line = in + (row / oh * h + static_cast<int64_t>(ys[0])) * w * c;
        for (const double* xs = lefts; !again && xs < end_of_row; xs += across, to += c) {
          const T* corner = line + static_cast<int64_t>(xs[0]) * c;
          if (copies && xs[1] == 1 && xs[2] == 1) {
            std::copy_n(corner, c, to);
            continue;
          }
          std::fill_n(sum, c, 0.0);
          for (int64_t i = 0; i < static_cast<int64_t>(ys[1]); ++i)
            for (int64_t j = 0; j < static_cast<int64_t>(xs[1]); ++j) {
              const T* __restrict from = corner + (i * w + j) * c;
              const double weight = ys[2 + i] * xs[2 + j];
              for (int64_t k = 0; k < c; ++k) sum[k] += weight * from[k];
            }
          for (int64_t k = 0; k < c; ++k) to[k] = static_cast<T>(add ? to[k] + sum[k] : sum[k]);
        }
      }
    });
  });
}

}  // namespace norma
