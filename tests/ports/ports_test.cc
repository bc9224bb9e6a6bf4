// The programs of examples/ports, from outside: their first losses are those of the PyTorch programs that they are
// ports of, which stand in tests/golden/data/ports; and training leads somewhere.
#include <numeric>

#include "tests/examples/program.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using nlohmann::json;

struct PortCase {
  const char* name;
  const char* loss;  // that falls
  double share;      // of its mean over the recorded steps: what the mean over the last 20 steps is below
  const char* result{};
  double least{};
};

void PrintTo(const PortCase& port, std::ostream* out) { *out << port.name; }  // for gtest's messages

class Ports : public ::testing::TestWithParam<PortCase> {
 protected:
  json run(const Arguments& more) const {
    const std::string record = folder / "record.json";
    Arguments arguments = {"--json", record};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Program program(fmt::format("{}/{}", NORMA_PORTS, GetParam().name), arguments, folder / "output");
    EXPECT_EQ(program.wait(), 0) << program.output();
    return json::parse(Program::text_of(record));
  }
  static TensorFile golden() {
    return load_safetensors(fmt::format("{}/ports/{}.safetensors", NORMA_GOLDEN_DIR, GetParam().name));
  }
  static double mean(const std::vector<double>& x) {
    return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
  }
  TemporaryFolder folder;
};

TEST_P(Ports, BeginAsInPyTorch) {
  const TensorFile file = golden();
  const json losses = run({"--steps", "8"}).at("losses");
  int seen = 0;
  for (const auto& [name, want] : file.tensors) {
    if (!name.starts_with("losses/")) continue;
    const auto got = losses.at(name.substr(7)).get<std::vector<double>>();
    ASSERT_EQ(want.shape(), (Shape{8})) << name;
    ASSERT_EQ(got.size(), 8u) << name;
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i] / want.at({static_cast<int64_t>(i)}), 1, 1e-4) << name << ", step " << i;
    ++seen;
  }
  EXPECT_EQ(static_cast<size_t>(seen), losses.size());
}

TEST_P(Ports, Learn) {
  const PortCase& port = GetParam();
  const json record = run({});
  const auto losses = record.at("losses").at(port.loss).get<std::vector<double>>();
  ASSERT_GE(losses.size(), 60u);
  const double first = mean({losses.begin(), losses.begin() + 8}), last = mean({losses.end() - 20, losses.end()});
  EXPECT_LT(last, port.share * first) << "at first " << first;
  if (port.result != nullptr) {
    EXPECT_GT(record.at("result").at(port.result).get<double>(), port.least);
  }
}

INSTANTIATE_TEST_SUITE_P(Each, Ports,
                         ::testing::Values(PortCase{"gan", "distance", 0.05},                    //
                                           PortCase{"gru", "loss", 0.1, "accuracy", 0.95},       //
                                           PortCase{"moco", "loss", 0.5},                        //
                                           PortCase{"table", "loss", 0.2, "r2", 0.8},            //
                                           PortCase{"transfer", "loss", 0.2, "accuracy", 0.85},  //
                                           PortCase{"unet", "loss", 0.3, "iou", 0.7},            //
                                           PortCase{"vae", "loss", 0.4},                         //
                                           PortCase{"vit", "loss", 0.6, "accuracy", 0.6}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(PortPrograms, SayWhatIsWrong) {
  TemporaryFolder folder;
  const std::string vae = std::string(NORMA_PORTS) + "/vae", output = folder / "output";
  Program missing(vae, {"--data", folder / "none.safetensors"}, output);
  EXPECT_EQ(missing.wait(), 1);
  EXPECT_NE(missing.output().find("none.safetensors"), std::string::npos) << missing.output();
  Program other(vae, {"--data", std::string(NORMA_GOLDEN_DIR) + "/ports/gru.safetensors"}, output);
  EXPECT_EQ(other.wait(), 1);
  EXPECT_NE(other.output().find("data/pictures"), std::string::npos) << other.output();
}

}  // namespace
}  // namespace norma
