// Section 6: what a batch tells. If the samples of a normalization batch are related, its statistics say something
// about each sample's label, and the network learns to read them instead of the picture. Here all 16 samples of a
// normalization batch are of one class (the SGD batch of 128 holds eight of them). Remedies: to normalize by a random
// division of the SGD batch ("shuffled"), by all of it ("synced"), or by each sample alone (group norm).
#include "examples/rethinking_batch/experiments.h"

namespace examples {
namespace {

constexpr int64_t kChunk = 16;

// Runs of 16 samples of one class, in random order; what is left over of each class comes last.
std::vector<int64_t> runs_of_a_class(const ImageDataset& dataset, Generator& random) {
  std::vector<std::vector<int64_t>> of_class(dataset.classes());
  for (const int64_t i : random.permutation(dataset.size())) of_class[dataset.labels.data<int64_t>()[i]].push_back(i);
  std::vector<std::span<const int64_t>> runs;
  std::vector<int64_t> order, rest;
  for (const std::vector<int64_t>& samples : of_class) {
    const size_t whole = samples.size() / kChunk * kChunk;
    for (size_t i = 0; i < whole; i += kChunk) runs.push_back(std::span(samples).subspan(i, kChunk));
    rest.insert(rest.end(), samples.begin() + static_cast<std::ptrdiff_t>(whole), samples.end());
  }
  for (const int64_t k : random.permutation(std::max<int64_t>(1, std::ssize(runs))))
    if (k < std::ssize(runs)) order.insert(order.end(), runs[k].begin(), runs[k].end());
  order.insert(order.end(), rest.begin(), rest.end());
  return order;
}

ImageDataset sorted(const ImageDataset& dataset, Generator& random) {
  const std::vector<int64_t> order = runs_of_a_class(dataset, random);
  const Tensor index = tensor(order, {std::ssize(order)});
  ImageDataset result = dataset;
  result.images = index_select(dataset.images, 0, index);
  result.labels = index_select(dataset.labels, 0, index);
  return result;
}

// Divides the batch into sets of 16 at random, the same for all layers.
void divide_at_random(Run& run, const data::Batch& samples, Generator& random) {
  const std::vector<int64_t> place = random.permutation(samples.size());
  const int64_t sets = std::max<int64_t>(1, samples.size() / kChunk);
  std::vector<int64_t> ids;
  for (const int64_t p : place) ids.push_back(p % sets);
  const Tensor labels_of = tensor(ids, {samples.size()});
  nn::for_each_norm(run.model, [&](const std::string&, nn::Norm& norm) { norm.grouping = labels(labels_of, sets); });
}

Result run(Lab& lab) {
  struct Case {
    std::string name;
    Order order;
    MakeNorm norm;
    bool divide = false;
  };
  const MakeNorm chunked = [](int64_t channels) { return nn::BatchNorm(channels, {.normalization_batch = kChunk}); };
  const MakeNorm group_norm = [](int64_t channels) { return nn::GroupNorm(4, channels); };
  const std::vector<Case> cases = {
      {"i.i.d.", shuffled, chunked},
      {"one class", runs_of_a_class, chunked},
      {"shuffled", runs_of_a_class, chunked, true},
      {"synced", runs_of_a_class, [](int64_t channels) { return nn::BatchNorm(channels); }},
      {"GN", runs_of_a_class, group_norm},
      {"GN, i.i.d.", shuffled, group_norm}};
  const char *population = "test pictures", *telling = "test pictures, 16 of a class at a time";
  Table errors{"Normalization batches of 16", "samples and remedy", "test error, %"};
  errors.bars = true;
  Generator any(1);
  const ImageDataset sorted_test = sorted(lab.test, any);
  for (const uint64_t seed : lab.all_seeds())
    for (const Case& c : cases) {
      Run net(lab, seed, c.norm);
      Recipe recipe = lab.recipe();
      recipe.order = c.order;
      Generator random(seed, 1'000'000);
      if (c.divide) recipe.before = [&](Run& r, const data::Batch& samples) { divide_at_random(r, samples, random); };
      train(lab, net, lab.train, recipe);
      estimate(lab, net.model, lab.train, seed);
      errors.add(c.name, population, error(lab, net.model, lab.test));
      // What the network says of those it may compare: that of a class, whatever the remedy was, by chunks of 16.
      nn::for_each_norm(net.model, [&](const std::string&, nn::Norm& norm) {
        if (norm.has_population()) norm.grouping = chunks(kChunk);
      });
      errors.add(c.name, telling, error(lab, net.model, sorted_test, By::mini_batch));
    }
  const Values& independent = errors.at("i.i.d.", population);
  const Values& leaking = errors.at("one class", population);
  Result result{{errors},
                {exceeds("batches of one class give a higher test error than independent ones", leaking, independent)}};
  for (const char* remedy : {"shuffled", "synced", "GN"})
    result.parts.push_back(exceeds(fmt::format("with the remedy '{}', at least four fifths of that are gone", remedy),
                                   0.8 * independent + 0.2 * leaking, errors.at(remedy, population), 0));
  return result;
}

}  // namespace

const Experiment kLeakage{"leakage", "section 6", "What a batch tells of its samples",
                          "Normalization batches whose samples are correlated leak labels to the network, which then "
                          "fails on single samples; "
                          "shuffling, synchronized or group norm stop it.",
                          run};

}  // namespace examples
