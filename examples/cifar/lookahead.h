// Lookahead with a share that changes, as airbench has it: nn::Optimizer::look_ahead has the plain one.
#pragma once

#include <norma/norma.h>

#include <cmath>

namespace examples {

// Behind every k-th step, all that is trained and the populations of the norms, p: slow += (1 - d) (p - slow), and
// p = slow. d = 0.95^k (step / steps)^3, so that it moves fast at first and averages in the end; behind the last step
// p = slow. slow is at first what p is when this is made. (Jordan 2024, section 3.4, after Zhang et al., "Lookahead
// optimizer: k steps forward, 1 step back", 2019.) Its tensors belong into the checkpoint.
class Lookahead : public norma::nn::Module {
 public:
  // steps: of the whole training.
  Lookahead(norma::nn::Module& model, int64_t k, int64_t steps) : k_(k), steps_(steps) {
    for (const auto& [_, p] : model.named_parameters())
      if (p.requires_grad()) fast_.push_back(p);
    for (const auto& [_, buffer] : model.named_buffers())
      if (buffer.is_floating()) fast_.push_back(buffer);
    for (const norma::Tensor& p : fast_) slow_.emplace_back(p.detach().clone());
  }
  void visit(norma::nn::Visitor& visitor) override { visitor.members("slow", slow_); }

  void update(int64_t step) {  // behind step `step`, from 1
    if (step % k_ != 0 && step != steps_) return;
    const norma::NoGrad unrecorded;
    const double done = static_cast<double>(step) / static_cast<double>(steps_);
    const double share = step % k_ == 0 ? 1 - std::pow(0.95, k_) * done * done * done : 0;
    for (size_t i = 0; i < fast_.size(); ++i) {
      if (share > 0) slow_[i].copy_from(slow_[i] + (fast_[i] - slow_[i]) * share);
      fast_[i].copy_from(slow_[i]);
    }
  }

 private:
  int64_t k_, steps_;
  std::vector<norma::Tensor> fast_;
  std::vector<norma::nn::Buffer> slow_;
};

}  // namespace examples
