#include "norma/ops/norm/norm_max_pool.h"

#include "norma/ops/norm/kernels.h"

namespace norma {

Tensor norm_max_pool(const Tensor& x, const Grouping& grouping, const Statistics& statistics, const Tensor& gamma,
                     const Tensor& beta, const Pool2dOptions& pool, const NormOptions& options) {
  const Op op("norm_max_pool");
  const PoolGeometry g = pool_geometry(op, x, pool);
  const bool row_sets = grouping.positions == Positions::each || (g.h * g.w == 1 && !grouping.over_samples()),
             wide = g.c * static_cast<int64_t>(size_of(x.dtype())) >= 64,
             apart = g.stride == g.kernel && g.padding == Pair(0) && g.dilation == Pair(1) &&
                     g.oh * g.kernel.h <= g.h && g.ow * g.kernel.w <= g.w && g.kernel.h * g.kernel.w <= 256;
  if (row_sets || !wide || !apart || !options.residual.empty() || options.post_bias.defined() ||
      statistics.alpha.defined() || (grouping.over_samples() && is_by_sample(gamma.defined() ? gamma : beta, grouping)))
    return max_pool2d(norm(x, grouping, statistics, gamma, beta, options), pool);

  NormCall call(op, {x}, grouping, statistics, gamma, beta, options);
  const Tensor in = x.contiguous();
  Tensor y(g.output_shape(), x.dtype(), x.device()), place, winner;
  const bool records = Op::records({x, gamma, beta});
  if (records) place = Tensor(y.shape(), u8, x.device()), winner = empty_like(y);
  if (call.plan.sets > 0) kernel::norm_max_pool(in, call, g, y, place, winner);
  if (call.far_out && x.dtype() == f32) return max_pool2d(norm(x, grouping, statistics, gamma, beta, options), pool);
  if (options.moments && call.measured()) *options.moments = call.cell_moments();
  if (!records) return y;

  call.save(op);
  return op.record({x, gamma, beta}, y,
                   [call = std::move(call), g, x = op.save(in), place = op.save(place), winner = op.save(winner)](
                       const Tensor& dy, Sink& sink) {
                     const Tensor dx = sink.wants(0) ? empty_like(x) : Tensor(), upstream = dy.contiguous();
                     const Tensor affine = call.affine_gradients(sink, 1);
                     if (call.plan.sets > 0)
                       kernel::norm_max_pool_backward(x, call, g, upstream, place, winner, dx, affine);
                     if (dx.defined()) sink.give(0, dx);
                     call.give(affine, sink, 1);
                   });
}

}  // namespace norma
