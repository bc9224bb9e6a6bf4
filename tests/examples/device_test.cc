// The other programs on the emulated device (mnist_test.cc has mnist): that they train there, and find what they find
// on the CPU.
#include "tests/examples/program.h"

namespace norma {
namespace {

using namespace norma::test;
using nlohmann::json;

class OnEmulatedDevice : public ::testing::Test {
 protected:
  void run(const char* program, Arguments arguments, const char* device, const std::string& json_file) const {
    for (const std::string& word : {std::string("--device"), std::string(device), std::string("--json"), json_file})
      arguments.push_back(word);
    Program process(program, arguments, folder / "output");
    EXPECT_EQ(process.wait(), 0) << process.output();
  }
  // What is in the program's --json on the CPU, and on the emulated device.
  std::pair<json, json> on_both(const char* program, const char* emulated, const Arguments& arguments) const {
    run(program, arguments, "cpu", folder / "cpu.json");
    run(emulated, arguments, "cuda", folder / "cuda.json");
    return {json::parse(Program::text_of(folder / "cpu.json")), json::parse(Program::text_of(folder / "cuda.json"))};
  }

  TemporaryFolder folder;
};

TEST_F(OnEmulatedDevice, CifarTrains) {
  const auto [cpu, cuda] =
      on_both(NORMA_CIFAR, NORMA_CIFAR_EMULATED,
              {"--synthetic", "--limit", "12", "--batch", "4", "--epochs", "1", "--ema", "0.5", "--lr", "0.01"});
  EXPECT_EQ(cpu["device"], "cpu");
  EXPECT_EQ(cuda["device"], "cuda:0");
  EXPECT_NEAR(cuda["test_loss"].get<double>() / cpu["test_loss"].get<double>(), 1, 3e-4);
}

TEST_F(OnEmulatedDevice, DenoiseTrains) {
  const auto [cpu, cuda] =
      on_both(NORMA_DENOISE, NORMA_DENOISE_EMULATED,
              {"--synthetic", "--limit", "12", "--batch", "4", "--epochs", "1", "--width", "8", "--norm", "hin"});
  EXPECT_NEAR(cuda["trials"][0]["psnr"][0], cpu["trials"][0]["psnr"][0], 1e-3);
}

TEST_F(OnEmulatedDevice, TheLaboratoryMeasures) {  // domains: labels, populations and affine parts of their own
  const auto [cpu, cuda] =
      on_both(NORMA_RETHINKING_BATCH, NORMA_RETHINKING_BATCH_EMULATED,
              {"multi_domain", "--quick", "--synthetic", "--limit", "32", "--seeds", "1", "--out", folder / "out"});
  EXPECT_EQ(cuda[0]["conditions"]["device"], "cuda:0");
  const json &got = cuda[0]["measured"][0]["values"], &want = cpu[0]["measured"][0]["values"];
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(got[i]["mean"].get<double>(), want[i]["mean"].get<double>(), 100.0 / 32 + 1e-9)  // a picture
        << want[i];
}

}  // namespace
}  // namespace norma
