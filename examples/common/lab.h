// The laboratory's bench: a small network whose norms are open to everything, or another, its training, and its test
// error. An experiment is a function of a Lab; what it measures is a Result (result.h).
#pragma once

#include <norma/norma.h>

#include <map>

#include "examples/common/interrupt.h"

namespace examples {

using namespace norma;
using data::ImageDataset;
using MakeNorm = std::function<nn::Norm(int64_t channels)>;
using MakeModel = std::function<nn::Sequential()>;
using MakeOptimizer = std::function<std::unique_ptr<nn::Optimizer>(nn::Module& model)>;

// Which samples make up an epoch, in what order: indices into the data set, drawn anew for each epoch.
using Order = std::function<std::vector<int64_t>(const ImageDataset& dataset, Generator& random)>;
std::vector<int64_t> shuffled(const ImageDataset& dataset, Generator& random);  // all of them, i.i.d.
// All of them in runs of `size` that stay together, where in the data set they are neighbours; the runs are shuffled.
Order shuffled_runs(int64_t size);

struct Run;
struct Recipe {
  int64_t epochs = 6;
  int64_t batch = 128;    // of SGD; the data set, if that is smaller. A remainder is left out of the epoch
  double lr = 0.1;        // reached after a twentieth of the steps, from then on half a cosine down to 0
  bool constant = false;  // instead: lr in every step
  Order order = shuffled;
  std::function<void(Run&, const data::Batch&)> before{}, after{};  // each step
};

// A network in training: six 3x3 convolutions, each with a norm and a ReLU behind it, of 16, 16, 16, 32, 32, 32
// channels, the first and the fourth with a stride of 2; an average over the positions, and a linear layer. Or, where
// the lab says so, ResNet-20. SGD with Nesterov's momentum of 0.9 and weight decay 5e-4 (of matrices). Of one seed, all
// runs start with the same weights and see the samples in the same order.
struct Run {
  Run(const struct Lab& lab, uint64_t run_seed, const MakeNorm& norm);
  // Of another network, which `make` draws by the default generator, or with another optimizer. The rate is the
  // recipe's.
  Run(const Lab& lab, uint64_t run_seed, const MakeModel& make, const MakeOptimizer& make_optimizer);
  Run(const Lab& lab, uint64_t run_seed, const MakeModel& make, const nn::SGDOptions& sgd);

  uint64_t seed;
  nn::Sequential model;
  std::unique_ptr<nn::Optimizer> optimizer;
  int64_t step = 0;
};

// What a run is made of, as it was. Restoring leaves the settings of norms alone.
class Snapshot {
 public:
  explicit Snapshot(Run& run);
  void restore(Run& run) const;

 private:
  NamedTensors model_, optimizer_;
  int64_t step_;
};

struct Interrupted {
  int signal;
};

struct Lab {
  ImageDataset train, test;
  data::ChannelStats scale;  // of the training pictures; by these all are normalized, whatever becomes of them
  Device device{};           // where networks are trained and evaluated
  bool quick = false;
  bool resnet20 = false;  // in place of the six convolutions (resnet.h); a step then takes ten times as long
  int64_t seeds = 3;
  std::string experiment{};  // its name, for the progress bar

  template <class T>
  T choose(T in_quick, T in_full) const {
    return quick ? in_quick : in_full;
  }
  // For settings of which a full run of ResNet-20 has time for those alone that the claim is about.
  template <class T>
  T choose(T in_quick, T in_full, T of_resnet20) const {
    return resnet20 && !quick ? of_resnet20 : choose(in_quick, in_full);
  }
  Recipe recipe() const { return {.epochs = choose<int64_t>(6, 8)}; }
  std::vector<uint64_t> all_seeds() const;

  // The ordinary network: batch norm over the SGD batch, trained by recipe(). Kept from one experiment to the next,
  // which estimate its populations anew and leave its weights alone.
  Run& ordinary(uint64_t seed);

  void check_interrupt() const;  // throws Interrupted after a Ctrl-C; called in all that takes long

  const Interrupt interrupt{};
  std::map<uint64_t, std::unique_ptr<Run>> ordinary_{};
};

// f32 [B, H, W, C], normalized by the lab's scale, and the labels of these samples, on the lab's device.
data::Batch gather(const Lab& lab, const ImageDataset& dataset, std::span<const int64_t> indices);
data::Batch first(const Lab& lab, const ImageDataset& dataset, int64_t count);  // of the first so many, or of all

int64_t steps(const ImageDataset& dataset, const Recipe& recipe);
// Goes on with a run, up to step `until` of all that the recipe makes.
void train(const Lab& lab, Run& run, const ImageDataset& dataset, const Recipe& recipe, int64_t until = INT64_MAX);

enum class By { population, mini_batch };  // mini_batch: as in training, by the norms' own grouping of a batch
// In percent, of the data set in batches of `batch`.
double error(const Lab& lab, nn::Module& model, const ImageDataset& dataset, By by = By::population,
             int64_t batch = 512);

// Estimates the populations by precise_bn: of `options.samples` samples drawn by the seed; 0: of 4,096, or all there
// are.
void estimate(const Lab& lab, nn::Module& model, const ImageDataset& dataset, uint64_t seed,
              nn::PreciseOptions options = {});
data::LoaderOptions serving(const Lab& lab, uint64_t seed, int64_t batch = 128, bool shuffle = true);

}  // namespace examples
