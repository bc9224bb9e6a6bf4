// The probe's cases of layers and what trains them: every norm layer in a small network, every optimizer, populations,
// folding; and of data sets.
#include "probe.h"

namespace probe {
namespace {

struct Choice {
  const char* name;
  nn::Norm (*layer)(int64_t channels);
  bool standardized = false;  // the weights of convolutions
};
const Choice kNorms[] = {
    {"bn", [](int64_t c) { return nn::BatchNorm(c); }},
    {"bn:4", [](int64_t c) { return nn::BatchNorm(c, {.normalization_batch = 4}); }},
    {"gn:8", [](int64_t c) { return nn::GroupNorm(8, c); }},
    {"ln", [](int64_t c) { return nn::LayerNorm(c); }},
    {"in", [](int64_t c) { return nn::InstanceNorm(c); }},
    {"hin", [](int64_t c) { return nn::HalfInstanceNorm(c); }},
    {"rms", [](int64_t c) { return nn::RMSNorm(c); }},
    {"brn", [](int64_t c) { return nn::BatchRenorm(c); }},
    {"frozen", [](int64_t c) { return nn::FrozenBatchNorm(c); }},
    {"none", [](int64_t c) { return nn::Norm(c, {.identity = true}); }},
    {"ws+bn", [](int64_t c) { return nn::BatchNorm(c); }, true},
    {"ws+gn:4", [](int64_t c) { return nn::GroupNorm(4, c); }, true},
};

// What a layer takes for no bias: `false`, before it was an option with a name.
struct NoBias {
  template <class T>
  operator T() const {
    return T{false};
  }
};

struct Net : nn::Module {
  explicit Net(const Choice& norm) : norm1(norm.layer(16)), norm2(norm.layer(32)), norm3(norm.layer(32)) {
    norm1.activation = norm2.activation = Activation::relu();
    norm3.activation = Activation::leaky_relu(0.1);
    norm2.max_pool = 2;
    conv1.standardized = conv2.standardized = conv3.standardized = norm.standardized;
  }
  nn::Conv2d conv1{3, 16, 3, {.padding = 1}, NoBias()};
  nn::Norm norm1;
  nn::Conv2d conv2{16, 32, 3, {.padding = 1}};
  nn::Norm norm2;
  nn::Conv2d conv3{32, 32, 3, {.padding = 1}, NoBias()};
  nn::Norm norm3;
  nn::Linear fc{32, 10};
  NORMA_VISIT(conv1, norm1, conv2, norm2, conv3, norm3, fc)
  Tensor forward(const Tensor& x) override {
    const Tensor y = norm2(conv2, norm1(conv1, x));
    return fc(global_avg_pool(norm3(conv3, y, y)));
  }
};

Tensor batch(uint64_t i) { return random({8, 8, 10, 3}, 100 + i).to(device); }
Tensor classes(uint64_t i) { return integers({8}, 10, 200 + i).to(device); }

void train(const std::string& name, nn::Module& model, nn::Optimizer& optimizer, uint64_t steps) {
  for (uint64_t i = 0; i < steps; ++i) {
    optimizer.zero_grad();
    Tape tape;
    const Tensor loss = cross_entropy(model(batch(i)), classes(i), {.label_smoothing = 0.1});
    tape.backward(loss);
    if (i % 2 == 1) print(name + ", gradient norm", scalar(nn::clip_grad_norm(optimizer.parameters(), 0.5), f64));
    if (i == 2) nn::clip_grad_value(optimizer.parameters(), 0.01);
    optimizer.step();
    print(fmt::format("{}, loss {}", name, i), loss);
  }
  print(name, model.state_dict());
  print(name + ", state", optimizer.state());
}

// Weight decay for matrices alone; `decays` was the option before there were groups.
template <class Options>
Options decaying_matrices(Options options) {
  if constexpr (requires { options.decays; })
    options.decays = [](const std::string&, const Tensor& p) { return p.rank() >= 2; };
  else
    options.groups.push_back({[](const std::string&, const Tensor& p) { return p.rank() < 2; }, {.weight_decay = 0}});
  return options;
}

void optimizers() {
  const auto run = [](const std::string& name, auto make) {
    for (DType dtype : {f32, f64}) {
      NamedTensors parameters;
      for (const Shape& shape : {Shape{}, Shape{7}, Shape{33, 65}, Shape{300, 257}}) {
        if (emulated() && shape.numel() > 10000) continue;
        nn::Parameter p(random(shape, 101, dtype).clone().to(device));
        parameters.emplace_back(fmt::format("p{}", parameters.size()), p);
      }
      const std::unique_ptr<nn::Optimizer> optimizer = make(nn::Parameters(parameters));
      for (uint64_t step = 0; step < 4; ++step) {
        for (const auto& [key, p] : parameters) p.set_grad(random(p.shape(), 102 + step, dtype).to(device));
        optimizer->step();
      }
      print(fmt::format("{} {}", name, name_of(dtype)), parameters);
      print(fmt::format("{} {}", name, name_of(dtype)), optimizer->state());
    }
  };
  const std::pair<const char*, nn::SGDOptions> sgd[] = {
      {"plain", {.lr = 0.1}},
      {"decay", {.lr = 0.1, .weight_decay = 0.01}},
      {"momentum", decaying_matrices(nn::SGDOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01})},
      {"nesterov", {.lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.01}},
      {"dampening", {.lr = 0.1, .momentum = 0.8, .dampening = 0.3}}};
  for (const auto& [name, options] : sgd)
    run(fmt::format("SGD {}", name),
        [o = options](const nn::Parameters& p) { return std::make_unique<nn::SGD>(p, o); });
  const std::pair<const char*, nn::AdamOptions> adam[] = {{"plain", {.lr = 0.01}},
                                                          {"decay", {.lr = 0.01, .weight_decay = 0.05}},
                                                          {"betas", {.beta1 = 0.5, .beta2 = 0.9, .eps = 1e-3}}};
  for (const auto& [name, options] : adam) {
    run(fmt::format("Adam {}", name),
        [o = options](const nn::Parameters& p) { return std::make_unique<nn::Adam>(p, o); });
    run(fmt::format("AdamW {}", name),
        [o = options](const nn::Parameters& p) { return std::make_unique<nn::AdamW>(p, o); });
  }
}

void networks() {
  for (const Choice& norm : kNorms) {
    if (!sampled()) continue;
    const std::string name = fmt::format("network {}", norm.name);
    manual_seed(5);
    Net net(norm);
    net.to(device);
    nn::SGD optimizer(net, {.lr = 0.05, .momentum = 0.9, .nesterov = true, .weight_decay = 1e-3});
    train(name, net, optimizer, 4);
    const auto evaluate = [&](const std::string& how) {
      const nn::EvalMode evaluation(net);
      print(fmt::format("{}, {}", name, how), net(batch(9)));
    };
    evaluate("evaluation");
    for (const auto variance : {nn::PreciseVariance::merged, nn::PreciseVariance::mean_of_variances}) {
      nn::precise_bn(net,
                     [&] {
                       for (uint64_t i = 0; i < 3; ++i) net(batch(i));
                     },
                     {.variance = variance});
      print(fmt::format("{}, precise {}", name, static_cast<int>(variance)), net.state_dict());
      evaluate(fmt::format("precise {}", static_cast<int>(variance)));
    }
    nn::for_each_norm(net, [](const std::string&, nn::Norm& layer) {
      layer.estimator = nn::Estimator::cumulative();
      layer.reset_population();
    });
    train(name + " cumulative", net, optimizer, 3);
    nn::for_each_norm(net,
                      [](const std::string&, nn::Norm& layer) { layer.evaluation = nn::EvalStatistics::mini_batch; });
    evaluate("by the mini-batch");
    nn::for_each_norm(net,
                      [](const std::string&, nn::Norm& layer) { layer.evaluation = nn::EvalStatistics::population; });
    net.eval();
    attempt(name + ", folded", [&] {
      nn::fold_norm(net, batch(0));
      print(name + ", folded", net.state_dict());
      print(name + ", folded", net(batch(9)));
    });
  }

  for (const bool shared : {false, true}) {
    const std::string name = fmt::format("domains{}", shared ? ", shared batch" : "");
    manual_seed(6);
    nn::Sequential net(nn::Conv2d(3, 8, 3), nn::DomainNorm(8, {.count = 2, .batch = !shared}), nn::ReLU(),
                       nn::MaxPool2d(2), nn::Flatten(), nn::Linear(8 * 3 * 4, 10));
    net.to(device);
    nn::set_domains(net, tensor<int64_t>({0, 1, 1, 0, 0, 1, 0, 1}, {8}));
    nn::AdamW optimizer(net, {.lr = 0.01});
    train(name, net, optimizer, 3);
    net.eval();
    print(name + ", evaluation", net(batch(9)));
    nn::precise_bn(net, [&] {
      for (uint64_t i = 0; i < 3; ++i) net(batch(i));
    });
    print(name + ", precise", net.state_dict());
    nn::freeze_bn(net);
    net.train();
    train(name + ", frozen", net, optimizer, 2);
  }

  manual_seed(7);
  nn::Sequential net(nn::Conv2d(3, 8, 3, {.stride = 2}), nn::LeakyReLU(0.1), nn::Dropout(0.3),
                     nn::ConvTranspose2d(8, 6, 3, {.stride = 2}), nn::GELU(), nn::Upsample(2), nn::AvgPool2d(2),
                     nn::SiLU(), nn::Tanh(), nn::GlobalAvgPool(), nn::Linear(6, 10), nn::LayerNorm(10), nn::Sigmoid(),
                     nn::Softmax());
  net.to(device);
  nn::Adam optimizer(net, {.lr = 0.01});
  train("layers", net, optimizer, 4);
}

void starts() {
  Generator generator(9);
  const Tensor weight({6, 3, 5, 4});
  nn::init::kaiming_uniform(weight, {}, generator);
  print("kaiming_uniform", weight);
  nn::init::kaiming_normal(weight, {.gain = 1, .fan = nn::init::Fan::out}, generator);
  print("kaiming_normal", weight);
  nn::init::xavier_uniform(weight, 1, generator);
  print("xavier_uniform", weight);
  nn::init::xavier_normal(weight, 2, generator);
  print("xavier_normal", weight);
  std::vector<double> rates;
  for (int64_t step = 0; step < 50; ++step)
    for (double lr :
         {nn::StepLR{.lr = 0.3, .step_size = 7}(step), nn::CosineLR{.lr = 0.2, .steps = 40, .min_lr = 0.01}(step),
          nn::OneCycleLR{.max_lr = 0.4, .steps = 45}(step), nn::WarmUp{nn::CosineLR{.lr = 0.2, .steps = 40}, 5}(step)})
      rates.push_back(lr);
  print("schedules", tensor(rates, {static_cast<int64_t>(rates.size())}));
}

}  // namespace

void training() {
  optimizers();
  networks();
  starts();
}

void data_sets() {
  const Tensor images = integers({50, 12, 11, 3}, 256, 301).to(u8), labels = integers({50}, 4, 302);
  const data::ChannelStats stats = data::channel_stats(images);
  print("channel_stats, mean", tensor(stats.mean, {3}));
  print("channel_stats, deviation", tensor(stats.deviation, {3}));
  print("to_float", data::to_float(images, stats));
  const data::ImageDataset set = {"random", images, labels, {"a", "b", "c", "d"}};
  data::DataLoader loader(set, {.batch = 16,
                                .shuffle = true,
                                .seed = 3,
                                .transforms = {data::random_crop(3), data::random_crop(2, data::Padding::reflect),
                                               data::random_horizontal_flip(), data::cutout(4)},
                                .normalize = stats});
  for (int i = 0; i < 2; ++i)
    for (const data::Batch& b : loader) {
      print("loader, images", b.images);
      print("loader, labels", b.labels);
    }
}

}  // namespace probe
