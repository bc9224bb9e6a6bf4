// Trains a small U-Net to take Gaussian noise off pictures, of several levels at once and without being told which, and
// measures PSNR and SSIM on held-out ones. Which norm serves it best? HINet (Chen et al. 2021) says: half of one.
//
//   denoise                                three epochs with half instance norm, a table
//   denoise --norm bn --png strip.png      another norm; a strip of noisy, restored and clean pictures
//   denoise --norm all --resume run        six norms from three seeds each, and what that says of HINet's claim; may be
//                                          stopped with Ctrl-C at any time, and goes on from there
#include <fmt/ranges.h>
#include <norma/norma.h>

#include <filesystem>
#include <numbers>

#include "examples/common/find_data.h"
#include "examples/common/norm_options.h"
#include "examples/common/picture.h"
#include "examples/common/program.h"
#include "examples/common/progress.h"
#include "examples/common/run_log.h"
#include "examples/common/training.h"
#include "examples/common/workers.h"
#include "examples/denoise/psnr_ssim.h"
#include "examples/denoise/report.h"
#include "examples/denoise/unet.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::data;

constexpr int64_t kShown = 2;     // held-out pictures on the strip
constexpr int64_t kBatch = 500;   // held-out pictures in a batch
constexpr double kMostPsnr = 80;  // what a picture that is restored to the last bit counts as, in dB

struct Options {
  TrainingOptions training{.epochs = 3, .batch = 64, .eval_every = 100, .lr = 2e-3};
  DataOptions data;
  NormOptions norms;
  std::vector<double> sigma = {15, 25, 50};
  int64_t seeds = 0, width = 16;
  std::string png, markdown, command;
};

// Pixels as they are: [0, 1].
ChannelStats unit_range(const ImageDataset& dataset) {
  const size_t channels = static_cast<size_t>(dataset.images.dim(3));
  return {std::vector<double>(channels, 0), std::vector<double>(channels, 1)};
}

// Adds noise of one level, drawn for each picture. clean: [N, H, W, C] in [0, 1]; what comes out is not cut to it.
Tensor with_noise_of_any(const Tensor& clean, const std::vector<double>& sigma, Generator random) {
  const Tensor level({clean.dim(0), 1, 1, 1});
  for (int64_t i = 0; i < clean.dim(0); ++i)
    level.mutable_data<float>()[i] =
        static_cast<float>(sigma[static_cast<size_t>(random.below(static_cast<int64_t>(sigma.size())))] / 255);
  return clean + randn(clean.shape(), random) * level;
}

// Minus the PSNR in dB, the mean over the pictures: the loss of HINet. [N, H, W, C] twice -> a scalar; of none 0.
Tensor psnr_loss(const Tensor& restored, const Tensor& clean) {
  if (restored.dim(0) == 0) return sum(restored);
  const Tensor squares = mean(square(restored - clean), {1, 2, 3});
  return mean(log(squares + 1e-8)) * (10 / std::numbers::ln10);
}

// Calls f(level, clean, noisy, restored) for the first `count` pictures, at each level in turn and in batches: a worker
// with its share of each. All three are [N, H, W, C] in [0, 1]: cut to it, as whatever shows them does. Without a model
// nothing is restored. The noise of a picture at a level is always the same.
template <class F>
void restore(nn::Module* model, const ImageDataset& dataset, int64_t count, const std::vector<double>& sigma,
             Device device, const WorkerShare& worker, F&& f) {
  std::optional<nn::EvalMode> evaluation;
  if (model) evaluation.emplace(*model);
  for (size_t level = 0; level < sigma.size(); ++level) {
    Generator random(0x68656C64206F7574, level);
    for (int64_t at = 0; at < std::min(count, dataset.size()); at += kBatch) {
      const int64_t end = std::min({at + kBatch, count, dataset.size()});
      const auto [first, last] = worker.of(end - at);
      const Tensor clean = to_float(view::slice(dataset.images, 0, at + first, at + last), unit_range(dataset));
      const Tensor noise = randn(dataset.images.shape().with(0, end - at), random);
      const Tensor noisy = clean + view::slice(noise, 0, first, last) * (sigma[level] / 255);
      const Tensor restored = model ? (*model)(noisy.to(device)).to(cpu_device) : noisy;
      f(level, clean, clamp(noisy, 0, 1), clamp(restored, 0, 1));
    }
  }
}

// Of all pictures, which the workers share.
Quality evaluate(nn::Module* model, const ImageDataset& dataset, const std::vector<double>& sigma, Device device,
                 nn::Worker& me) {
  const double all = static_cast<double>(dataset.size());
  Quality quality{std::vector<double>(sigma.size(), 0), std::vector<double>(sigma.size(), 0)};
  restore(model, dataset, dataset.size(), sigma, device, me,
          [&](size_t level, const Tensor& clean, const Tensor&, const Tensor& restored) {
            for (double value : psnr(restored, clean)) quality.psnr[level] += std::min(value, kMostPsnr) / all;
            for (double value : ssim(restored, clean)) quality.ssim[level] += value / all;
          });
  quality.psnr = sum_of_workers(me, quality.psnr);
  quality.ssim = sum_of_workers(me, quality.ssim);
  return quality;
}

// The rows of a strip: each of the shown pictures at each level. Columns are added from left to right. Every worker has
// one, since a norm may speak to all.
class Strip {
 public:
  Strip(const ImageDataset& dataset, const std::vector<double>& sigma, Device device)
      : dataset_(dataset),
        sigma_(sigma),
        device_(device),
        rows_(static_cast<size_t>(std::min(kShown, dataset.size())) * sigma.size()) {}

  enum class Column { noisy, restored, clean };
  void add(Column column, nn::Module* model = nullptr) {
    restore(model, dataset_, kShown, sigma_, device_, {},
            [&](size_t level, const Tensor& clean, const Tensor& noisy, const Tensor& restored) {
              const Tensor& shown = column == Column::clean ? clean : column == Column::noisy ? noisy : restored;
              const Tensor pixels = (shown * 255 + 0.5).to(u8);
              for (int64_t i = 0; i < pixels.dim(0); ++i)
                rows_[i * std::ssize(sigma_) + level].push_back(
                    {view::reshape(view::slice(pixels, 0, i, i + 1), pixels.shape().without(0)), "",
                     column != Column::noisy});
            });
  }
  void write(const std::string& path) const {
    std::vector<Picture> pictures;
    for (const auto& row : rows_) pictures.insert(pictures.end(), row.begin(), row.end());
    write_png(path, pictures, std::ssize(rows_[0]));
  }

 private:
  const ImageDataset& dataset_;
  const std::vector<double>& sigma_;
  const Device device_;
  std::vector<std::vector<Picture>> rows_;
};

// Trains one network, and notes in `trial` what became of it. training: with the trial's seed; name: of its checkpoint.
// Returns 0, or the signal that stopped it.
int train(UNet& model, const std::string& name, const TrainingOptions& training, const Options& options,
          const Data& data, Device device, nn::Worker& me, Trial& trial) {
  if (!training.load.empty() && me.first()) nn::load(model, training.load);
  nn::broadcast(me, model);
  nn::Adam optimizer(model, {.lr = training.lr});
  DataLoader loader(data.train, {.batch = training.batch,
                                 .shuffle = true,
                                 .seed = training.seed,
                                 .normalize = unit_range(data.train),
                                 .worker = me});
  const nn::CosineLR schedule{.lr = training.lr, .steps = training.steps(loader.batches())};

  NormOptions norms = options.norms;
  norms.norm = trial.norm;
  nn::TrainingRun state{model, optimizer, {}, training.fingerprint(data.train), &me};
  state.fingerprint.merge(norms.fingerprint());
  state.fingerprint["sigma"] = fmt::format("{}", fmt::join(options.sigma, ","));
  state.fingerprint["width"] = std::to_string(options.width);
  Trainer trainer(training, name, state, loader);

  const auto step = [&](const Batch& batch, int64_t number) -> StepResult {
    // The noise is a function of the seed, the step and the worker: nothing of it belongs in a checkpoint.
    const uint64_t stream = static_cast<uint64_t>(number) | static_cast<uint64_t>(me.rank()) << 40;
    const Tensor noisy =
        with_noise_of_any(batch.images, options.sigma, Generator(training.seed ^ 0x6E6F697365, stream));
    optimizer.set_lr(schedule(number));
    optimizer.zero_grad();
    Tape tape;
    const Tensor loss = psnr_loss(model(noisy.to(device)), batch.images.to(device));
    tape.backward(loss * batch.weight);
    nn::average_gradients(me, optimizer);
    optimizer.step();
    nn::average_populations(me, model);
    check(batch.size() == 0 || std::isfinite(loss.item()), "denoise",
          "the loss is {} in step {}; a smaller --lr may help", loss.item(), number);
    return {loss};
  };
  const auto measure = [&]() -> Metrics {
    norms.estimate(model, loader);
    trial.quality = evaluate(&model, data.test, options.sigma, device, me);
    return {{"test_psnr", mean_of(trial.quality.psnr)}, {"test_ssim", mean_of(trial.quality.ssim)}};
  };
  const int signal = trainer.run(step, measure);
  trial.seconds = trainer.seconds();
  return signal;
}

// The names in "--norm bn,gn:8"; "all" stands for those of the table.
std::vector<std::string> norms_of(const std::string& text) {
  if (text == "all") return {"none", "bn", "in", "hin", "gn:8", "ln"};
  std::vector<std::string> names = CLI::detail::split(text, ',');
  for (size_t i = 0; i < names.size(); ++i)
    check(std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) ==
              names.begin() + static_cast<std::ptrdiff_t>(i),
          "--norm", "'{}' names '{}' twice", text, names[i]);
  return names;
}

// Of several networks, each has a file of its own: "net.svg" becomes "net-hin-1.svg".
std::string own_file(const std::string& path, const std::string& name) {
  const std::filesystem::path whole(path);
  return path.empty() ? ""
                      : (whole.parent_path() / (whole.stem().string() + name + whole.extension().string())).string();
}

// What is wrong with where the results are to go should be known before hours of work, not after them.
void check_outputs(const Options& options) {
  for (const std::string& path : {options.training.json, options.training.save, options.png, options.markdown}) {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    check(path.empty() || folder.empty() || std::filesystem::is_directory(folder), "denoise",
          "no folder '{}' to write '{}' to", folder.string(), path);
  }
  check_page(options.markdown);
}

// What each worker does.
int train_and_test(const Options& options, const Data& data, nn::Worker& me) {
  const Interrupt interrupt;  // for what comes between two networks
  const TrainingOptions& training = options.training;
  const Device device = Device::parse(training.device);
  const std::vector<std::string> norms = norms_of(options.norms.norm);
  const int64_t seeds = options.seeds > 0 ? options.seeds : options.norms.norm == "all" ? 3 : 1;
  const int64_t networks = seeds * std::ssize(norms);

  const Shape image = data.train.images.shape().without(0);
  check(image[0] >= kSsimWindow && image[1] >= kSsimWindow, "denoise",
        "pictures {} are too small: SSIM wants {} x {} pixels", image, kSsimWindow, kSsimWindow);
  const auto network = [&](const std::string& norm) { return UNet(image[2], parse_norm(norm, &me), options.width); };
  int64_t parameters = 0;
  for (const std::string& norm : norms) {  // one that does not fit is found before any is trained
    UNet model = network(norm);
    options.norms.configure(model);
    parameters = std::max(parameters, count_parameters(model));
  }
  if (me.first()) {
    fmt::print("data   {}: {} + {} pictures {}\n", data.origin, data.train.size(), data.test.size(), image);
    fmt::print("noise  Gaussian, of deviation {} in 255ths\n", fmt::join(options.sigma, ", "));
    fmt::print("model  U-Net, norm {}, {} parameters, on {}\n", fmt::join(norms, ", "), parameters, training.place());
  }

  // Training and evaluation: all norms from one seed, then from the next
  const int64_t held_out = data.test.size();
  Report report{options.sigma, evaluate(nullptr, data.test, options.sigma, device, me), {}};
  Strip strip(data.test, options.sigma, device);
  strip.add(Strip::Column::noisy);
  double seconds = 0;
  for (int64_t number = 0; number < networks; ++number) {
    const std::string& norm = norms[number % std::ssize(norms)];
    TrainingOptions own = training;
    own.seed = training.seed + static_cast<uint64_t>(number / std::ssize(norms));
    std::string name = fmt::format("-{}-{}", norm, own.seed);
    std::replace(name.begin(), name.end(), ':', '_');
    if (networks > 1) own.plot = own_file(own.plot, name), own.save = own_file(own.save, name);
    if (me.first()) {
      fmt::print("\n{}, seed {}: network {} of {}\n", norm, own.seed, number + 1, networks);
      std::fflush(stdout);
      RunLog(own.log).write({{"norm", norm}, {"seed", own.seed}});
    }

    manual_seed(own.seed);
    UNet model = network(norm);
    options.norms.configure(model);
    model.to(device);
    Trial trial{norm, own.seed, {}, 0};
    if (const int signal = train(model, "denoise" + name, own, options, data, device, me, trial)) return 128 + signal;
    report.trials.push_back(trial);
    seconds += trial.seconds;
    if (number < std::ssize(norms)) strip.add(Strip::Column::restored, &model);
    if (!own.save.empty() && me.first()) nn::save(model, own.save);
    const int signal = number + 1 < networks ? signal_of_workers(me, interrupt) : 0;
    if (signal != 0) {
      if (me.first())
        fmt::print("stopped after {} of {} networks. {}\n", number + 1, networks,
                   own.resume.empty() ? "There is no --resume FOLDER, and so nothing is kept"
                                      : "To go on, give the same command again");
      return 128 + signal;
    }
  }
  strip.add(Strip::Column::clean);

  // Result
  if (!me.first()) return 0;
  fmt::print("\n{}\n{} network{} trained in {}\n", report.text(), report.trials.size(),
             report.trials.size() == 1 ? "" : "s", duration(seconds));
  if (!options.png.empty()) strip.write(options.png);
  if (!options.markdown.empty())
    fill_page(options.markdown,
              fmt::format("`{}`: {} pictures of {} to train with, {} held out, {} parameters, {} threads; {} of "
                          "training.\n\n{}",
                          options.command, data.train.size(), data.train.name, held_out, parameters, training.threads,
                          duration(seconds), report.markdown()));
  if (!training.json.empty()) {
    const double images = training.epochs * static_cast<double>(networks * data.train.size());
    nlohmann::ordered_json json = {{"program", "denoise"},
                                   {"dataset", data.train.name},
                                   {"model", "unet"},
                                   {"parameters", parameters},
                                   {"epochs", training.epochs_json()},
                                   {"batch", training.batch},
                                   {"lr", training.lr},
                                   {"train_seconds", seconds},
                                   {"images_per_second", seconds > 0 ? images / seconds : 0},
                                   {"peak_memory_bytes", peak_memory()},
                                   {"threads", training.threads},
                                   {"seed", training.seed},
                                   {"seeds", seeds}};
    if (me.size() > 1) json.update({{"workers", training.workers}, {"processes", training.processes}});
    json.update(report.json());
    write_file_atomic(training.json, json.dump(2) + "\n");
  }
  return 0;
}

int run(Options& options, int argc, char** argv) {
  const nn::Workers workers = options.training.start(argc, argv);
  check_outputs(options);
  const Data data = find_data(options.data, {DataFormat::mnist});
  return status_of_workers(workers, [&](nn::Worker& me) { return train_and_test(options, data, me); });
}

}  // namespace
}  // namespace examples

int main(int argc, char** argv) {
  examples::Options options;
  CLI::App app("Trains a small U-Net to take Gaussian noise off pictures, and measures PSNR and SSIM.");
  app.option_defaults()->always_capture_default()->take_last();
  options.norms.norm = "hin";
  options.data.add_to(app);
  options.training.add_to(app);
  options.norms.add_to(app);
  app.get_option("--norm")->description("none, bn, bn:K, in, hin, gn:G, ln, rms, brn; several as bn,in; or all");
  app.add_option("--seeds", options.seeds, "so many networks of each norm, from --seed, --seed + 1, ...")
      ->check(examples::at_least(1))
      ->default_str("1; of --norm all 3");
  app.add_option("--sigma", options.sigma, "levels of noise, as deviations in 255ths")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::Range(0.0, 255.0));
  app.add_option("--width", options.width, "channels of the network at full size")->check(CLI::Range(1, 1024));
  app.add_option("--markdown", options.markdown, "write the tables into this page, between its marks");
  app.add_option("--png", options.png, "write a strip of noisy, restored and clean pictures to this file");
  for (int i = 0; i < argc; ++i) {
    const std::string word = i == 0 ? std::filesystem::path(argv[0]).filename().string() : argv[i];
    options.command += (i == 0 ? "" : " ") + word;
  }
  return examples::run_program(app, argc, argv, [&] { return examples::run(options, argc, argv); });
}
