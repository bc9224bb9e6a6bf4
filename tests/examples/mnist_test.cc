// The programs mnist and infer, from outside: what they write, what they refuse, and that neither the number of threads
// nor being killed at any moment changes the weights that come out.
#include <poll.h>
#include <sys/inotify.h>

#include <thread>

#include "examples/common/digits.h"
#include "tests/examples/program.h"
#include "tests/golden.h"
#include "tests/gzip.h"

namespace norma {
namespace {

using namespace norma::test;
using std::chrono::milliseconds;

class Mnist : public ::testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder / name; }

  // A short training on drawn digits, with further arguments.
  Program start(const Arguments& more = {}) const {
    Arguments arguments = {"--synthetic", "--epochs", "3", "--batch", "50", "--limit", "300", "--log-every", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Program(NORMA_MNIST, arguments, file("output"));
  }
  void run(const Arguments& more = {}) const {
    Program program = start(more);
    EXPECT_EQ(program.wait(), 0) << program.output();
  }
  // Exit status and output.
  std::pair<int, std::string> infer(const Arguments& arguments) const {
    Program program(NORMA_INFER, arguments, file("output"));
    const int status = program.wait();
    return {status, program.output()};
  }
  // Exit status 1 and a message with `part`.
  void refuses(const Arguments& arguments, const std::string& part) const {
    Program program(NORMA_MNIST, arguments, file("output"));
    EXPECT_EQ(program.wait(), 1);
    EXPECT_NE(program.output().find(part), std::string::npos) << "the output is: " << program.output();
  }
  Bytes bytes(const std::string& name) const { return read_file(file(name)); }

  TemporaryFolder folder;
};

TEST_F(Mnist, WritesResultLogAndWeights) {
  run({"--json", file("result.json"), "--log", file("log.jsonl"), "--save", file("weights"), "--seed", "5", "--threads",
       "1"});
  const auto result = nlohmann::ordered_json::parse(Program::text_of(file("result.json")));
  std::vector<std::string> keys;
  for (const auto& [key, value] : result.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"program", "dataset", "model", "epochs", "test_accuracy", "test_loss",
                                            "train_seconds", "images_per_second", "peak_memory_bytes", "device",
                                            "threads", "seed", "norm"}));
  EXPECT_EQ(result["program"], "mnist");
  EXPECT_EQ(result["dataset"], "drawn digits");
  EXPECT_EQ(result["epochs"], 3);
  EXPECT_EQ(result["threads"], 1);
  EXPECT_EQ(result["seed"], 5);
  EXPECT_GT(result["test_accuracy"], 0.2);  // it learns
  EXPECT_LT(result["test_loss"], 2.25);
  EXPECT_NEAR(result["images_per_second"].get<double>() * result["train_seconds"].get<double>(), 900, 1e-3);
  EXPECT_GT(result["peak_memory_bytes"], 10'000'000);

  std::istringstream lines(Program::text_of(file("log.jsonl")));
  int steps = 0, epochs = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto entry = nlohmann::json::parse(line);
    if (entry.contains("step")) EXPECT_EQ(entry["step"], ++steps);
    else EXPECT_EQ(entry["epoch"], ++epochs);
  }
  EXPECT_EQ(steps, 18);
  EXPECT_EQ(epochs, 3);

  // Tested again from the file: the same numbers.
  run({"--epochs", "0", "--load", file("weights"), "--json", file("again.json")});
  const auto again = nlohmann::json::parse(Program::text_of(file("again.json")));
  EXPECT_EQ(again["test_accuracy"], result["test_accuracy"]);
  EXPECT_EQ(again["test_loss"], result["test_loss"]);

  // And shown.
  const auto [status, output] = infer({file("weights"), "--count", "3", "--png", file("grid.png")});
  EXPECT_EQ(status, 0) << output;
  EXPECT_NE(output.find("of 3 right"), std::string::npos) << output;
  EXPECT_EQ(output.find('\033'), std::string::npos);  // no escapes in a file
  EXPECT_EQ(Program::text_of(file("grid.png")).substr(1, 3), "PNG");
  EXPECT_EQ(infer({file("result.json")}).first, 1);
  EXPECT_EQ(infer({file("nowhere")}).first, 1);
}

// The losses of 20 steps are the CPU's.
TEST_F(Mnist, TrainsOnTheEmulatedDevice) {
  const auto losses = [&](const char* program, const char* device) {
    const Arguments arguments = {"--synthetic", "--epochs", "2",     "--batch",    "8",        "--limit", "80",
                                 "--log-every", "1",        "--log", file(device), "--device", device};
    Program run(program, arguments, file("output"));
    EXPECT_EQ(run.wait(), 0) << run.output();
    std::vector<double> result;
    std::istringstream lines(Program::text_of(file(device)));
    for (std::string line; std::getline(lines, line);)
      if (const auto entry = nlohmann::json::parse(line); entry.contains("step")) result.push_back(entry["loss"]);
    return result;
  };
  const std::vector<double> want = losses(NORMA_MNIST, "cpu"), got = losses(NORMA_MNIST_EMULATED, "cuda");
  ASSERT_EQ(want.size(), 20u);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4) << i;
  EXPECT_LT(want[19], want[0] - 0.1);
}

// Each of them trains, and comes back from its file as what it was.
TEST_F(Mnist, TrainsWithAnyNorm) {
  const auto losses = [&] {
    std::vector<double> result;
    std::istringstream lines(Program::text_of(file("log.jsonl")));
    for (std::string line; std::getline(lines, line);)
      if (const auto entry = nlohmann::json::parse(line); entry.contains("train_loss"))
        result.push_back(entry["train_loss"]);
    std::filesystem::remove(file("log.jsonl"));
    return result;
  };
  const std::vector<Arguments> choices = {{"--norm", "bn", "--population", "cumulative"},
                                          {"--norm", "bn:16", "--population", "precise:200"},
                                          {"--norm", "gn:8"},
                                          {"--norm", "ln"},
                                          {"--norm", "in"},
                                          {"--norm", "hin", "--population", "precise:100"},
                                          {"--norm", "rms"},
                                          {"--norm", "brn", "--population", "ema:0.3"},
                                          {"--norm", "frozen"},
                                          {"--norm", "ws+gn:8"},
                                          {"--norm", "none"},
                                          {"--norm", "bn", "--eval-stats", "minibatch"}};
  for (Arguments choice : choices) {
    SCOPED_TRACE(choice[1] + " " + choice.back());
    choice.insert(choice.end(), {"--log", file("log.jsonl"), "--save", file("weights")});
    run(choice);
    const std::vector<double> loss = losses();
    ASSERT_EQ(loss.size(), 3u);
    EXPECT_LT(loss[2], 0.95 * loss[0]);
    const auto [status, output] = infer({file("weights"), "--count", "2"});
    EXPECT_EQ(status, 0) << output;
    EXPECT_NE(output.find("of 2 right"), std::string::npos) << output;
  }
  refuses({"--synthetic", "--norm", "gm:8"}, "[parse_norm] 'gm:8' is none of bn, bn:K");
  refuses({"--synthetic", "--norm", "gn:7"}, "[GroupNorm] 32 channels do not divide into 7 groups");
  refuses({"--synthetic", "--population", "ema"}, "[--population] 'ema' is none of");
}

// Precise statistics depend on the weights alone: whatever was averaged before, and after a resume too.
TEST_F(Mnist, PrecisePopulationsAreThoseOfTheWeights) {
  run({"--save", file("weights"), "--json", file("average.json")});
  const Arguments precise = {"--population", "precise:300", "--epochs", "0", "--load", file("weights"), "--json"};
  Arguments first = precise, second = precise;
  first.insert(first.end(), {file("first.json"), "--save", file("precise")});
  run(first);
  second[5] = file("precise");
  second.push_back(file("second.json"));
  run(second);
  const auto loss = [&](const char* name) { return nlohmann::json::parse(Program::text_of(file(name)))["test_loss"]; };
  EXPECT_EQ(loss("first.json"), loss("second.json"));
  EXPECT_NE(loss("first.json"), loss("average.json"));
}

TEST_F(Mnist, WeightsDoNotDependOnTheNumberOfThreads) {
  run({"--save", file("one"), "--threads", "1"});
  run({"--save", file("two"), "--threads", "2"});
  run({"--save", file("other"), "--threads", "2", "--seed", "2"});
  EXPECT_EQ(bytes("one"), bytes("two"));
  EXPECT_NE(bytes("one"), bytes("other"));
}

TEST_F(Mnist, KilledAtAnyMomentItGoesOnToTheSameWeights) {
  run({"--save", file("whole")});  // undisturbed, and without checkpoints
  Generator random(1);
  for (int trial = 0; trial < 3; ++trial) {
    const Arguments command = {"--save", file("killed"), "--resume", file("run"), "--log", file("log.jsonl")};
    int kills = 0;
    for (int64_t wait = 20; wait < 5000;
         wait += 5 + random.below(20 + wait / 2)) {  // further each time, so that it ends
      Program program = start(command);
      for (int64_t ms = 0; ms < wait && program.running(); ++ms) std::this_thread::sleep_for(milliseconds(1));
      if (!program.running()) break;
      program.kill();
      ++kills;
    }
    EXPECT_GT(kills, 1);
    run(command);
    EXPECT_EQ(bytes("whole"), bytes("killed"));
    std::filesystem::remove_all(file("run"));
    std::filesystem::remove(file("killed"));
    std::istringstream lines(Program::text_of(file("log.jsonl")));  // no torn line
    for (std::string line; std::getline(lines, line);) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  }
}

TEST_F(Mnist, KilledWhileItWritesACheckpointItGoesOnToTheSameWeights) {
  run({"--save", file("whole")});
  const Arguments command = {"--save", file("killed"), "--resume", file("run")};
  const auto files = [&] {
    return std::distance(std::filesystem::directory_iterator(file("run")), std::filesystem::directory_iterator{});
  };
  int hits = 0;
  for (int trial = 0; trial < 6 && hits < 2; ++trial) {
    std::filesystem::remove_all(file("run"));
    std::filesystem::create_directory(file("run"));
    const int watch = inotify_init1(IN_CLOEXEC);
    inotify_add_watch(watch, file("run").c_str(), IN_CREATE);
    // The first checkpoint is killed in its making, then the second.
    for (int k = 0; k < 2; ++k) {
      Program program = start(command);
      pollfd event{watch, POLLIN, 0};
      for (int creation = 0; creation <= k; ++creation) {
        ASSERT_EQ(poll(&event, 1, 20'000), 1) << program.output();
        char buffer[4096];
        ASSERT_GT(read(watch, buffer, sizeof buffer), 0);
      }
      const auto before = files();
      program.kill();
      hits += files() == before && before == 1 + k;  // the temporary file is left: it was killed before the rename
    }
    ::close(watch);
    run(command);
    EXPECT_EQ(bytes("whole"), bytes("killed"));
  }
  EXPECT_GE(hits, 1) << "no kill came while a checkpoint was written";
}

TEST_F(Mnist, RefusesToResumeWithOtherOptions) {
  run({"--resume", file("run"), "--save", file("once")});
  run({"--resume", file("run"), "--save", file("twice"), "--threads", "1"});  // finished, and threads do not matter
  EXPECT_EQ(bytes("once"), bytes("twice"));
  const Arguments same = {"--synthetic", "--epochs", "3", "--batch", "50", "--limit", "300", "--resume", file("run")};
  const auto with = [&](size_t i, const std::string& value) {
    Arguments arguments = same;
    arguments[i] = value;
    return arguments;
  };
  refuses(with(2, "4"), "epochs: '3', now '4'");
  refuses(with(4, "60"), "batch: '50', now '60'");
  refuses(with(6, "301"), "pictures: '300', now '301'");
  Arguments more = same;
  more.insert(more.end(), {"--lr", "0.01", "--seed", "9"});
  refuses(more, "lr: '0.006', now '0.01'");
  refuses(more, "seed: '1', now '9'");
  more.insert(more.end(), {"--norm", "bn:16", "--population", "precise:10", "--eval-stats", "minibatch"});
  refuses(more, "norm: 'bn', now 'bn:16'");
  refuses(more, "population: '', now 'precise:10'");
  refuses(more, "eval_stats: 'population', now 'minibatch'");
  write_file_atomic(file("run/mnist.checkpoint"), "no checkpoint");
  refuses(same, "run/mnist.checkpoint'");
}

TEST_F(Mnist, SaysWhatIsWrongWithTheData) {
  refuses({"--data", file("nowhere")}, "[find_data] no data set in ");
  const data::ImageDataset digits = examples::draw_digits(40, 1);
  const uint8_t* pixels = digits.images.data<uint8_t>();
  const std::vector<uint8_t> labels = digits.labels.to_vector<uint8_t>();
  Bytes images = idx({40, 28, 28}, {pixels, pixels + 40 * 784});
  for (const char* part : {"train", "t10k"}) {
    folder.write(std::string(part) + "-images-idx3-ubyte", images);
    folder.write(std::string(part) + "-labels-idx1-ubyte", idx({40}, labels));
  }
  Program good(NORMA_MNIST, {"--data", folder.path(), "--epochs", "1"}, file("output"));
  EXPECT_EQ(good.wait(), 0) << good.output();

  images = gzip(images);
  images.resize(images.size() / 2);
  std::filesystem::remove(file("t10k-images-idx3-ubyte"));
  folder.write("t10k-images-idx3-ubyte.gz", images);
  refuses({"--data", folder.path()}, "t10k-images-idx3-ubyte.gz': the gzip stream is truncated");

  for (const char* part : {"train", "t10k"}) {
    folder.write(std::string(part) + "-images-idx3-ubyte", idx({40, 3, 9}, std::vector<uint8_t>(40 * 27)));
  }
  refuses({"--data", folder.path()}, "pictures [3, 9, 1] are too small");
}

TEST_F(Mnist, TakesOddSizes) {
  run({"--batch", "1", "--limit", "10", "--epochs", "1"});
  run({"--batch", "1000"});
  run({"--batch", "7", "--limit", "1", "--epochs", "1"});
  // Pictures that are no squares, and whose halves are no whole numbers.
  for (const char* part : {"train", "t10k"}) {
    folder.write(std::string(part) + "-images-idx3-ubyte", idx({20, 11, 5}, std::vector<uint8_t>(20 * 55, 7)));
    folder.write(std::string(part) + "-labels-idx1-ubyte.gz", gzip(idx({20}, std::vector<uint8_t>(20, 3))));
  }
  Program program(NORMA_MNIST, {"--data", folder.path(), "--epochs", "1"}, file("output"));
  EXPECT_EQ(program.wait(), 0) << program.output();
}

TEST_F(Mnist, RefusesOptionsThatMakeNoSense) {
  for (const Arguments& arguments : {Arguments{"--batch", "0"},
                                     {"--epochs", "-1"},
                                     {"--lr", "-1"},
                                     {"--nonsense"},
                                     {"--synthetic", "--data", "x"},
                                     {"--limit", "-3"}}) {
    Program program(NORMA_MNIST, arguments, file("output"));
    EXPECT_EQ(program.wait(), 1) << arguments[0];
  }
  refuses({"--lr", "-1"}, "--lr: want a number of at least 0, not -1\n");
  refuses({"--lr", "nan"}, "--lr: want a number of at least 0, not nan\n");
  refuses({"--lr", "1e999"}, "--lr: want a number of at least 0, not 1e999\n");
  refuses({"--batch", "0"}, "--batch: want a number of at least 1, not 0\n");
  refuses({"--batch", "1x"}, "--batch: want a number of at least 1, not 1x\n");
  refuses({"--limit", "-3"}, "--limit: want a number of at least 1, not -3\n");
  Program help(NORMA_MNIST, {"--help"}, file("output"));
  EXPECT_EQ(help.wait(), 0);
  EXPECT_EQ(infer({"--nonsense"}).first, 1);
  refuses({"--device", "gpu", "--synthetic"}, "gpu");
  refuses({"--device", "gpu", "--synthetic"}, "'gpu' is not a device");
#ifndef NORMA_WITH_CUDA
  refuses({"--device", "cuda", "--synthetic"}, "install the CUDA toolkit");
#endif
  refuses({"--synthetic", "--limit", "10", "--epochs", "1", "--log", file("no/such/folder")}, "[log] cannot open");
}

}  // namespace
}  // namespace norma
