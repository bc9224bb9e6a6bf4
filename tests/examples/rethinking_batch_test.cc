// The laboratory as a program: on tiny data, whose verdicts mean nothing; what it writes, what it refuses, how it stops
// and goes on.
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <thread>

#include "examples/common/digits.h"
#include "tests/examples/program.h"

namespace norma {
namespace {

using namespace norma::test;

class RethinkingBatch : public ::testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder / name; }
  Arguments tiny(const Arguments& names, const Arguments& more = {}) const {
    Arguments arguments = names;
    for (const char* word : {"--quick", "--synthetic", "--limit", "60", "--seeds", "2"}) arguments.emplace_back(word);
    arguments.insert(arguments.end(), {"--out", file("out")});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  // Exit status and output.
  std::pair<int, std::string> run(const Arguments& arguments) const {
    Program program(NORMA_RETHINKING_BATCH, arguments, file("output"));
    const int status = program.wait();
    return {status, program.output()};
  }
  nlohmann::ordered_json json(const std::string& name) const {
    return nlohmann::ordered_json::parse(Program::text_of(file(name)));
  }

  TemporaryFolder folder;
};

const std::vector<std::string> kNames = {"population", "samples",      "accumulation", "batch_size", "minibatch_eval",
                                         "frozen",     "domain_shift", "multi_domain", "leakage",    "small_batch"};

TEST_F(RethinkingBatch, MeasuresAllTen) {
  const auto [status, output] = run(tiny({"all"}, {"--json", file("all.json"), "--threads", "2"}));
  ASSERT_EQ(status, 0) << output;
  const auto all = json("all.json");
  ASSERT_EQ(all.size(), kNames.size());
  const std::string report = Program::text_of(file("out/report.html"));
  for (size_t i = 0; i < kNames.size(); ++i) {
    SCOPED_TRACE(kNames[i]);
    const auto& finding = all[i];
    EXPECT_EQ(finding["name"], kNames[i]);
    EXPECT_FALSE(finding["claim"].get<std::string>().empty());
    const std::string verdict = finding["verdict"];
    EXPECT_TRUE(verdict == "held"           ? finding["held"] == true
                : verdict == "did not hold" ? finding["held"] == false
                                            : finding["held"].is_null())
        << verdict << finding["held"];
    EXPECT_FALSE(finding["parts"].empty());
    for (const auto& table : finding["measured"])
      for (const auto& value : table["values"]) {
        EXPECT_EQ(value["by_seed"].size(), 2u) << value;
        const double m = value["mean"];
        EXPECT_TRUE(m >= 0 && m <= 100) << value;
      }
    EXPECT_EQ(json("out/" + kNames[i] + ".json"), finding);
    EXPECT_EQ(Program::text_of(file("out/" + kNames[i] + ".csv")).substr(0, 22), "panel,curve,x,y,spread");
    EXPECT_NE(output.find(kNames[i] + ": " + verdict + ". "), std::string::npos);
    EXPECT_NE(report.find("id=\"" + kNames[i] + "\""), std::string::npos);
  }
  EXPECT_EQ(report.find("src=\"http"), std::string::npos);  // it needs nothing else

  // All of it again, from the folder; one of it again, on another number of threads: the same.
  std::filesystem::remove(file("out/report.html"));
  const auto [again, text] = run(tiny({"all"}, {"--resume", "--json", file("again.json")}));
  EXPECT_EQ(again, 0) << text;
  EXPECT_EQ(json("again.json"), all);
  EXPECT_EQ(Program::text_of(file("out/report.html")), report);
  for (const size_t i : {2, 8}) {
    EXPECT_EQ(run(tiny({kNames[i]}, {"--threads", "1"})).first, 0);
    EXPECT_EQ(json("out/" + kNames[i] + ".json")["measured"], all[i]["measured"]);
  }
}

TEST_F(RethinkingBatch, OneSeedProvesNothing) {
  Arguments arguments = tiny({"leakage", "samples"});
  arguments[7] = "1";
  const auto [status, output] = run(arguments);
  EXPECT_EQ(status, 0) << output;
  for (const char* name : {"leakage", "samples"}) EXPECT_TRUE(json(fmt::format("out/{}.json", name))["held"].is_null());
  EXPECT_FALSE(std::filesystem::exists(file("out/report.html")));
}

TEST_F(RethinkingBatch, MayMeasureAResNet20) {
  write_file_atomic(file("page.md"),
                    "<!-- rethinking_batch accumulation -->\nof six layers\n<!-- end -->\n"
                    "<!-- rethinking_batch_resnet20 summary -->\n<!-- end -->\n"
                    "<!-- rethinking_batch_resnet20 accumulation -->\nstale\n<!-- end -->\n");
  const auto [status, output] =
      run(tiny({"accumulation"}, {"--model", "resnet20", "--limit", "40", "--markdown", file("page.md")}));
  ASSERT_EQ(status, 0) << output;
  const auto finding = json("out/accumulation.json");
  EXPECT_EQ(finding["conditions"]["model"], "resnet20");
  const std::string page = Program::text_of(file("page.md"));
  for (const char* part :
       {"of six layers", "| [accumulation](#accumulation) |", "rethinking_batch accumulation --quick",
        "--model resnet20", "norm layer | batch 2", "| 21 |"})
    EXPECT_NE(page.find(part), std::string::npos) << part << page;
  EXPECT_EQ(page.find("stale"), std::string::npos);
  // Of six layers it is another experiment.
  EXPECT_EQ(run(tiny({"accumulation"}, {"--resume", "--limit", "40"})).second.find("taken from there"),
            std::string::npos);
  EXPECT_FALSE(json("out/accumulation.json")["conditions"].contains("model"));
}

TEST_F(RethinkingBatch, StopsAtCtrlCAndGoesOn) {
  Program program(NORMA_RETHINKING_BATCH, tiny({"all"}), file("output"));
  while (program.running() && !std::filesystem::exists(file("out/samples.json")))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  program.signal(SIGINT);
  EXPECT_EQ(program.wait(), 128 + SIGINT) << program.output();
  const std::string output = program.output();
  EXPECT_NE(output.find("interrupted: 2 of 10 finished"), std::string::npos) << output;
  EXPECT_NE(output.find("rethinking_batch all --quick --synthetic --limit 60 --seeds 2"), std::string::npos) << output;
  EXPECT_EQ(json("out/samples.json")["name"], "samples");

  const auto before = std::filesystem::last_write_time(file("out/samples.json"));
  const auto [status, rest] = run(tiny({"population", "samples", "frozen"}, {"--resume"}));
  EXPECT_EQ(status, 0) << rest;
  EXPECT_EQ(std::filesystem::last_write_time(file("out/samples.json")), before);
  EXPECT_EQ(json("out/frozen.json")["name"], "frozen");
  // Under other conditions, or torn, they do not count.
  write_file_atomic(file("out/samples.json"), Program::text_of(file("out/samples.json")).substr(0, 300));
  EXPECT_NE(run(tiny({"samples"}, {"--resume"})).second.find("samples.json; "), std::string::npos);
  EXPECT_EQ(json("out/samples.json")["name"], "samples");
  EXPECT_EQ(run(tiny({"samples"}, {"--resume", "--limit", "50"})).second.find("taken from there"), std::string::npos);
}

TEST_F(RethinkingBatch, AFileThatCannotBeWrittenLeavesTheOldOne) {
  ASSERT_EQ(run(tiny({"samples"})).first, 0);
  const std::string before = Program::text_of(file("out/samples.json"));
  // A limit on the size of files, as of a disk that is full: the program's own output is short enough.
  const std::string command = fmt::format(
      "ulimit -f 1; trap '' XFSZ; exec {} accumulation small_batch --quick --synthetic "
      "--limit 60 --seeds 2 --out {}",
      NORMA_RETHINKING_BATCH, file("out"));
  Program program("/bin/bash", {"-c", command}, file("output"));
  EXPECT_EQ(program.wait(), 1) << program.output();
  EXPECT_NE(program.output().find("error: "), std::string::npos) << program.output();
  EXPECT_EQ(Program::text_of(file("out/samples.json")), before);
  EXPECT_FALSE(std::filesystem::exists(file("out/small_batch.json")));
}

TEST_F(RethinkingBatch, SaysWhatIsWrong) {
  const auto refuses = [&](const Arguments& arguments, const std::string& part) {
    const auto [status, output] = run(arguments);
    EXPECT_NE(status, 0) << part;
    EXPECT_NE(output.find(part), std::string::npos) << output;
  };
  refuses({"leekage"}, "'leekage' is none of population, samples");
  refuses({}, "--list");
  refuses({"samples", "--seeds", "0"}, "--seeds");
  refuses({"samples", "--model", "vgg"}, "{plain,resnet20}");
  refuses({"samples", "--data", file("nowhere"), "--out", file("out")}, "nowhere");
  refuses(tiny({"samples"}, {"--markdown", file("page.md")}), "page.md");
  // Half a file
  const data::ImageDataset digits = examples::draw_digits(40, 1);
  const uint8_t* pixels = digits.images.data<uint8_t>();
  Bytes images = idx({40, 28, 28}, {pixels, pixels + 40 * 784});
  for (const char* part : {"train", "t10k"}) {
    folder.write(std::string(part) + "-images-idx3-ubyte", images);
    folder.write(std::string(part) + "-labels-idx1-ubyte", idx({40}, std::vector<uint8_t>(40, 3)));
  }
  // A single class, of nine: nothing to tell apart, and nothing that fails.
  const auto [status, output] =
      run({"leakage", "--quick", "--seeds", "2", "--data", folder.path(), "--out", file("out")});
  EXPECT_EQ(status, 0) << output;
  images.resize(images.size() / 2);
  folder.write("t10k-images-idx3-ubyte", images);
  refuses({"samples", "--data", folder.path(), "--out", file("out")}, "t10k-images-idx3-ubyte'");
  EXPECT_EQ(run({"--list"}).first, 0);
}

}  // namespace
}  // namespace norma
