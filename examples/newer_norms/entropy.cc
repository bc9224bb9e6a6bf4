// Wang et al., "Tent: fully test-time adaptation by entropy minimization" (2021): in another domain, statistics are
// estimated anew, and then gamma and beta, and nothing else, are trained to make the network sure of its answers: on
// the entropy of its outputs, without labels. The pictures for both come from the training set, so no test picture has
// a part in it.
#include "examples/common/corruptions.h"
#include "examples/newer_norms/experiments.h"

namespace examples::newer_norms {
namespace {

constexpr int64_t kBatch = 128;
constexpr double kRate = 1e-3;  // of Adam, as in the paper's experiments on CIFAR

// A pass over the pictures, in training mode: each batch by its own statistics.
void minimize_entropy(const Lab& lab, nn::Sequential& model, const ImageDataset& target, uint64_t seed) {
  NamedTensors affine;
  nn::for_each_norm(model, [&](const std::string& path, nn::Norm& norm) {
    affine.emplace_back(path + ".weight", norm.weight);
    affine.emplace_back(path + ".bias", norm.bias);
  });
  nn::Adam optimizer(affine, {.lr = kRate});
  Generator random(seed, 100);
  const std::vector<int64_t> order = shuffled(target, random);
  model.train();
  for (int64_t first = 0; first + kBatch <= target.size(); first += kBatch) {
    lab.check_interrupt();
    const data::Batch samples = gather(lab, target, std::span(order).subspan(first, kBatch));
    model.zero_grad();
    {
      Tape tape;
      const Tensor log_p = log_softmax(model(samples.images), -1);
      tape.backward(-sum(exp(log_p) * log_p) / static_cast<double>(kBatch));
    }
    optimizer.step();
  }
}

Result run(Lab& lab) {
  const std::vector<int> strengths = lab.choose<std::vector<int>>({3}, {2, 4});
  const ImageDataset source = lab.train.first(4096);
  const char *adapted = "re-estimated", *trained = "re-estimated, entropy minimized";
  Table errors{fmt::format("Corruptions of strength {}", lab.choose("3", "2 and 4, the mean")), "test pictures",
               "test error, %"};
  errors.bars = true;
  const auto measure = [&](const std::string& row, size_t count,
                           const std::function<Tensor(const Tensor&, size_t, uint64_t seed)>& change) {
    std::map<uint64_t, double> sum_adapted, sum_trained;
    const double share = 1.0 / static_cast<double>(count);
    for (size_t k = 0; k < count; ++k) {
      ImageDataset target = source, test = lab.test;
      target.images = change(source.images, k, 1);
      test.images = change(lab.test.images, k, 2);
      for (const uint64_t seed : lab.all_seeds()) {
        Run& ordinary = lab.ordinary(seed);
        const Snapshot before(ordinary);
        const data::DataLoader pictures(target, serving(lab, seed));
        nn::adapt_bn(ordinary.model, pictures);
        sum_adapted[seed] += share * error(lab, ordinary.model, test);
        minimize_entropy(lab, ordinary.model, target, seed);
        nn::adapt_bn(ordinary.model, pictures);
        sum_trained[seed] += share * error(lab, ordinary.model, test);
        before.restore(ordinary);
      }
    }
    for (const uint64_t seed : lab.all_seeds()) {
      errors.add(row, adapted, sum_adapted[seed]);
      errors.add(row, trained, sum_trained[seed]);
    }
  };
  measure("clean", 1, [](const Tensor& images, size_t, uint64_t) { return images; });
  for (const Corruption corruption : kCorruptions)
    measure(name(corruption), strengths.size(), [&](const Tensor& images, size_t k, uint64_t seed) {
      return corrupt(images, corruption, strengths[k], seed);
    });
  const auto over_corruptions = [&](const char* column) {
    Values sum = 0.0 * errors.at("clean", column);
    for (const Corruption c : kCorruptions) sum = sum + (1.0 / std::size(kCorruptions)) * errors.at(name(c), column);
    return sum;
  };
  return {
      {errors},
      {exceeds("on the mean of the corruptions, it lowers the error further", over_corruptions(adapted),
               over_corruptions(trained)),
       no_worse("on clean pictures, it is no worse", errors.at("clean", trained), errors.at("clean", adapted), 0.5)}};
}

}  // namespace

const Experiment kEntropy{
    "entropy", "Wang et al. 2021", "Sure of its answers in another domain",
    "Where statistics are re-estimated on corrupted pictures, training gamma and beta to minimize "
    "the entropy of the outputs, without labels, lowers the error further.",
    run};

}  // namespace examples::newer_norms
