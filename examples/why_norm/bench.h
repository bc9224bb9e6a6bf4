// What the experiments of why_norm share: their network, a chain of fully connected layers, and what they measure of
// it.
#pragma once

#include "examples/common/result.h"

namespace examples::why_norm {

enum class Squash { sigmoid, relu };
const char* text(Squash squash);

// `depth` times a linear layer, a norm, and an activation; then a linear layer of as many outputs as there are classes.
// Three layers of 100 sigmoids are the network of Ioffe & Szegedy (2015), section 4.1. Weights begin as Glorot
// (sigmoid) or He (ReLU) have it, biases as 0, whatever the norm: networks of one seed that differ in their norms start
// alike.
struct Mlp {
  std::string norm = "none";  // by the name that parse_norm knows: "bn", "bn:16", "ln", "none", ...
  Squash squash = Squash::sigmoid;
  int64_t depth = 3, width = 100;
  std::optional<std::pair<double, double>> range{};  // of the inputs, black to white; none: of mean 0 and variance 1
  bool affine = true;                                // whether gamma and beta are learned; else 1 and 0
  bool noise = false;                                // a Noise behind each norm
};
MakeModel mlp(const Lab& lab, const Mlp& options);

// Plain gradient descent: the rate is all there is to choose.
inline const nn::SGDOptions kPlain{.lr = 0.1};

// Scales and shifts each unit by numbers of its own, which hold for a step: x s + m, in training alone. So the
// distribution that the next layer receives moves from step to step, whatever the norm before has done for it.
struct Noise : nn::Module {
  Tensor forward(const Tensor& x) override { return is_training() && scale.defined() ? x * scale + shift : x; }
  Tensor scale, shift;  // [C]; undefined until drawn
};
inline constexpr double kShift = 0.5, kScale = 1.25;  // m from U(-0.5, 0.5), s from U(1 / 1.25, 1.25)
void draw_noise(Run& run, uint64_t step, int64_t width);

// What each activation receives for these pictures, layer by layer, f32 [N, C] on the CPU; in the mode the model is in.
// No population moves.
std::vector<Tensor> activation_inputs(nn::Sequential& model, const Tensor& images);

// Of each unit, over the samples of x [N, C].
struct Units {
  std::vector<double> mean, deviation;
};
Units units(const Tensor& x);
// How far the means have moved from one to the other, in deviations of the former; the mean over units.
double movement(const Units& from, const Units& to);

// How far the means wander in a training: of each unit, the standard deviation of its mean over the looks at it, in its
// own deviations (of all looks, on average); the mean over units.
double wandering(const std::vector<Units>& looks);

// The loss of a batch, and its gradient by parameter (zero where none arrives). In the mode the model is in, except
// that the populations of norms may move, which no experiment here evaluates by without estimating them anew.
struct Gradient {
  double loss = 0;
  std::vector<Tensor> parts;
};
Gradient gradient(nn::Module& model, const data::Batch& batch);
double dot(std::span<const Tensor> a, std::span<const Tensor> b);
double length(std::span<const Tensor> a);
double distance(std::span<const Tensor> a, std::span<const Tensor> b);

std::vector<Tensor> copies(const std::vector<Tensor>& tensors);
void restore(const std::vector<Tensor>& to, const std::vector<Tensor>& from);

// log10 of each: factors become differences, which is what the rules look at.
Values decades(const Values& values);

extern const Experiment kActivations, kCovariateShift, kNoise, kSmoothness, kDepth, kLearningRate, kInputScale, kAffine,
    kBatchAndRate, kBatchOfOne;

}  // namespace examples::why_norm
