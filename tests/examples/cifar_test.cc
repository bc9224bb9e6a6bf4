// The program cifar from outside, on a few pictures, with and without recipes; and what it is made of: models,
// alternating flips, views in testing.
#include <thread>

#include "examples/cifar/augment.h"
#include "examples/cifar/models.h"
#include "examples/cifar/recipes.h"
#include "examples/common/evaluation.h"
#include "examples/common/find_data.h"
#include "examples/common/training.h"
#include "tests/examples/program.h"
#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::test;

int64_t count(nn::Module& model) {
  int64_t n = 0;
  for (const Tensor& p : model.parameters()) n += p.numel();
  return n;
}

// Norms of this type, or all of them.
int64_t count_norms(nn::Module& model, const std::string& type) {
  int64_t n = 0;
  nn::for_each_norm(model, [&](const std::string&, nn::Norm& norm) { n += type.empty() || norm.type() == type; });
  return n;
}

TEST(CifarModels, AreMadeByNameWithAnyNorm) {
  const auto parameters = [](const std::string& name, const std::string& norm) {
    const std::unique_ptr<nn::Module> model = make_model(name, 10, 3, parse_norm(norm));
    return count(*model);
  };
  EXPECT_EQ(parameters("resnet20", "bn"), 272'474);
  EXPECT_EQ(parameters("resnet110", "bn"), 1'730'714);
  // Of ResNet-18 for ImageNet, 11,689,512, with 10 classes (512 * 990 + 990 less) and a stem of 3 x 3 (64 * 3 * 40
  // less).
  EXPECT_EQ(parameters("resnet18", "bn"), 11'689'512 - 513 * 990 - 64 * 3 * 40);
  const int64_t convs = 9 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 3 * 512 * 512), channels = 2752;
  EXPECT_EQ(parameters("vgg11", "bn"), convs + 2 * channels + 513 * 10);
  EXPECT_EQ(parameters("vgg11", "none"), convs + channels + 513 * 10);  // biases in place of the norms'

  for (const std::string& name : kModels) {
    if (name == "resnet56" || name == "resnet110") continue;
    SCOPED_TRACE(name);
    const std::unique_ptr<nn::Module> model = make_model(name, 7, 1, parse_norm("ws+gn:8"));
    const Tensor x = randn({2, 32, 32, 1});
    EXPECT_EQ((*model)(x).shape(), Shape({2, 7}));
    EXPECT_EQ(count_norms(*model, "GroupNorm(8)"), count_norms(*model, ""));
    model->for_each([](const std::string& path, nn::Module& module) {
      const auto* conv = dynamic_cast<nn::Conv2d*>(&module);
      EXPECT_TRUE(!conv || conv->standardized == (path != "whiten")) << path;  // whose filters stay as they are
    });
  }
  const std::unique_ptr<nn::Module> vgg = make_model("vgg11", 10, 3, parse_norm("bn"));
  expect_error(
      [&] {
        (*vgg)(zeros({1, 28, 28, 3}));
      },
      "[Vgg11] halves pictures five times, [1, 28, 28, 3] want 32 x 32");
}

TEST(AlternatingFlip, ShowsEachPictureBothWaysInTwoEpochs) {
  Generator generator(3);
  Tensor x({64, 2, 3, 1}, u8);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(generator.below(256));
  std::vector<int64_t> samples(64);
  std::iota(samples.begin(), samples.end(), 0);
  const auto at = [&](int64_t epoch) {
    return alternating_flip()(x, {.seed = 1, .epoch = epoch, .samples = samples, .place = 1});
  };
  const Tensor even = at(0), odd = at(1), back = mirrored(x);
  int64_t as_they_are = 0;
  for (int64_t i = 0; i < 64; ++i) {
    const auto one = [&](const Tensor& t) { return view::slice(t, 0, i, i + 1).clone(); };
    const bool first = same_bits(one(even), one(x));
    as_they_are += first;
    EXPECT_TRUE(same_bits(one(even), one(first ? x : back)));
    EXPECT_TRUE(same_bits(one(odd), one(first ? back : x)));
  }
  EXPECT_NEAR(static_cast<double>(as_they_are), 32, 12);
  EXPECT_TRUE(same_bits(at(2), even));
  EXPECT_TRUE(same_bits(at(7), odd));
}

TEST(Evaluation, FlipsAverageAPictureAndItsMirrorImage) {
  struct LeftPixel : nn::Module {  // logits: the leftmost pixel, and nothing
    Tensor forward(const Tensor& x) override {
      const Tensor left = view::slice(view::reshape(x, {x.dim(0), -1}), 1, 0, 1);
      return concat({left, zeros(left.shape())}, 1);
    }
  } model;
  Tensor images({2, 1, 3, 1}, u8);
  const uint8_t pixels[] = {10, 99, 50, 200, 99, 0};
  std::copy(std::begin(pixels), std::end(pixels), images.mutable_data<uint8_t>());
  const data::ImageDataset set{"two", images, tensor<int64_t>({0, 1}), {"a", "b"}};
  data::DataLoader loader(set, {.batch = 2, .normalize = data::ChannelStats{{0.2}, {1.0 / 255}}});  // pixel - 51
  const auto loss = [](double a, double b) { return (std::log1p(std::exp(-a)) + std::log1p(std::exp(b))) / 2; };
  const Evaluation plain = evaluate(model, loader, cpu_device), both = evaluate(model, loader, cpu_device, 2);
  EXPECT_NEAR(plain.loss, loss(-41, 149), 1e-4);
  EXPECT_NEAR(both.loss, loss(-21, 49), 1e-4);
  EXPECT_EQ(plain.table.accuracy(), 0);
  EXPECT_TRUE(model.is_training());
}

// x [H, W], shifted by so many pixels down and right, and then mirrored or not; what is missing is reflected.
std::vector<double> view_of(const std::vector<double>& x, int64_t height, int64_t width, int64_t by, bool mirror) {
  const auto reflected = [](int64_t i, int64_t n) { return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i; };
  std::vector<double> y;
  for (int64_t h = 0; h < height; ++h)
    for (int64_t w = 0; w < width; ++w) {
      const int64_t column = mirror ? width - 1 - w : w;
      y.push_back(x[static_cast<size_t>(reflected(h - by, height) * width + reflected(column - by, width))]);
    }
  return y;
}

TEST(Evaluation, SixViewsAreWeighedMeans) {
  constexpr int64_t n = 5, height = 3, width = 4, pixels = height * width;
  struct Squares : nn::Module {  // three logits, each the square of another weighted sum of the pixels
    Tensor weight = randn({pixels, 3});
    Tensor forward(const Tensor& x) override { return square(matmul(view::reshape(x, {x.dim(0), pixels}), weight)); }
  } model;
  const Tensor images({n, height, width, 1}, u8);
  Generator generator(2);
  for (int64_t i = 0; i < images.numel(); ++i)
    images.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(generator.below(256));
  const Tensor labels = tensor<int64_t>({0, 1, 2, 0, 1});
  const data::ImageDataset set{"five", images, labels, {"a", "b", "c"}};
  data::DataLoader loader(set, {.batch = 2, .normalize = data::ChannelStats{{0.0}, {1.0}}});
  const Evaluation six = evaluate(model, loader, cpu_device, 6), one = evaluate(model, loader, cpu_device);

  double loss = 0, right = 0, single = 0;
  const std::vector<double> weights = model.weight.to_vector<double>();
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> x, logits(3, 0), first(3, 0);
    for (int64_t k = 0; k < pixels; ++k) x.push_back(images.data<uint8_t>()[i * pixels + k] / 255.0);
    for (const auto& [by, share] : {std::pair<int64_t, double>(0, 0.5), {-1, 0.25}, {1, 0.25}})
      for (const bool mirror : {false, true}) {
        const std::vector<double> seen = view_of(x, height, width, by, mirror);
        for (size_t c = 0; c < 3; ++c) {
          double sum = 0;
          for (size_t k = 0; k < seen.size(); ++k) sum += seen[k] * weights[3 * k + c];
          logits[c] += share * sum * sum / 2;
          if (by == 0 && !mirror) first[c] = sum * sum;
        }
      }
    const size_t label = static_cast<size_t>(labels.data<int64_t>()[i]);
    loss += std::log(std::exp(logits[0]) + std::exp(logits[1]) + std::exp(logits[2])) - logits[label];
    right += std::ranges::max_element(logits) - logits.begin() == static_cast<int64_t>(label);
    single += std::ranges::max_element(first) - first.begin() == static_cast<int64_t>(label);
  }
  EXPECT_NEAR(six.loss, loss / n, 1e-5);
  EXPECT_DOUBLE_EQ(six.table.accuracy(), right / n);
  EXPECT_DOUBLE_EQ(six.single_accuracy, single / n);
  EXPECT_DOUBLE_EQ(one.table.accuracy(), single / n);
  EXPECT_NE(one.loss, six.loss);
  expect_error([&] { evaluate(model, loader, cpu_device, 3); }, "[evaluate] by 3 views: want 1, 2 or 6");
}

TEST(TrainingOptions, AnEpochMayEndEarly) {
  const auto steps = [](double epochs, int64_t batches) { return TrainingOptions{.epochs = epochs}.steps(batches); };
  EXPECT_EQ(steps(9.9, 48), 476);  // 475.2, rounded up
  EXPECT_EQ(steps(1.1, 50), 55);   // which is 55.00000000000001 in floating point
  EXPECT_EQ(steps(0.1, 3), 1);
  EXPECT_EQ(steps(0, 3), 0);
  EXPECT_EQ(steps(8, 25), 200);
  EXPECT_EQ(TrainingOptions{.epochs = 8}.epochs_json().dump(), "8");
  EXPECT_EQ(TrainingOptions{.epochs = 9.9}.epochs_json().dump(), "9.9");
}

class CifarProgram : public ::testing::Test {
 protected:
  void SetUp() override { folder.write_cifar10(24); }
  std::string file(const std::string& name) const { return folder / name; }
  std::pair<int, std::string> start(const Arguments& more) const {
    Arguments arguments = {"--data", folder.path(), "--epochs", "1", "--batch", "40"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Program program(NORMA_CIFAR, arguments, file("output"));
    const int status = program.wait();
    return {status, program.output()};
  }
  void run(const Arguments& more) const {
    const auto [status, output] = start(more);
    EXPECT_EQ(status, 0) << more[0] << ": " << output;
  }
  void refuses(const Arguments& more, const std::string& part) const {
    const auto [status, output] = start(more);
    EXPECT_EQ(status, 1);
    EXPECT_NE(output.find(part), std::string::npos) << output;
  }
  nlohmann::json json(const std::string& name) const { return nlohmann::json::parse(Program::text_of(file(name))); }
  size_t lines(const std::string& name) const {
    const std::string text = std::filesystem::exists(file(name)) ? Program::text_of(file(name)) : "";
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  TemporaryFolder folder;
};

TEST_F(CifarProgram, LearnsAndWritesItsResult) {
  run({"--epochs", "6", "--lr", "0.1", "--ema", "0.5", "--tta", "--flip", "alternating", "--cutout", "8", "--json",
       file("result.json"), "--plot", file("run.svg"), "--save", file("weights")});
  const auto result = nlohmann::ordered_json::parse(Program::text_of(file("result.json")));
  std::vector<std::string> keys;
  for (const auto& [key, value] : result.items()) keys.push_back(key);
  EXPECT_EQ(keys,
            (std::vector<std::string>{"program", "dataset", "model", "epochs", "test_accuracy", "test_loss",
                                      "train_seconds", "images_per_second", "peak_memory_bytes", "device", "threads",
                                      "seed", "norm", "batch", "ema", "recipe", "views", "single_view_accuracy"}));
  EXPECT_EQ(result["program"], "cifar");
  EXPECT_EQ(result["model"], "resnet20");
  EXPECT_EQ(result["recipe"], "");
  EXPECT_EQ(result["views"], 2);
  EXPECT_GT(result["test_accuracy"], 0.3);  // brightness tells the classes apart
  EXPECT_TRUE(std::filesystem::exists(file("run.csv")));

  // The weights that were tested are those that are written, with their population.
  run({"--epochs", "0", "--load", file("weights"), "--views", "2", "--json", file("again.json")});
  EXPECT_EQ(json("again.json")["test_loss"], result["test_loss"]);
  run({"--epochs", "0", "--load", file("weights"), "--json", file("once.json")});
  EXPECT_EQ(json("once.json")["test_accuracy"], result["single_view_accuracy"]);
  EXPECT_EQ(json("once.json")["views"], 1);
  EXPECT_EQ(start({"--tta", "--views", "6"}).first, 1);
}

TEST_F(CifarProgram, GoesOnToTheSameWeightsWithTheirAverage) {
  const Arguments common = {"--epochs", "2", "--ema", "0.9", "--schedule", "cosine"};
  const auto with = [&](const Arguments& more) {
    Arguments all = common;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  run(with({"--save", file("whole")}));
  Program program(NORMA_CIFAR,
                  with({"--data", folder.path(), "--batch", "40", "--resume", file("run"), "--log", file("log"),
                        "--log-every", "1"}),
                  file("output"));
  while (program.running() && !(std::filesystem::exists(file("log")) && std::filesystem::file_size(file("log")) > 0)) {
  }
  program.signal(SIGINT);
  EXPECT_EQ(program.wait(), 130) << program.output();
  run(with({"--resume", file("run"), "--save", file("stopped")}));
  EXPECT_EQ(read_file(file("whole")), read_file(file("stopped")));
  refuses(with({"--resume", file("run"), "--ema", "0.8"}), "ema: '0.9', now '0.8'");
  refuses(with({"--resume", file("run"), "--crop", "2"}),
          "augmentation: 'crop 4 reflect, flip random, cutout 0', now 'crop 2");
  refuses(with({"--resume", file("run"), "--padding", "black"}), "now 'crop 4 black");
}

TEST_F(CifarProgram, TakesOddSizesAndSchedules) {
  run({"--batch", "1", "--limit", "3", "--schedule", "step"});
  run({"--batch", "1000", "--norm", "gn:4", "--ema", "0.5", "--flip", "none", "--crop", "0"});
  run({"--norm", "bn:8", "--population", "precise:50", "--limit", "50", "--label-smoothing", "0", "--momentum", "0"});
  Program drawn(NORMA_CIFAR, {"--synthetic", "--limit", "30", "--epochs", "1"}, file("output"));
  EXPECT_EQ(drawn.wait(), 0) << drawn.output();
}

TEST_F(CifarProgram, StopsWithinAnEpoch) {  // of 120 pictures
  run({"--batch", "50", "--epochs", "1.5", "--log", file("log"), "--log-every", "1", "--json", file("json")});
  EXPECT_EQ(lines("log"), 5u + 2u);  // a line a step, 1.5 times 3, rounded up, and a line an epoch
  EXPECT_EQ(json("json")["epochs"], 1.5);
  run({"--batch", "50", "--drop-last", "--epochs", "1.5", "--log", file("dropped"), "--log-every", "1"});
  EXPECT_EQ(lines("dropped"), 3u + 2u);
  refuses({"--batch", "121", "--drop-last"}, "[loader] drop_last leaves no batch: 120 samples in batches of 121");
}

TEST_F(CifarProgram, TakesRecipes) {
  for (const std::string& name : recipe_names()) {
    SCOPED_TRACE(name);
    run({"--recipe", name, "--json", file(name)});
    const nlohmann::json result = json(name);
    EXPECT_EQ(result["recipe"], name);
    EXPECT_EQ(result["model"], name == "fast" ? "airbench94" : name == "he2016" ? "resnet20" : name);
    EXPECT_EQ(result["views"], name == "he2016" ? 1 : 6);
    EXPECT_EQ(result["epochs"], 1);
    EXPECT_TRUE(std::isfinite(result["test_loss"].get<double>()));
  }
  EXPECT_EQ(start({"--recipe", "airbench95"}).first, 1);
}

TEST_F(CifarProgram, TheStemWhitensAndStaysSo) {
  run({"--recipe", "fast", "--save", file("weights"), "--views", "1"});
  const Tensor images = find_data({.folder = folder.path()}, {DataFormat::cifar10}).train.images;
  const Tensor x = data::to_float(images, data::channel_stats(images));
  const Tensor y = view::reshape(conv2d(x, *load_safetensors(file("weights")).find("whiten.weight"), {}), {-1, 24});
  const Tensor half = view::slice(y, 1, 0, 12).to(f64);
  const Tensor moments = matmul(view::permute(half, {1, 0}), half) / static_cast<double>(half.dim(0));
  for (int64_t i = 0; i < 12; ++i)
    for (int64_t j = 0; j < 12; ++j) EXPECT_NEAR(moments.at({i, j}), i == j, 0.02) << i << ", " << j;
}

// A checkpoint's settings say what the options have become.
TEST_F(CifarProgram, ARecipeIsItsOptions) {
  run({"--recipe", "airbench93", "--views", "1", "--resume", file("run")});
  const std::string output = start({"--resume", file("run")}).second;
  for (const char* part :
       {"model: 'airbench93', now 'resnet20'", "schedule: 'triangle', now 'onecycle'",
        "augmentation: 'crop 2 reflect, flip alternating, cutout 0', now 'crop 4 reflect, flip random, cutout 0'",
        "drop_last: 'true', now 'false'", "momentum: '0.85', now '0.9'", "lr: '1.5', now '0.2'",
        "weight_decay: '0.00133 of all', now '0.0005 of weights'", "bias_lr: '64, stem 1 for 3 epochs', now '1, ",
        "label_smoothing: '0.2', now '0.05'", "lookahead: '5', now '0'", "population: 'ema:0.4', now ''"})
    EXPECT_NE(output.find(part), std::string::npos) << part << " is not in " << output;
  for (const char* same : {"batch: ", "epochs: ", "optimizer: "})  // as the command line says, or by default
    EXPECT_EQ(output.find(same), std::string::npos) << same << output;
}

TEST_F(CifarProgram, OptionsHoldOnEitherSideOfTheRecipe) {
  const auto weights = [&](Arguments arguments) {
    arguments.insert(arguments.end(), {"--data", folder.path(), "--save", file("weights"), "--json", file("json")});
    Program program(NORMA_CIFAR, arguments, file("output"));
    EXPECT_EQ(program.wait(), 0) << program.output();
    return read_file(file("weights"));
  };
  const Bytes left = weights({"--batch", "30", "--model", "airbench93", "--views", "1", "--drop-last=false", "--epochs",
                              "0.5", "--nesterov", "false", "--recipe", "fast"});
  EXPECT_EQ(json("json")["batch"], 30);
  EXPECT_EQ(json("json")["views"], 1);
  EXPECT_EQ(json("json")["model"], "airbench93");
  EXPECT_EQ(left, weights({"--recipe", "fast", "--epochs", "0.5", "--drop-last=false", "--nesterov", "false", "--views",
                           "1", "--model", "airbench93", "--batch", "30"}));
  const Arguments few = {"--recipe", "fast", "--epochs", "0.5", "--model", "airbench93", "--batch", "30"};
  EXPECT_NE(left, weights(few));
  EXPECT_EQ(json("json")["views"], 6);
  weights({"--tta", "--ghost", "10", "--recipe", "airbench93", "--epochs", "0", "--batch", "10"});
  EXPECT_EQ(json("json")["views"], 2);
  EXPECT_EQ(json("json")["norm"], "bn:10");
}

// 24 steps, of which 13 train the stem's bias.
TEST_F(CifarProgram, RecipesGoOnBeforeAndBehindTheEndOfTheStemsTraining) {
  for (const std::string recipe : {"airbench94", "fast"}) {
    SCOPED_TRACE(recipe);
    const auto with = [&](const Arguments& more) {
      Arguments all = {"--recipe", recipe, "--model", "airbench93", "--batch", "10", "--epochs", "2"};
      all.insert(all.end(), {"--stem-epochs", "1.05"});
      all.insert(all.end(), more.begin(), more.end());
      return all;
    };
    run(with({"--views", "1", "--save", file("whole")}));
    size_t done = 0;
    for (const size_t steps : {2, 15}) {
      std::filesystem::remove(file("log"));
      Program program(
          NORMA_CIFAR,
          with({"--data", folder.path(), "--resume", file(recipe), "--log", file("log"), "--log-every", "1"}),
          file("output"));
      while (program.running() && lines("log") < steps - done)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      program.signal(SIGINT);
      EXPECT_EQ(program.wait(), 130) << program.output();
      const std::string output = program.output(), words = "stopped after step ";
      ASSERT_NE(output.find(words), std::string::npos) << output;
      done = std::stoul(output.substr(output.find(words) + words.size()));
      EXPECT_EQ(done > 13, steps > 13) << output;
    }
    run(with({"--views", "1", "--resume", file(recipe), "--save", file("stopped")}));
    EXPECT_EQ(read_file(file("whole")), read_file(file("stopped")));
  }
}

TEST_F(CifarProgram, SurvivesItsData) {
  Bytes only_two;  // classes 1 and 2; the others have no picture
  for (const Bytes& record : {cifar(1, 10, 1), cifar(1, 10, 2)})
    only_two.insert(only_two.end(), record.begin(), record.end());
  for (int i = 1; i <= 5; ++i) folder.write(fmt::format("data_batch_{}.bin", i), only_two);
  folder.write("test_batch.bin", only_two);
  run({"--ema", "0.5"});
  folder.write("data_batch_2.bin", cifar(1));
  refuses({"--norm", "bn"}, "data_batch_2.bin' has 1 pictures where 2 go with the 2 of ");
  refuses({"--data", file("nowhere")}, "scripts/get_data fetches one");
  const std::string empty = file("empty");
  std::filesystem::create_directory(empty);
  refuses({"--data", empty}, "no data set in ");
  EXPECT_EQ(start({"--model", "resnet21"}).first, 1);
}

}  // namespace
}  // namespace examples
