#include "examples/common/lab.h"

#include <numeric>

#include "examples/common/progress.h"
#include "examples/common/resnet.h"

namespace examples {
namespace {

nn::Norm activated(nn::Norm norm, const Activation& activation) {
  if (!norm.thresholded) norm.activation = activation;
  return norm;
}

nn::Sequential network(const Lab& lab, const MakeNorm& norm) {
  const int64_t colours = lab.train.images.dim(3), classes = lab.train.classes();
  nn::Sequential net;
  if (lab.resnet20) {
    const auto make = [&](int64_t channels, const Activation& behind) { return activated(norm(channels), behind); };
    net.add(ResNet(20, classes, make, colours));
    return net;
  }
  int64_t in = colours;
  for (const int64_t out : {16, 16, 16, 32, 32, 32}) {
    const Pair stride = in != out ? 2 : 1;
    auto& conv = net.add(nn::Conv2d(in, out, 3, {.stride = stride, .padding = 1}, {.bias = false}));
    nn::init::kaiming_normal(conv.weight);
    net.add(activated(norm(out), Activation::relu()));
    in = out;
  }
  net.add(nn::GlobalAvgPool());
  net.add(nn::Linear(in, classes));
  return net;
}

nn::Sequential seeded(const Lab& lab, uint64_t seed, const MakeModel& make) {
  manual_seed(seed);
  nn::Sequential net = make();
  net.to(lab.device);
  return net;
}

std::vector<int64_t> counted(int64_t count) {  // 0, 1, 2, ...
  std::vector<int64_t> list(static_cast<size_t>(count));
  std::iota(list.begin(), list.end(), 0);
  return list;
}

std::vector<std::pair<Tensor, Tensor>> pairs(const NamedTensors& to, const NamedTensors& from) {
  std::vector<std::pair<Tensor, Tensor>> result;
  for (size_t i = 0; i < to.size(); ++i) result.emplace_back(to[i].second, from[i].second);
  return result;
}

NamedTensors copies(NamedTensors tensors) {
  for (auto& [_, value] : tensors) value = value.clone();
  return tensors;
}

}  // namespace

std::vector<int64_t> shuffled(const ImageDataset& dataset, Generator& random) {
  return random.permutation(dataset.size());
}

Order shuffled_runs(int64_t size) {
  return [size](const ImageDataset& dataset, Generator& random) {
    std::vector<int64_t> order;
    for (const int64_t run : random.permutation((dataset.size() + size - 1) / size))
      for (int64_t i = run * size; i < std::min((run + 1) * size, dataset.size()); ++i) order.push_back(i);
    return order;
  };
}

data::Batch gather(const Lab& lab, const ImageDataset& dataset, std::span<const int64_t> indices) {
  const Tensor samples = tensor(indices, {std::ssize(indices)});
  return {data::to_float(index_select(dataset.images, 0, samples), lab.scale).to(lab.device),
          index_select(dataset.labels, 0, samples).to(lab.device), samples};
}

data::Batch first(const Lab& lab, const ImageDataset& dataset, int64_t count) {
  return gather(lab, dataset, counted(std::min(count, dataset.size())));
}

Run::Run(const Lab& lab, uint64_t run_seed, const MakeModel& make, const MakeOptimizer& make_optimizer)
    : seed(run_seed), model(seeded(lab, run_seed, make)), optimizer(make_optimizer(model)) {}

Run::Run(const Lab& lab, uint64_t run_seed, const MakeModel& make, const nn::SGDOptions& sgd)
    : Run(lab, run_seed, make, [&](nn::Module& net) { return std::make_unique<nn::SGD>(net, sgd); }) {}

Run::Run(const Lab& lab, uint64_t run_seed, const MakeNorm& norm)
    : Run(
          lab, run_seed, [&] { return network(lab, norm); },
          nn::SGDOptions{.lr = 0.1,
                         .momentum = 0.9,
                         .nesterov = true,
                         .weight_decay = 5e-4,
                         .groups = {{nn::is_norm_or_bias, {.weight_decay = 0}}}}) {}

Snapshot::Snapshot(Run& run)
    : model_(copies(run.model.state_dict())), optimizer_(copies(run.optimizer->state())), step_(run.step) {}

void Snapshot::restore(Run& run) const {
  for (const auto& [to, from] : pairs(run.model.state_dict(), model_)) to.copy_from(from);
  for (const auto& [to, from] : pairs(run.optimizer->state(), optimizer_)) to.copy_from(from);
  run.step = step_;
}

std::vector<uint64_t> Lab::all_seeds() const {
  std::vector<uint64_t> list(seeds);
  std::iota(list.begin(), list.end(), 1);
  return list;
}

Run& Lab::ordinary(uint64_t seed) {
  std::unique_ptr<Run>& run = ordinary_[seed];
  if (!run) {
    auto made = std::make_unique<Run>(*this, seed, [](int64_t channels) { return nn::BatchNorm(channels); });
    examples::train(*this, *made, train, recipe());
    run = std::move(made);
  }
  return *run;
}

int64_t steps(const ImageDataset& dataset, const Recipe& recipe) {
  return recipe.epochs * (dataset.size() / std::min(recipe.batch, dataset.size()));
}

void train(const Lab& lab, Run& run, const ImageDataset& dataset, const Recipe& recipe, int64_t until) {
  const int64_t batch = std::min(recipe.batch, dataset.size()), per_epoch = dataset.size() / batch,
                all = steps(dataset, recipe);
  const nn::WarmUp schedule{nn::CosineLR{recipe.lr, all}, 1 + all / 20};
  std::vector<int64_t> order;
  ProgressBar bar(fmt::format("{} seed {}/{}", lab.experiment, run.seed, lab.seeds), all);
  run.model.train();
  while (run.step < std::min(until, all)) {
    lab.check_interrupt();
    const int64_t epoch = run.step / per_epoch, first = run.step % per_epoch * batch;
    if (order.empty() || first == 0) {
      Generator random(run.seed, static_cast<uint64_t>(epoch) + 1);
      order = recipe.order(dataset, random);
    }
    const data::Batch samples =
        gather(lab, dataset, std::span(order).subspan(static_cast<size_t>(first), static_cast<size_t>(batch)));
    if (recipe.before) recipe.before(run, samples);
    run.optimizer->set_lr(recipe.constant ? recipe.lr : schedule(run.step));
    run.optimizer->zero_grad();
    {
      Tape tape;
      tape.backward(cross_entropy(run.model(samples.images), samples.labels));
    }
    run.optimizer->step();
    ++run.step;
    if (recipe.after) recipe.after(run, samples);
    bar.update(run.step, "");
  }
}

double error(const Lab& lab, nn::Module& model, const ImageDataset& dataset, By by, int64_t batch) {
  const nn::EvalMode former(model);  // and back to it at the end
  const NoGrad unrecorded;           // so that in training mode, too, no population moves
  model.train(by == By::mini_batch);
  const std::vector<int64_t> order = counted(dataset.size());
  double wrong = 0;
  for (int64_t first = 0; first < dataset.size(); first += batch) {
    lab.check_interrupt();
    const int64_t count = std::min(batch, dataset.size() - first);
    const data::Batch samples =
        gather(lab, dataset, std::span(order).subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
    wrong += sum(ne(argmax(model(samples.images), -1), samples.labels).to(f32)).item();
  }
  return 100 * wrong / static_cast<double>(dataset.size());
}

data::LoaderOptions serving(const Lab& lab, uint64_t seed, int64_t batch, bool shuffle) {
  return {.batch = batch, .shuffle = shuffle, .seed = seed, .prefetch = 0, .normalize = lab.scale};
}

void estimate(const Lab& lab, nn::Module& model, const ImageDataset& dataset, uint64_t seed,
              nn::PreciseOptions options) {
  lab.check_interrupt();
  if (options.samples == 0) options.samples = std::min<int64_t>(4096, dataset.size());
  nn::precise_bn(model, data::DataLoader(dataset, serving(lab, seed)), options);
}

void Lab::check_interrupt() const {
  if (const int signal = interrupt.signal()) throw Interrupted{signal};
}

}  // namespace examples
