#include "examples/why_norm/bench.h"

#include "examples/common/norm_options.h"

namespace examples::why_norm {

const char* text(Squash squash) { return squash == Squash::sigmoid ? "sigmoid" : "ReLU"; }

MakeModel mlp(const Lab& lab, const Mlp& o) {
  return [&lab, o] {
    const Shape image = lab.train.images.shape().without(0);
    nn::Sequential net;
    if (o.range) {
      const int64_t channels = image[2];
      const Tensor deviation = tensor(lab.scale.deviation, {channels}).to(f32).to(lab.device),
                   mean = tensor(lab.scale.mean, {channels}).to(f32).to(lab.device);
      const double black = o.range->first, white = o.range->second;
      net.add([=](const Tensor& x) { return (x * deviation + mean) * (white - black) + black; });
    }
    net.add(nn::Flatten());
    int64_t in = image.numel();
    const auto linear = [&](int64_t out, bool relu) {
      auto& layer = net.add(nn::Linear(in, out));
      if (relu) nn::init::kaiming_normal(layer.weight);
      else nn::init::xavier_normal(layer.weight);
      layer.bias.fill(0);
      in = out;
    };
    for (int64_t i = 0; i < o.depth; ++i) {
      linear(o.width, o.squash == Squash::relu);
      nn::NormSettings settings = parse_norm(o.norm).layer(o.width);
      settings.affine = o.affine;
      net.add(nn::Norm(o.width, settings));
      if (o.noise) net.add(Noise());
      if (o.squash == Squash::relu) net.add(nn::ReLU());
      else net.add(nn::Sigmoid());
    }
    linear(lab.train.classes(), false);
    return net;
  };
}

void draw_noise(Run& run, uint64_t step, int64_t width) {
  Generator random(run.seed, step + (uint64_t{1} << 32));  // not those of the epochs
  const Device device = run.model.parameters()[0].device();
  run.model.for_each([&](const std::string&, nn::Module& module) {
    if (auto* noise = dynamic_cast<Noise*>(&module)) {
      const Tensor scale({width}, f32), shift({width}, f32);
      random.fill_uniform(scale, -std::log(kScale), std::log(kScale));
      random.fill_uniform(shift, -kShift, kShift);
      noise->scale = exp(scale).to(device), noise->shift = shift.to(device);
    }
  });
}

std::vector<Tensor> activation_inputs(nn::Sequential& model, const Tensor& images) {
  std::vector<Tensor> inputs;
  const NoGrad unrecorded;
  const nn::Observer observer([&](nn::Module& module, const Tensor& x, const Tensor&) {
    if (dynamic_cast<nn::Sigmoid*>(&module) || dynamic_cast<nn::ReLU*>(&module)) inputs.push_back(x.to(Device()));
  });
  model(images);
  return inputs;
}

Units units(const Tensor& x) { return {mean(x, 0).to_vector<double>(), sqrt(var(x, 0, 0)).to_vector<double>()}; }

double movement(const Units& from, const Units& to) {
  double sum = 0;
  for (size_t c = 0; c < from.mean.size(); ++c)
    sum += std::abs(to.mean[c] - from.mean[c]) / std::max(from.deviation[c], 1e-12);
  return sum / static_cast<double>(from.mean.size());
}

double wandering(const std::vector<Units>& looks) {
  double sum = 0;
  for (size_t c = 0; c < looks[0].mean.size(); ++c) {
    Values means, deviations;
    for (const Units& look : looks) means.push_back(look.mean[c]), deviations.push_back(look.deviation[c]);
    sum += spread(means) / std::max(mean(deviations), 1e-12);
  }
  return sum / static_cast<double>(looks[0].mean.size());
}

Gradient gradient(nn::Module& model, const data::Batch& batch) {
  model.zero_grad();
  Gradient result;
  {
    Tape tape;
    const Tensor loss = cross_entropy(model(batch.images), batch.labels);
    tape.backward(loss);
    result.loss = loss.item();
  }
  for (const Tensor& p : model.parameters())
    result.parts.push_back(p.grad().defined() ? p.grad().clone() : zeros_like(p.detach()));
  model.zero_grad();
  return result;
}

double dot(std::span<const Tensor> a, std::span<const Tensor> b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += sum(a[i].to(f64) * b[i].to(f64)).item();
  return total;
}
double length(std::span<const Tensor> a) { return std::sqrt(dot(a, a)); }
double distance(std::span<const Tensor> a, std::span<const Tensor> b) {
  std::vector<Tensor> differences;
  for (size_t i = 0; i < a.size(); ++i) differences.push_back(a[i] - b[i]);
  return length(differences);
}

std::vector<Tensor> copies(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result;
  for (const Tensor& x : tensors) result.push_back(x.detach().clone());
  return result;
}
void restore(const std::vector<Tensor>& to, const std::vector<Tensor>& from) {
  for (size_t i = 0; i < to.size(); ++i) to[i].copy_from(from[i]);
}

Values decades(const Values& values) {
  Values result;
  for (const double v : values) result.push_back(std::log10(v));
  return result;
}

}  // namespace examples::why_norm
