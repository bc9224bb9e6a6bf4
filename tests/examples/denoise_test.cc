// The program denoise, from outside: what it writes, what it refuses, and that neither threads nor being stopped change
// what it measures.
#include <thread>

#include "examples/common/digits.h"
#include "tests/examples/program.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
using nlohmann::json;

class Denoise : public ::testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder / name; }
  bool exists(const std::string& name) const { return std::filesystem::exists(file(name)); }
  json json_of(const std::string& name) const { return json::parse(Program::text_of(file(name))); }

  // A short training of a narrow network on drawn digits, with further arguments.
  static Arguments short_run(const Arguments& more) {
    Arguments arguments = {"--synthetic", "--epochs", "2", "--batch", "10", "--limit", "120", "--width", "8"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::string run(const Arguments& arguments) const {  // its output
    Program program(NORMA_DENOISE, arguments, file("output"));
    EXPECT_EQ(program.wait(), 0) << program.output();
    return program.output();
  }
  // Exit status 1 and a message with `part`.
  void refuses(const Arguments& arguments, const std::string& part) const {
    Program program(NORMA_DENOISE, arguments, file("output"));
    EXPECT_EQ(program.wait(), 1);
    EXPECT_NE(program.output().find(part), std::string::npos) << "the output is: " << program.output();
  }

  TemporaryFolder folder;
};

TEST_F(Denoise, WritesTablesResultLogStripAndPage) {
  const std::string output = run(short_run({"--norm",      "none,hin",
                                            "--seeds",     "2",
                                            "--seed",      "7",
                                            "--epochs",    "4",
                                            "--sigma",     "25,50",
                                            "--log",       file("log.jsonl"),
                                            "--log-every", "1",
                                            "--json",      file("result.json"),
                                            "--png",       file("strip.png"),
                                            "--markdown",  file("page.md"),
                                            "--threads",   "1"}));
  const json result = json_of("result.json");
  EXPECT_EQ(result["program"], "denoise");
  EXPECT_EQ(result["dataset"], "drawn digits");
  EXPECT_EQ(result["epochs"], 4);
  EXPECT_EQ(result["batch"], 10);
  EXPECT_EQ(result["threads"], 1);
  EXPECT_EQ(result["seeds"], 2);
  EXPECT_EQ(result["sigma"], (std::vector<double>{25, 50}));
  EXPECT_GT(result["parameters"], 10'000);
  EXPECT_GT(result["peak_memory_bytes"], 10'000'000);
  // The noise itself: 20 log10(255 / sigma), and better, since it is cut to the range, where digits have most pixels.
  for (size_t level = 0; level < 2; ++level) {
    const double uncut = 20 * std::log10(255 / result["sigma"][level].get<double>());
    EXPECT_GT(result["noisy"]["psnr"][level], uncut);
    EXPECT_LT(result["noisy"]["psnr"][level], uncut + 3);
  }
  ASSERT_EQ(result["trials"].size(), 4u);
  double seconds = 0;
  for (size_t i = 0; i < 4; ++i) {
    const json& trial = result["trials"][i];
    EXPECT_EQ(trial["norm"], i % 2 == 0 ? "none" : "hin");
    EXPECT_EQ(trial["seed"], 7 + i / 2);
    for (const char* measure : {"psnr", "ssim"}) {
      ASSERT_EQ(trial[measure].size(), 2u);
      EXPECT_GT(trial[measure][0], trial[measure][1]);            // more noise is worse
      EXPECT_GT(trial[measure][1], result["noisy"][measure][1]);  // it learns
    }
    seconds += trial["train_seconds"].get<double>();
  }
  EXPECT_NEAR(result["train_seconds"], seconds, 1e-6);
  ASSERT_EQ(result["claims"].size(), 1u);
  EXPECT_EQ(result["claims"][0]["claim"], "hin beats none");
  EXPECT_EQ(result["claims"][0]["seeds"], 2);

  std::istringstream lines(Program::text_of(file("log.jsonl")));
  int steps = 0, epochs = 0;
  std::vector<std::pair<std::string, int>> networks;
  for (std::string line; std::getline(lines, line);) {
    const json entry = json::parse(line);
    if (entry.contains("norm")) networks.emplace_back(entry["norm"], entry["seed"]);
    else ++(entry.contains("step") ? steps : epochs);
  }
  EXPECT_EQ(networks, (std::vector<std::pair<std::string, int>>{{"none", 7}, {"hin", 7}, {"none", 8}, {"hin", 8}}));
  EXPECT_EQ(steps, 4 * 4 * 12);
  EXPECT_EQ(epochs, 4 * 4);
  EXPECT_EQ(Program::text_of(file("strip.png")).substr(1, 3), "PNG");
  const std::string page = Program::text_of(file("page.md"));
  EXPECT_TRUE(page.starts_with("<!-- denoise: begin -->\n`denoise --synthetic ")) << page;
  EXPECT_NE(page.find("| hin beats none | "), std::string::npos) << page;
  EXPECT_NE(output.find("\nhin beats none  "), std::string::npos) << output;
  EXPECT_EQ(output.find('\033'), std::string::npos);  // no escapes in a file
}

TEST_F(Denoise, TakesEveryNormOfTheTable) {
  run(short_run({"--norm", "all", "--seeds", "1", "--epochs", "1", "--json", file("result.json")}));
  const json result = json_of("result.json");
  std::vector<std::string> norms;
  for (const json& trial : result["trials"]) norms.push_back(trial["norm"]);
  EXPECT_EQ(norms, (std::vector<std::string>{"none", "bn", "in", "hin", "gn:8", "ln"}));
  ASSERT_EQ(result["claims"].size(), 3u);
  for (const json& claim : result["claims"]) EXPECT_EQ(claim["verdict"], "inconclusive");  // of a single seed
}

TEST_F(Denoise, ThreadsDoNotMatter) {
  for (const char* threads : {"1", "2"})
    run(short_run({"--norm", "bn", "--threads", threads, "--json", file(threads)}));
  run(short_run({"--norm", "bn", "--seed", "2", "--json", file("other")}));
  EXPECT_EQ(json_of("1")["trials"][0]["psnr"], json_of("2")["trials"][0]["psnr"]);
  EXPECT_EQ(json_of("1")["trials"][0]["ssim"], json_of("2")["trials"][0]["ssim"]);
  EXPECT_NE(json_of("1")["trials"][0]["psnr"], json_of("other")["trials"][0]["psnr"]);
  EXPECT_EQ(json_of("1")["noisy"], json_of("other")["noisy"]);  // all are tested on the same pictures and noise
}

TEST_F(Denoise, StoppedInAnEpochItGoesOnToTheSameResult) {
  const Arguments command = short_run({"--norm", "hin,bn", "--batch", "2", "--json", file("result.json")});
  run(command);
  const json whole = json_of("result.json")["trials"];
  std::filesystem::remove(file("result.json"));

  Arguments resumed = command;
  resumed.insert(resumed.end(), {"--resume", file("run"), "--log", file("log.jsonl"), "--log-every", "1"});
  const auto logged = [&] {
    const std::string text = exists("log.jsonl") ? Program::text_of(file("log.jsonl")) : "";
    return std::count(text.begin(), text.end(), '\n');
  };
  // Once in the first epoch of the first network, once in the second network.
  for (const auto& [lines, name] : {std::pair{20, "hin"}, {200, "bn"}}) {
    Program program(NORMA_DENOISE, resumed, file("output"));
    while (logged() < lines && program.running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    program.signal(SIGINT);
    EXPECT_EQ(program.wait(), 130);
    const std::string said =
        fmt::format("run/denoise-{}-1.checkpoint is written. To go on, give the same command", name);
    EXPECT_NE(program.output().find(said), std::string::npos) << program.output();
    EXPECT_FALSE(exists("result.json"));
  }
  // What was done is kept when the disk is full: here, no file may have more than a few KB.
  const std::string checkpoint = file("run/denoise-bn-1.checkpoint");
  const Bytes kept = read_file(checkpoint);
  Arguments limited = {"-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh", NORMA_DENOISE};
  limited.insert(limited.end(), command.begin(), command.end());
  limited.insert(limited.end(), {"--resume", file("run")});
  Program program("/bin/sh", limited, file("output"));
  EXPECT_EQ(program.wait(), 0) << program.output();
  EXPECT_NE(program.output().find("warning: no checkpoint of this epoch"), std::string::npos) << program.output();
  EXPECT_EQ(read_file(checkpoint), kept);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(file("run")), std::filesystem::directory_iterator{}), 2);

  const auto expect_whole = [&] {
    const json trials = json_of("result.json")["trials"];
    for (size_t i = 0; i < 2; ++i)
      for (const char* key : {"norm", "psnr", "ssim"}) EXPECT_EQ(trials[i][key], whole[i][key]) << key;
  };
  expect_whole();
  run(resumed);
  expect_whole();
  // Each network took each of its steps once.
  std::map<std::string, int> steps;
  std::string norm;
  std::istringstream log(Program::text_of(file("log.jsonl")));
  for (std::string line; std::getline(log, line);) {
    const json entry = json::parse(line);
    if (entry.contains("norm")) norm = entry["norm"];
    if (entry.contains("step")) ++steps[fmt::format("{} {}", norm, entry["step"].get<int>())];
  }
  EXPECT_EQ(steps.size(), 240u);
  for (const auto& [step, times] : steps) EXPECT_EQ(times, 1) << step;

  Arguments other = resumed;
  other.insert(other.end(), {"--lr", "0.5", "--sigma", "10", "--width", "16"});
  refuses(other, "lr: '0.002', now '0.5'");
  refuses(other, "sigma: '15,25,50', now '10'");
  refuses(other, "width: '8', now '16'");
}

// With several networks, each has its own files.
TEST_F(Denoise, SavesAndLoadsWeights) {
  run(short_run(
      {"--norm", "in,gn:8", "--epochs", "1", "--save", file("net.safetensors"), "--json", file("saved.json")}));
  run(short_run(
      {"--norm", "gn:8", "--epochs", "0", "--load", file("net-gn_8-1.safetensors"), "--json", file("loaded.json")}));
  ASSERT_TRUE(exists("net-in-1.safetensors"));
  EXPECT_EQ(json_of("loaded.json")["trials"][0]["psnr"], json_of("saved.json")["trials"][1]["psnr"]);
}

TEST_F(Denoise, TakesOddSizes) {
  run(short_run({"--norm", "bn", "--batch", "1", "--limit", "10", "--epochs", "1"}));
  run(short_run({"--norm", "in", "--batch", "1000"}));
  run(short_run({"--limit", "1"}));
  for (const char* part : {"train", "t10k"}) {  // no squares, and halves that are no whole numbers
    folder.write(std::string(part) + "-images-idx3-ubyte", idx({20, 11, 17}, std::vector<uint8_t>(20 * 187, 7)));
    folder.write(std::string(part) + "-labels-idx1-ubyte", idx({20}, std::vector<uint8_t>(20, 3)));
  }
  run({"--data", folder.path(), "--epochs", "1", "--width", "4", "--png", file("strip.png")});
}

TEST_F(Denoise, SaysWhatIsWrong) {
  refuses({"--data", file("nowhere")}, "no data set in " + file("nowhere"));
  refuses(short_run({"--norm", "bm"}), "[parse_norm] 'bm' is none of bn, bn:K");
  refuses(short_run({"--norm", "bn,gn:7"}), "[GroupNorm] 8 channels do not divide into 7 groups");
  refuses(short_run({"--norm", "bn,in,bn"}), "names 'bn' twice");
  refuses(short_run({"--lr", "1e30"}), "a smaller --lr may help");
  for (const char* option : {"--json", "--png", "--markdown", "--save"})
    refuses(short_run({option, file("no/such/file")}), "no folder '" + file("no/such") + "' to write");
  write_file_atomic(file("page.md"), "a page");
  refuses(short_run({"--markdown", file("page.md")}), "page.md' has no lines '<!-- denoise: begin -->'");
  write_file_atomic(file("denoise-hin-1.checkpoint"), "no checkpoint");
  refuses(short_run({"--resume", folder.path()}), "denoise-hin-1.checkpoint'");
  for (const char* part : {"train", "t10k"}) {
    folder.write(std::string(part) + "-images-idx3-ubyte", idx({20, 10, 28}, std::vector<uint8_t>(20 * 280)));
    folder.write(std::string(part) + "-labels-idx1-ubyte", idx({20}, std::vector<uint8_t>(20, 3)));
  }
  refuses({"--data", folder.path()}, "pictures [10, 28, 1] are too small: SSIM wants 11 x 11 pixels");
  Bytes half = idx({20, 28, 28}, std::vector<uint8_t>(20 * 784));
  half.resize(half.size() / 2);
  folder.write("train-images-idx3-ubyte", half);
  refuses({"--data", folder.path()}, "train-images-idx3-ubyte'");
  for (const Arguments& arguments :
       {Arguments{"--batch", "0"}, {"--epochs", "-1"}, {"--sigma", "15,x"}, {"--sigma", "300"}, {"--seeds", "0"}}) {
    Program program(NORMA_DENOISE, arguments, file("output"));
    EXPECT_EQ(program.wait(), 1) << arguments[0];
  }
}

}  // namespace
}  // namespace norma
