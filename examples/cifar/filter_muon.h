// Muon for the filters of convolutions, as airbench has it: nn::Muon is the general one.
#pragma once

#include <norma/norma.h>

#include <cmath>

namespace examples {

struct FilterMuonOptions {
  double lr = 0.24;
  double momentum = 0.6;
};

// For filters p [O, KH, KW, I], taken as a matrix [O, KH KW I]:
//   v = momentum v + g;  u = g + momentum v;  p = p sqrt(O) / |p| - lr orthogonalized(u)
// So filters are of one length all through the training, and lr alone says how far a step turns them. (Jordan,
// airbench's version with Muon, 2024, https://github.com/KellerJordan/cifar10-airbench.) Other than in nn::Muon, three
// iterations orthogonalize, not five, there is no weight decay, and nothing else is trained.
class FilterMuon final : public norma::nn::Optimizer {
 public:
  explicit FilterMuon(const norma::nn::Parameters& filters, const FilterMuonOptions& options = {})
      : Optimizer("FilterMuon", filters, options.lr, 0, {}, {"velocity"}), momentum_(options.momentum) {}

 private:
  // u [M, N]: its singular vectors, with singular values not far from 1.
  static norma::Tensor orthogonalized(const norma::Tensor& u) {
    using namespace norma;
    const auto transposed = [](const Tensor& x) { return view::permute(x, {1, 0}); };
    if (u.dim(0) > u.dim(1)) return transposed(orthogonalized(transposed(u)));
    Tensor x = u / (length(u) + 1e-7);
    for (int i = 0; i < 3; ++i) {
      const Tensor a = matmul(x, transposed(x));
      x = x * 3.4445 + matmul(a * -4.7750 + matmul(a, a) * 2.0315, x);
    }
    return x;
  }
  static norma::Tensor length(const norma::Tensor& x) { return sqrt(sum(square(x.to(norma::f64)))).to(x.dtype()); }
  void update(std::span<const norma::ParameterStep> steps) override {
    using namespace norma;
    const NoGrad unrecorded;
    for (const auto& [p, g, averages, lr, weight_decay, step] : steps) {
      const Tensor& v = averages[0];
      v.copy_from(v * momentum_ + g);
      const int64_t filters = p.dim(0);
      const Tensor u = orthogonalized(view::reshape(g + v * momentum_, {filters, p.numel() / filters}));
      p.copy_from(p * (std::sqrt(static_cast<double>(filters)) / length(p)) - view::reshape(u, p.shape()) * lr);
    }
  }
  double momentum_;
};

}  // namespace examples
