// WeightAverage: an exponential moving average of a model's weights, held by a second model of the same kind. It is no
// average of populations: these are those of the averaged weights, and are to be estimated for them (nn::precise_bn).
#pragma once

#include <norma/norma.h>

#include <memory>

namespace examples {

class WeightAverage {
 public:
  // decay in [0, 1): the share of the former average in the next one, once there have been many; in the first steps it
  // is step / (step + 9), at most. `average` begins as a copy of the model.
  WeightAverage(norma::nn::Module& model, std::unique_ptr<norma::nn::Module> average, double decay)
      : average_(std::move(average)), decay_(decay) {
    norma::check(decay >= 0 && decay < 1, "WeightAverage", "a decay of {}: want one in [0, 1)", decay);
    norma::nn::assign("WeightAverage", "the average", average_->state_dict(), model.state_dict());
    state_.model = &model;
    state_.average = average_.get();
    sources_ = model.parameters();
    targets_ = average_->parameters();
  }

  // Behind the optimizer's step number `step`, from 1.
  void update(int64_t step) {
    const norma::NoGrad unrecorded;
    const double decay = std::min(decay_, static_cast<double>(step) / static_cast<double>(step + 9));
    for (size_t i = 0; i < sources_.size(); ++i)
      targets_[i].copy_from(targets_[i] + (sources_[i] - targets_[i]) * (1 - decay));
  }

  norma::nn::Module& model() { return *average_; }
  // For a checkpoint: the model's tensors, and those of the average as "average.conv.weight".
  norma::nn::Module& state() { return state_; }

 private:
  struct State : norma::nn::Module {
    norma::nn::Module *model = nullptr, *average = nullptr;
    void visit(norma::nn::Visitor& visitor) override {
      model->visit(visitor);
      visitor.member("average", average);
    }
  } state_;
  std::unique_ptr<norma::nn::Module> average_;
  std::vector<norma::Tensor> sources_, targets_;
  double decay_;
};

}  // namespace examples
