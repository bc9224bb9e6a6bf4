// The norm family's CPU kernel where sets share rows: the passes of ops/norm/cpu_passes.h with the element loops of
// ops/norm/cpu_tiles.h. Where each row is a set of its own (layer norm over features), ops/norm/cpu_row_sets.h does
// it.
#include "norma/ops/norm/cpu_passes.h"
#include "norma/ops/norm/cpu_row_sets.h"

NORMA_SIMD_BEGIN

using namespace norm_kernel;

void norm_forward(std::span<const Tensor> x, const NormCall& call, const NormOutputs& to) {
  dispatch_floating("norm", x[0].dtype(), [&]<class T>() {
    if (call.plan.row_sets) return row_sets_forward<T>(x[0], call, to);
    PoolVector<T> post_bias;  // for each column of a wide row
    const T* bias = call.post_bias.data_or_null<T>();
    for (int64_t j = 0, c = call.plan.channels; j < rows_per_wide_row(c) * c && bias; ++j)
      post_bias.push_back(bias[j % call.plan.affine_channels]);
    PoolVector<ForwardData<T>> data;  // of each tensor
    for (int64_t t = 0; t < std::ssize(x); ++t)
      data.push_back({x[t].data<T>(), to.residual[t].data_or_null<T>(), to.y[t].mutable_data<T>(),
                      to.mask[t].mutable_data_or_null<uint8_t>(), static_cast<T>(call.activation.slope),
                      bias ? post_bias.data() : nullptr});
    const auto apply_block = [&](const NormBlock& block, const Columns<T>& columns) {
      with_activation(call.activation, [&]<Activation::Kind kind>() {
        for_each_row_list(call.plan, block,
                          [&](const RowList& list) { apply<kind>(data[list.tensor], list, columns); });
      });
    };
    run_forward(Passes<T>{call}, call.plan, data_of_all<T>(x), apply_block);
  });
}

void norm_backward(std::span<const Tensor> x, const NormCall& call, const NormGradients& to) {
  dispatch_floating("norm", x[0].dtype(), [&]<class T>() {
    if (call.plan.row_sets) return row_sets_backward<T>(x[0], call, to);
    PoolVector<GradientData<T>> data_of_tensor;
    for (int64_t t = 0; t < std::ssize(x); ++t) data_of_tensor.push_back(gradient_data<T>(x, call, to, t));
    // Calls f.operator()<kind, masked>(data, list) for the rows of a block.
    const auto for_each_list = [&](const NormBlock& block, auto&& f) {
      with_activation(call.activation, [&]<Activation::Kind kind>() {
        for_each_row_list(call.plan, block, [&](const RowList& list) {
          const GradientData<T>& data = data_of_tensor[list.tensor];
          if (data.mask) f.template operator()<kind, true>(data, list);
          else f.template operator()<kind, false>(data, list);
        });
      });
    };
    const auto sum_block = [&](const NormBlock& block, const Columns<T>& columns, double* sums, T* accumulators) {
      for_each_list(block, [&]<Activation::Kind kind, bool masked>(const GradientData<T>& data, const RowList& list) {
        add_sums<kind, masked>(data, list, call.plan.channels, columns, accumulators, sums);
      });
    };
    const auto gradient_block = [&](const NormBlock& block, const Columns<T>& columns) {
      for_each_list(block, [&]<Activation::Kind kind, bool masked>(const GradientData<T>& data, const RowList& list) {
        apply_gradient<kind, masked>(data, list, columns);
      });
    };
    run_backward<T>(call, to.affine, sum_block, gradient_block);
  });
}

void norm_moments(std::span<const Tensor> x, const NormCall& call) {
  dispatch_floating("moments", x[0].dtype(), [&]<class T>() {
    if (call.plan.row_sets) return row_sets_moments<T>(x[0], call);
    measure_blocks<T>(Passes<T>{call}, cut_into_blocks(call.plan), data_of_all<T>(x));
  });
}

NORMA_SIMD_END
