#include "norma/ops/norm/conv2d_norm.h"

#include "norma/autograd/op.h"
#include "norma/ops/conv/kernels.h"
#include "norma/ops/norm/cell_math.h"
#include "norma/ops/norm/kernels.h"
#include "norma/ops/norm/norm_max_pool.h"

namespace norma {

Tensor conv2d_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
                   const Grouping& grouping, const Statistics& statistics, const Tensor& gamma, const Tensor& beta,
                   const NormOptions& after, const std::optional<Pair>& max_pool) {
  const auto two_passes = [&] {
    const Tensor y = conv2d(x, weight, bias, options);
    return max_pool ? norm_max_pool(y, grouping, statistics, gamma, beta, {.kernel = *max_pool}, after)
                    : norm(y, grouping, statistics, gamma, beta, after);
  };
  const bool recorded = Op::records({x, weight, bias, gamma, beta}) || Op::records(after.residual);
  if (recorded || statistics.source != Statistics::Source::given || x.dtype() != f32 || !x.device().is_cpu() ||
      options.padding_mode != PadMode::zeros || after.post_bias.defined())
    return two_passes();

  Op op("conv2d_norm");
  const ConvGeometry g = conv2d_geometry(op, x, weight, bias, options);
  const Shape out = {g.n, g.oh, g.ow, g.oc}, channels = {g.oc};
  const cpu::ConvKernel* kernel = cpu::vectorised(g, f32, g.oc);
  const auto fits = [](const Tensor& p, const Shape& shape) { return !p.defined() || p.shape() == shape; };
  if (!kernel || after.normalized_channels >= 0 || grouping.samples.kind != Samples::Kind::whole ||
      grouping.positions != Positions::all || !fits(statistics.mean, channels) || !fits(statistics.var, channels) ||
      !fits(gamma, channels) || !fits(beta, channels) || after.residual.size() > 1 ||
      (max_pool && (*max_pool != Pair(2) || !after.residual.empty() || g.oh < 2 || g.ow < 2)))
    return two_passes();
  const Tensor residual = after.residual.empty() ? Tensor() : after.residual[0].contiguous();
  // Of what would be between the two, which is in no memory.
  const NormCall call(op, {view::expand(empty({1}), out)}, grouping, statistics, gamma, beta, after);

  const Tensor columns({3, g.oc});
  const double *mean = call.population.data<double>(), *var = mean + g.oc;
  const float *scale = call.gamma.data_or_null<float>(), *shift = call.beta.data_or_null<float>();
  float* to = columns.mutable_data<float>();
  for (int64_t c = 0; c < g.oc; ++c) {
    const ForwardColumn<float> column =
        forward_column<float>(mean[c], cell_rstd(var[c], call.eps), 0, scale ? scale[c] : 1, shift ? shift[c] : 0);
    to[c] = column.high;
    to[g.oc + c] = column.scale;
    to[2 * g.oc + c] = column.shift;
  }
  const Tensor y(max_pool ? Shape{g.n, g.oh / 2, g.ow / 2, g.oc} : out), in = x.contiguous(), w = weight.contiguous(),
                                                                         b = bias.contiguous();
  const cpu::ConvEpilogue epilogue = {
      to, to + g.oc, to + 2 * g.oc, residual.data_or_null<float>(), after.activation, max_pool.has_value()};
  kernel->forward(g, in.data<float>(), w.data<float>(), b.data_or_null<float>(), y.mutable_data<float>(), &epilogue);
  return y;
}

}  // namespace norma
