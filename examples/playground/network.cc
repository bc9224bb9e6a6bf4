#include "examples/playground/network.h"

#include "norma/nn/init.h"

namespace examples::playground {
namespace {

void initialize(nn::WeightedLayer& layer, Activate activation) {
  if (activation == Activate::relu) nn::init::kaiming_normal(layer.weight);
  else nn::init::xavier_normal(layer.weight, activation == Activate::tanh ? 5. / 3 : 1);
  layer.bias.fill(0);
}

Tensor activate(const Tensor& x, Activate f) {
  return f == Activate::relu ? relu(x) : f == Activate::sigmoid ? sigmoid(x) : tanh(x);
}

Shape shape_of(const Tensor& parameter) { return parameter.defined() ? parameter.shape() : Shape{0}; }

}  // namespace

nn::NormSettings norm_settings(const Settings& s, int64_t channels) {
  const Sharing& by = s.sharing;
  nn::NormSettings norm;
  if (by.samples == SamplesShare::chunks) norm.grouping.samples = Samples::chunks(by.chunk);
  if (by.samples == SamplesShare::each) norm.grouping.samples = Samples::each();
  if (by.samples == SamplesShare::domains)
    norm.domains = {.count = 2, .batch = true, .population = true, .affine = false};
  if (by.positions == PositionsShare::each) norm.grouping.positions = Positions::each;
  if (by.channels == ChannelsShare::groups) norm.grouping.channels = Channels::groups(by.groups);
  if (by.channels == ChannelsShare::all) norm.grouping.channels = Channels::all();
  if (s.frozen && norm.grouping.over_samples()) norm.source = Statistics::Source::given;
  norm.estimator = nn::Estimator::ema(s.ema);
  norm.center = by.center;
  norm.half = by.half;
  if (by.extended) (norm.scale = norm.grouping)->channels = Channels::all();
  norm.affine = s.affine;
  if (by.tanh) norm = {.instead = nn::Instead::tanh, .affine = s.affine};
  if (!by.enabled) norm = {.affine = s.affine, .identity = true};
  const nn::Norm tried(channels, norm);  // throws where they do not go together
  return norm;
}

Network::Network(const Settings& s, const Shape& sample, int64_t classes) {
  const bool convolves = s.network == NetworkKind::cnn;
  int64_t in = convolves ? sample.dim(-1) : sample.numel(), side = sample.dim(0);
  for (int64_t i = 0; i < s.depth; ++i) {
    std::unique_ptr<nn::WeightedLayer> map;
    if (convolves) {
      const int64_t stride = side > 7 ? 2 : 1;  // 28 -> 14 -> 7 pixels a side
      map = std::make_unique<nn::Conv2d>(in, s.width, 3, Conv2dOptions{.stride = stride, .padding = 1});
      side = (side + stride - 1) / stride;
    } else {
      map = std::make_unique<nn::Linear>(in, s.width);
    }
    initialize(*map, s.activation);
    hidden.push_back(std::make_unique<Hidden>(std::move(map), s.width, s.activation));
    in = s.width;
  }
  head.emplace(convolves ? side * side * in : in, classes);
  nn::init::xavier_normal(head->weight);
  head->bias.fill(0);
}

Tensor Network::forward(const Tensor& x, std::vector<Look>* looks) {
  Tensor y = x.rank() > 2 && dynamic_cast<nn::Linear*>(hidden[0]->weights.get()) ? flatten(x) : x;
  for (const auto& layer : hidden) {
    const Tensor received = (*layer->weights)(y), normalized = layer->norm(received);
    if (looks) looks->push_back({received, normalized});
    y = activate(normalized, layer->activation);
  }
  return (*head)(y.rank() > 2 ? flatten(y) : y);
}

bool Network::apply(const Settings& settings) {
  bool anew = false;
  for (const auto& layer : hidden) {
    nn::Norm& norm = layer->norm;
    const int64_t channels = norm.channels();
    const nn::NormSettings wanted =
        norm_settings(settings, channels);  // the same channels in all: only the first throws
    static_cast<nn::NormSettings&>(norm) = wanted;
    nn::NormSettings with_parameters = wanted;
    with_parameters.identity = false;  // a norm that is switched off keeps its own for when it is back
    nn::Norm fresh(channels, with_parameters);
    for (const auto& [mine, other] :
         {std::pair(&norm.weight, &fresh.weight), {&norm.bias, &fresh.bias}, {&norm.input_scale, &fresh.input_scale}})
      if (shape_of(*mine) != shape_of(*other)) *mine = *other, anew = true;
  }
  return anew;
}

}  // namespace examples::playground
