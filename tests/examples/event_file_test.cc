// What the trainers tell TensorBoard: the bytes against those that TensorBoard's own code writes (committed), and the
// files against what its Python package reads (where that is installed).
#include "examples/common/event_file.h"

#include <cmath>

#include "tests/examples/program.h"
#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::test;

TEST(EventFile, ChecksumsAreThoseOfTheStandard) {  // RFC 3720, B.4
  std::string up, down;
  for (int i = 0; i < 32; ++i) {
    up += static_cast<char>(i);
    down += static_cast<char>(31 - i);
  }
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(crc32c(up), 0x46DD794Eu);
  EXPECT_EQ(crc32c(down), 0x113FDB5Cu);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(EventFile, WritesTheBytesThatTensorBoardWrites) {
  const TemporaryFolder folder;
  Png png{"", 2, 300};
  for (int i = 0; i < 512; ++i) png.bytes += static_cast<char>(i);
  EventFile events(folder / "run", 7, [] { return 1234567890.25; });
  events.scalar("step/loss", 0, 0.1);
  events.scalar("step/loss", 1, 0);
  events.scalar("step/loss", 300, INFINITY);
  events.picture("pictures/\xC3\xA4", int64_t{1} << 40, png);
  events.histogram("weights/fc.weight", 8,
                   tensor<double>({-3, -2.75, NAN, -2.8, 0, INFINITY, 0.25, 1, 4.5, -INFINITY}, {2, 5}));
  events.histogram("weights/fc.bias", 9, zeros({2}));
  events.histogram("nothing", 9, full({3}, NAN));
  events.histogram("nothing", 9, zeros({0}));
  const Bytes want = read_file(std::string(NORMA_GOLDEN_DIR) + "/events.tfevents"), got = read_file(events.path());
  ASSERT_EQ(got.size(), want.size());
  const auto differs = std::mismatch(want.begin(), want.end(), got.begin()).first;
  EXPECT_EQ(differs, want.end()) << "at byte " << differs - want.begin();
  EXPECT_NE(events.path().find("/run/events.out.tfevents.1234567890."), std::string::npos);
}

TEST(EventFile, BinsHoldWhatTheySay) {
  const TemporaryFolder folder;
  EventFile events(folder.path());
  for (const Tensor& x : {tensor<double>({-1e308, 1e308}), tensor<double>({1e-300, 2e-300}), randn({1000}) * 1e-3})
    EXPECT_NO_THROW(events.histogram("x", 0, x));
  EXPECT_GT(read_file(events.path()).size(), 1000u);
}

TEST(EventFile, WantsAFolder) {
  const TemporaryFolder folder;
  folder.write("file", {});
  expect_error([&] { EventFile events(folder / "file/run"); }, "[tensorboard] cannot make the folder");
}

// What TensorBoard reads of the folder, or nothing where it is not installed. $NORMA_TENSORBOARD_PYTHON: a Python that
// has it.
std::optional<nlohmann::json> read_back(const std::string& folder, const std::string& output) {
  const char* python = std::getenv("NORMA_TENSORBOARD_PYTHON");
  Program program("/usr/bin/env", {python ? python : "python3", NORMA_GOLDEN_DIR "/../read_events.py", folder}, output);
  const int status = program.wait();
  if (status == 77 || status == 127) return std::nullopt;
  EXPECT_EQ(status, 0) << program.output();
  const std::string text = program.output();
  return nlohmann::json::parse(text.substr(text.find("{\"scalars")));
}

class Tensorboard : public ::testing::Test {
 protected:
  std::string run(const std::string& path, Arguments arguments, int want = 0) const {
    arguments.insert(arguments.end(), {"--tensorboard", folder / "board", "--batch", "20", "--log-every", "2"});
    Program program(path, arguments, folder / "output");
    EXPECT_EQ(program.wait(), want) << program.output();
    return program.output();
  }
  int64_t files(const std::string& name) const {
    int64_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder / name)) ++count;
    return count;
  }
  TemporaryFolder folder;
};

TEST_F(Tensorboard, ReadsWhatMnistTells) {
  const Arguments arguments = {"--synthetic", "--limit", "90", "--resume", folder / "run", "--epochs", "2"};
  run(NORMA_MNIST, arguments);
  EXPECT_EQ(files("board/mnist"), 1);
  run(NORMA_MNIST, arguments);  // taken up again where nothing is left
  EXPECT_EQ(files("board/mnist"), 2);
  const auto read = read_back(folder / "board/mnist", folder / "read");
  if (!read) GTEST_SKIP() << "the Python package tensorboard is not installed: the files are not read back";
  const auto& scalars = read->at("scalars");
  for (const char* tag : {"step/loss", "step/lr", "step/images_per_second"}) {
    ASSERT_TRUE(scalars.contains(tag)) << *read;
    EXPECT_EQ(scalars.at(tag).size(), 6u) << tag;  // steps 2, 4, 5, and 6, 8, 10 of five an epoch
    EXPECT_EQ(scalars.at(tag)[2][0], 5);
    EXPECT_GT(scalars.at(tag)[0][1], 0);
  }
  for (const char* tag : {"epoch/train_loss", "epoch/train_accuracy", "epoch/test_loss", "epoch/test_accuracy"})
    EXPECT_EQ(scalars.at(tag).size(), 2u) << tag;
  const auto& pictures = read->at("images").at("pictures/train");
  ASSERT_EQ(pictures.size(), 2u);
  EXPECT_EQ(pictures[1][0], 10);
  EXPECT_GT(pictures[1][1], 4 * 224);
  const auto& histograms = read->at("histograms");
  EXPECT_EQ(histograms.at("weights/conv1.weight")[0][1], 32 * 9);
  EXPECT_EQ(histograms.at("weights/conv1.weight")[0][2], 32 * 9);
  EXPECT_EQ(histograms.at("weights/norm1.weight").size(), 2u);
  for (const char* tag : {"statistics/norm1.running_mean", "statistics/norm2.running_var"})
    EXPECT_EQ(histograms.at(tag).size(), 2u) << tag;
  EXPECT_FALSE(histograms.contains("statistics/norm1.num_batches_tracked"));
}

TEST_F(Tensorboard, ReadsWhatCifarAndSeveralWorkersTell) {
  folder.write_cifar10(10);
  run(NORMA_CIFAR, {"--data", folder.path(), "--epochs", "1", "--workers", "2", "--norm", "gn:8"});
  EXPECT_EQ(files("board/cifar"), 1);
  const auto read = read_back(folder / "board/cifar", folder / "read");
  if (!read) GTEST_SKIP() << "the Python package tensorboard is not installed: the files are not read back";
  EXPECT_EQ(read->at("scalars").at("step/loss").size(), 2u);
  EXPECT_EQ(read->at("images").at("pictures/train").size(), 1u);
  EXPECT_EQ(read->at("histograms").at("weights/blocks.0.conv1.weight")[0][1], 16 * 16 * 9);
}

TEST_F(Tensorboard, TrainingGoesOnWhereTheDiskIsFull) {
  const std::string text = run("/bin/sh", {"-c", "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\"", NORMA_MNIST,
                                           "--synthetic", "--limit", "90", "--epochs", "1"});
  EXPECT_NE(text.find("warning: cannot write '"), std::string::npos) << text;
  EXPECT_NE(text.find("test accuracy"), std::string::npos) << text;
}

}  // namespace
}  // namespace examples
