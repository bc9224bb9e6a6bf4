// The program cifar from outside, on a few pictures; and what it is made of: models, alternating flips.
#include "examples/cifar/augment.h"
#include "examples/cifar/models.h"
#include "examples/common/evaluation.h"
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
      EXPECT_TRUE(!conv || conv->standardized) << path;
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
  EXPECT_GT(result["test_accuracy"], 0.3);  // brightness tells the classes apart
  EXPECT_TRUE(std::filesystem::exists(file("run.csv")));

  // The weights that were tested are those that are written, with their population.
  run({"--epochs", "0", "--load", file("weights"), "--tta", "--json", file("again.json")});
  EXPECT_EQ(nlohmann::json::parse(Program::text_of(file("again.json")))["test_loss"], result["test_loss"]);
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
