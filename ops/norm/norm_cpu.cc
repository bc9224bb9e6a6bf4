// The CPU kernel of the norm family: what ops/norm/norm_rows.h does to the rows that ops/norm/norm_passes.h takes
// together. Where each row is a set of its own (layer norm over features), ops/norm/norm_cpu_rows.cc takes over.
#include "norma/ops/norm/norm_passes.h"

NORMA_SIMD_BEGIN

using namespace norm_rows;

void norm_forward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                  const Tensor& population, const Tensor& cells, const NormTensors& tensors) {
  dispatch_floating("norm", tensors.x[0].dtype(), [&]<class T>() {
    if (plan.row_sets) return norm_rows_forward<T>(plan, spec, gamma, beta, population, cells, tensors);
    const Call<T> call(plan, spec, gamma, beta, cells);
    const auto apply_block = [&](const Block& block, const Columns<T>& columns) {
      with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
        for_each_chunk(plan, block, [&](const Chunk& chunk) {
          const size_t t = static_cast<size_t>(chunk.tensor);
          apply<kind>(tensors.x[t].data<T>(), data_of<T>(tensors.residual, t), tensors.y[t].mutable_data<T>(),
                      mutable_data_of<uint8_t>(tensors.mask, t), chunk, columns, static_cast<T>(spec.activation.slope));
        });
      });
    };
    run_forward(call, plan, Population(population), cells, tensors.x, apply_block);
  });
}

void norm_backward(const NormPlan& plan, const NormSpec& spec, const Tensor& gamma, const Tensor& beta,
                   const Tensor& cells, const Tensor& dgamma, const Tensor& dbeta, const NormGradients& tensors) {
  dispatch_floating("norm", tensors.x[0].dtype(), [&]<class T>() {
    if (plan.row_sets) return norm_rows_backward<T>(plan, spec, gamma, beta, cells, dgamma, dbeta, tensors);
    const T leak = static_cast<T>(spec.activation.slope);
    // Calls f.operator()<kind, masked>(chunk, tensor, mask) for the chunks of a block.
    const auto for_each_chunk_of = [&](const Block& block, auto&& f) {
      with_activation(spec.activation.kind, [&]<Activation::Kind kind>() {
        for_each_chunk(plan, block, [&](const Chunk& chunk) {
          const size_t t = static_cast<size_t>(chunk.tensor);
          if (tensors.mask.empty()) f.template operator()<kind, false>(chunk, t, nullptr);
          else f.template operator()<kind, true>(chunk, t, tensors.mask[t].template data<uint8_t>());
        });
      });
    };
    const auto sum_block = [&](const Block& block, const Columns<T>& columns, double* sums, T* scratch) {
      for_each_chunk_of(block,
                        [&]<Activation::Kind kind, bool masked>(const Chunk& chunk, size_t t, const uint8_t* mask) {
                          add_sums<kind, masked>(tensors.dy[t].data<T>(), tensors.x[t].data<T>(), mask, chunk,
                                                 plan.channels, columns, leak, scratch, sums);
                        });
    };
    const auto gradient_block = [&](const Block& block, const Columns<T>& columns) {
      for_each_chunk_of(block, [&]<Activation::Kind kind, bool masked>(const Chunk& chunk, size_t t,
                                                                       const uint8_t* mask) {
        T *dx = mutable_data_of<T>(tensors.dx, t), *dresidual = mutable_data_of<T>(tensors.dresidual, t);
        apply_gradient<kind, masked>(tensors.dy[t].data<T>(), tensors.x[t].data<T>(), mask, dx, dx && tensors.add_dx[t],
                                     dresidual, dresidual && tensors.add_dresidual[t], chunk, columns, leak);
      });
    };
    Backward<T> backward({plan, spec, gamma, beta, cells});
    backward.run(sum_block, gradient_block);
    backward.affine_gradients(dgamma, dbeta);
  });
}

void norm_moments(const NormPlan& plan, const Tensor& cells, std::span<const Tensor> xs) {
  dispatch_floating("moments", xs[0].dtype(), [&]<class T>() {
    if (plan.row_sets) return norm_rows_moments<T>(plan, cells, xs[0]);
    const NormSpec plain{};
    measure_blocks<T>({plan, plain, {}, {}, cells}, Blocks(plan), xs);
  });
}

NORMA_SIMD_END
