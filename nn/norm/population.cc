#include "norma/nn/norm/population.h"

#include <typeinfo>

#include "norma/nn/layers.h"
#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/where.h"
#include "norma/ops/shape/index.h"

namespace norma::nn {

void collect_moments(Module& model, bool frozen, bool training, const CollectMoments& f,
                     const std::function<void()>& passes) {
  struct Former {  // what a norm has before, put back in the end
    Norm* norm;
    decltype(Norm::collect) collect = norm->collect;
    Tensor ids = norm->ids;
    ~Former() { norm->collect = collect, norm->ids = ids; }
  };
  const EvalMode evaluation(model);
  std::map<Norm*, Former> former;
  for_each_norm(model, [&](const std::string&, Norm& norm) {
    if (!former.try_emplace(&norm, Former{&norm}).second) return;
    if (!norm.has_population() || (norm.source == Statistics::Source::given && !frozen)) return;
    norm.collect = [&f, &norm](const std::vector<Tensor>& xs, const Moments& moments) { f(norm, xs, moments); };
    norm.train(training);
  });
  passes();
}

void run_batches(Module& model, const data::DataLoader& loader, int64_t samples, int64_t batch, bool shuffle,
                 const Tensor& domains) {
  const int64_t all = loader.dataset().size();
  check(!domains.defined() || domains.shape() == Shape{all}, "population", "domains of shape {} for {} samples",
        domains.defined() ? domains.shape() : Shape{}, all);
  data::LoaderOptions options = loader.options();
  options.batch = batch, options.shuffle = shuffle, options.drop_last = false, options.sampler = {};
  data::DataLoader batches(loader, options);
  const std::vector<Tensor> parameters = model.parameters();
  const Device device = parameters.empty() ? cpu_device : parameters[0].device();
  const NoGrad unrecorded;
  const int64_t count = samples > 0 ? std::min(samples, all) : all;
  for (int64_t begin = 0; begin < count && (begin == 0 || begin < count - 1); begin += batch) {
    const data::Batch next = *batches.next();
    const int64_t first = options.worker.of(std::min(batch, all - begin)).first;
    const int64_t n = std::clamp<int64_t>(count - begin - first, 0, next.size());
    if (domains.defined()) set_domains(model, index_select(domains, 0, view::slice(next.indices, 0, 0, n)));
    model(view::slice(next.images, 0, 0, n).to(device));
  }
}

Moments merge_workers(const data::WorkerShare& share, const Communicator* merged, const Moments& m) {
  if (!share.worker || share.worker->size() == 1 || (merged && merged->size() == share.worker->size())) return m;
  const double part = 1. / (merged ? merged->size() : 1);  // each of those that have merged theirs brings the same
  const auto gather = [&](const Tensor& x) { return share.worker->all_gather(x); };  // [workers, sets, groups]
  const Moments all = merge_sets({gather(m.count * part), gather(m.mean), gather(m.m2 * part)});
  return {all.count[0], all.mean[0], all.m2[0]};
}

int64_t precise_bn(Module& model, const std::function<void()>& passes, const PreciseOptions& options) {
  // Of all that a layer receives; and, as count and M2, the sums over the batches of their degrees of freedom and M2.
  std::map<Norm*, std::pair<Moments, Moments>> estimates;
  const NoGrad unrecorded;
  const CollectMoments add = [&](Norm& norm, const auto&, const Moments& m) {
    auto& [merged, within] = estimates[&norm];
    const Tensor freedom = maximum(m.count - static_cast<double>(norm.center), 0);
    within = merge(within, {freedom, zeros_like(m.mean), m.m2});
    merged = merge(merged, m);
  };
  collect_moments(model, options.frozen, false, add, passes);
  const int64_t count = std::ssize(estimates);
  for_each_norm(model, [&](const std::string&, Norm& norm) {  // in an order that is the same for all workers
    const auto found = estimates.extract(&norm);
    if (!found) return;
    const auto share = [&](const Moments& m) { return merge_workers(options.worker, norm.grouping.samples.comm, m); };
    const auto& [all, within] = found.mapped();
    const Moments merged = share(all), of_var = options.variance == PreciseVariance::merged ? merged : share(within);
    const auto put = [seen = gt(merged.count, 0)](const Tensor& population, const Tensor& value) {
      const Tensor old = view::reshape(population, value.shape());  // stays, for a domain that was not seen
      population.copy_from(view::reshape(where(seen, value, old), population.shape()));
    };
    put(norm.running_mean, merged.mean);
    put(norm.running_var, norm.pooled(of_var).m2 / maximum(of_var.count, 1e-9));
  });
  return count;
}

int64_t precise_bn(Module& model, const data::DataLoader& loader, PreciseOptions options) {
  check(options.samples >= 0 && options.batch >= 1, "precise_bn", "{} samples in batches of {}: out of range",
        options.samples, options.batch);
  const int64_t all = loader.dataset().size(), samples = options.samples > 0 ? std::min(options.samples, all) : all;
  const int64_t most = std::min(options.batch, samples), passes = (samples + most - 1) / most,
                batch = (samples + passes - 1) / passes;
  options.worker = loader.options().worker;
  return precise_bn(
      model, [&] { run_batches(model, loader, samples, batch, true, options.domains); }, options);
}

int64_t freeze_bn(Module& model) {
  int64_t count = 0;
  for_each_norm(model, [&](const std::string&, Norm& norm) {
    if (norm.has_population()) norm.source = Statistics::Source::given, ++count;
  });
  return count;
}

// Puts the norm into the Conv2d or Linear before it.
static void fold(Norm& norm, WeightedLayer& layer) {
  Parameter &weight = layer.weight, &bias = layer.bias;
  const int64_t channels = norm.channels(), groups = norm.running_mean.numel();
  const auto of_channels = [&](const Tensor& x) {  // [groups] -> [C]
    return view::reshape(view::expand(view::reshape(x, {groups, 1}), {groups, channels / groups}), {channels});
  };
  Tensor scale = pow(of_channels(norm.running_var) + norm.eps, -0.5);
  Tensor shift = of_channels(norm.running_mean) * (norm.center ? -1 : 0);
  if (bias.defined()) shift = shift + bias.to(f64);
  if (norm.weight.defined()) scale = scale * norm.weight.to(f64);
  shift = norm.bias.defined() ? shift * scale + norm.bias.to(f64) : shift * scale;
  weight.copy_from(weight.to(f64) * view::reshape(scale, weight.rank() == 4 ? Shape{-1, 1, 1, 1} : Shape{-1, 1}));
  bias = shift.to(weight.dtype());
  if (norm.weight.defined()) norm.weight.fill(1);
  if (norm.bias.defined()) norm.bias.fill(0);
  norm.running_mean.fill(0);
  norm.running_var.fill(1 - norm.eps);  // so that it is the identity to the bit even where `identity` is unset again
  norm.identity = true;
}

Folded fold_norm(Module& model, const Tensor& example) {
  // What a recorded pass shows. Values are known by their numbers on the tape.
  std::map<int64_t, WeightedLayer*> made_by;        // the layer that made a value
  std::map<int64_t, int> uses;                      // how often a value is used
  std::map<const void*, int> users;                 // of a parameter: modules that have it; of a layer: its calls
  std::map<Norm*, std::vector<int64_t>> inputs_of;  // the inputs of all calls of a norm
  for (const auto& [_, p] : model.state_dict()) ++users[p.identity()];
  const Observer observer([&](Module& module, const Tensor&, const Tensor& y) {
    auto* layer = dynamic_cast<WeightedLayer*>(&module);
    const bool conv = typeid(module) == typeid(Conv2d) && !static_cast<Conv2d&>(module).standardized;
    if (layer && (conv || typeid(module) == typeid(Linear)) && layer->uses_raw_weight()) made_by[y.node().id] = layer;
    ++users[&module];
  });
  const CollectMoments note = [&](Norm& norm, const auto& xs, const Moments&) {
    for (const Tensor& x : xs) inputs_of[&norm].push_back(x.node().id);
  };
  std::optional<Tape> tape;
  collect_moments(model, true, false, note, [&] {
    // Norms use the statistics of the mini-batch in this pass. A single sample, which may have no variance, comes
    // twice.
    const Shape two = example.dim(0) == 1 ? example.shape().with(0, 2) : example.shape();
    tape.emplace();
    uses[model(view::expand(example, two).clone().set_requires_grad()).node().id] = 1;
    for (const Tape::Entry& entry : tape->entries())
      for (const Tape::Value& x : entry.inputs) ++uses[x.id];
  });
  check(!tape->entries().empty(), "fold_norm", "records a forward pass, which does not go under NoGrad");
  uses[-1] = 0;  // what requires no gradient

  Folded result;
  std::vector<std::pair<Norm*, WeightedLayer*>> pairs;
  for_each_norm(model, [&](const std::string& path, Norm& norm) {
    if (norm.identity) return;
    const bool of_batch = norm.evaluation != EvalStatistics::population && norm.source != Statistics::Source::given;
    const std::vector<int64_t>& inputs = inputs_of[&norm];
    const auto keep = [&](const char* why) { result.left.push_back(fmt::format("{}: {}", path, why)); };
    if (!norm.has_population() || of_batch || norm.domains.count > 0) return keep("has no single population");
    if (norm.thresholded) return keep("has a threshold behind it");
    if (inputs.size() != 1 || !made_by.contains(inputs[0]))
      return keep("is not called once, behind a Conv2d or Linear with its own weight");
    if (uses[inputs[0]] != 1) return keep("its input goes elsewhere too");
    if (norm.weight.defined() && norm.weight.requires_grad() && uses[tape->leaf_id(norm.weight)] == 0)
      return keep("takes its gamma and beta from elsewhere");
    WeightedLayer* layer = made_by[inputs[0]];
    bool shared = users[layer] != 1;
    for (const Tensor& p : layer->parameters()) shared |= users[p.identity()] != 1 || uses[tape->leaf_id(p)] > 1;
    if (shared) return keep("the layer before it, or a parameter of that, is used more than once");
    pairs.emplace_back(&norm, layer);
  });
  tape.reset();
  for (const auto& [norm, layer] : pairs)
    for (const auto& list : {norm->parameters(), layer->parameters()})
      for (const Tensor& p : list)
        check(!p.storage()->pinned(), "fold_norm", "a parameter of '{}' is packed or saved by a tape", layer->type());
  const NoGrad unrecorded;
  for (const auto& [norm, layer] : pairs) fold(*norm, *layer);
  result.count = std::ssize(pairs);
  return result;
}

}  // namespace norma::nn
