#include "norma/ops/norm/norm_max_pool.h"

#include "norma/autograd/op.h"

namespace norma {

Tensor norm_max_pool(const Tensor& x, const Grouping& grouping, const Statistics& statistics, const Tensor& gamma,
                     const Tensor& beta, const Pool2dOptions& pool, const NormOptions& options) {
  const Op op("norm_max_pool");
  const PoolGeometry g(op, x, pool);
  const bool row_sets = grouping.positions == Positions::each || (g.h * g.w == 1 && !grouping.over_samples()),
             wide = g.c * static_cast<int64_t>(size_of(x.dtype())) >= 64,
             apart = g.stride == g.kernel && g.padding == Pair(0) && g.kernel.h * g.kernel.w <= 256;
  if (row_sets || !wide || !apart || !options.residual.empty())
    return max_pool2d(norm(x, grouping, statistics, gamma, beta, options), pool);

  NormArguments with(op, {x}, grouping, statistics, gamma, beta, options);
  const Tensor in = x.contiguous();
  Tensor y(g.output_shape(), x.dtype(), x.device()), place, winner;
  if (Op::records({x, gamma, beta})) place = Tensor(y.shape(), u8, x.device()), winner = empty_like(y);
  if (with.plan.sets > 0)
    kernel::norm_max_pool(with.plan, with.spec, g, with.weight, with.bias, with.population, with.cells, in, y, place,
                          winner);
  if (options.moments && statistics.source != Statistics::Source::given)
    *options.moments = moments_of_cells(with.cells, with.plan);

  return op.record({x, gamma, beta}, y,
                   [plan = std::move(with.plan), spec = with.spec, g, gamma = op.save(with.weight),
                    beta = op.save(with.bias), cells = op.save(with.cells), x = op.save(in), place = op.save(place),
                    winner = op.save(winner)](const Tensor& dy, Sink& sink) {
                     const auto parameter = [&](size_t i, const Tensor& p) {
                       return sink.wants(i) ? zeros(p.shape(), f64, p.device()) : Tensor();
                     };
                     const Tensor dgamma = parameter(1, gamma), dbeta = parameter(2, beta);
                     const Tensor dx = sink.wants(0) ? empty_like(*x) : Tensor();
                     if (plan.sets > 0)
                       kernel::norm_max_pool_backward(plan, spec, g, gamma, beta, cells, dgamma, dbeta, x, place,
                                                      winner, dy.contiguous(), dx);
                     if (dx.defined()) sink.give(0, dx);
                     if (dgamma.defined()) sink.give(1, dgamma.to(gamma->dtype()));
                     if (dbeta.defined()) sink.give(2, dbeta.to(beta->dtype()));
                   });
}

}  // namespace norma
