// What the trainers share, seen from outside through mnist: Ctrl-C, a full disk, curves.
#include <thread>

#include "tests/examples/program.h"
#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::test;

class Training : public ::testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder / name; }
  // In the folder, after `prelude` of the shell.
  Program start(const Arguments& more, const std::string& prelude = ":") const {
    Arguments arguments = {"-c",
                           prelude + "; cd \"$0\" && exec \"$@\"",
                           folder.path(),
                           NORMA_MNIST,
                           "--synthetic",
                           "--limit",
                           "300",
                           "--batch",
                           "10",
                           "--epochs",
                           "3",
                           "--log-every",
                           "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Program("/bin/sh", arguments, file("output"));
  }
  void run(const Arguments& more) const {
    Program program = start(more);
    EXPECT_EQ(program.wait(), 0) << program.output();
  }
  // Starts, and sends a signal once so many steps are logged; the output.
  std::string stop(Arguments more, size_t steps, int signal, int want) const {
    std::filesystem::remove(file("log"));
    more.insert(more.end(), {"--log", "log"});
    Program program = start(more);
    while (program.running() && (!std::filesystem::exists(file("log")) || lines("log") < steps))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(program.running()) << program.output();
    program.signal(signal);
    EXPECT_EQ(program.wait(), want) << program.output();
    return program.output();
  }
  size_t lines(const std::string& name) const {
    const std::string text = Program::text_of(file(name));
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  Bytes bytes(const std::string& name) const { return read_file(file(name)); }
  TemporaryFolder folder;
};

TEST_F(Training, StoppedInMidEpochItGoesOnToTheSameWeightsAndCurves) {
  run({"--save", "whole", "--plot", "whole.svg"});
  const std::string output = stop({"--resume", "run"}, 40, SIGINT, 130);  // in the second epoch of 30 steps
  EXPECT_NE(output.find("in epoch 2 of 3: run/mnist.checkpoint is written. To go on, give the same command again"),
            std::string::npos)
      << output;
  EXPECT_LT(lines("log"), 62u);  // at once
  stop({"--resume", "run"}, 10, SIGTERM, 143);
  Program rest = start({"--resume", "run", "--save", "stopped", "--plot", "stopped.svg"});
  EXPECT_EQ(rest.wait(), 0) << rest.output();
  EXPECT_NE(rest.output().find("resume run/mnist.checkpoint, after epoch 1 of 3 and "), std::string::npos)
      << rest.output();
  EXPECT_EQ(bytes("whole"), bytes("stopped"));
  const std::string curves = Program::text_of(file("whole.csv"));
  EXPECT_EQ(curves, Program::text_of(file("stopped.csv")));
  for (const char* part : {"loss,train,1,", "loss,test,3,", "accuracy,train,2,", "accuracy,test,1,"})
    EXPECT_NE(curves.find(part), std::string::npos) << curves;
}

TEST_F(Training, StoppedWithoutAFolderItMakesANewOne) {
  for (const char* name : {"mnist-stopped", "mnist-stopped-2"}) {
    const std::string output = stop({}, 5, SIGINT, 130);
    EXPECT_NE(output.find(fmt::format("give the same command with --resume {}\n", name)), std::string::npos) << output;
    EXPECT_TRUE(std::filesystem::exists(file(std::string(name) + "/mnist.checkpoint")));
  }
  run({"--resume", "mnist-stopped", "--save", "stopped"});
  run({"--save", "whole"});
  EXPECT_EQ(bytes("whole"), bytes("stopped"));
}

// A limit on the size of files stands for a full disk: what is written fails part of the way.
TEST_F(Training, GoesOnWhenTheDiskIsFullAndKeepsTheOlderCheckpoint) {
  stop({"--resume", "run"}, 5, SIGINT, 130);
  const Bytes before = bytes("run/mnist.checkpoint");
  Program program = start({"--resume", "run", "--json", "result.json"}, "trap '' XFSZ; ulimit -f 100");
  EXPECT_EQ(program.wait(), 0) << program.output();
  EXPECT_NE(program.output().find("warning: no checkpoint of this epoch, any older one is kept: "), std::string::npos);
  EXPECT_EQ(bytes("run/mnist.checkpoint"), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(file("run")), std::filesystem::directory_iterator{}), 1);
  EXPECT_TRUE(std::filesystem::exists(file("result.json")));

  // Not so the weights, for which the run was made.
  Program saving = start({"--epochs", "1", "--save", "weights"}, "trap '' XFSZ; ulimit -f 100");
  EXPECT_EQ(saving.wait(), 1);
  EXPECT_NE(saving.output().find("error: "), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(file("weights")));
}

TEST_F(Training, ALogThatCannotBeWrittenStopsNothing) {
  Program program = start({"--log", "/dev/full", "--epochs", "1"});
  EXPECT_EQ(program.wait(), 0) << program.output();
  const std::string output = program.output(), warning = "warning: cannot write '/dev/full': No space left on device";
  EXPECT_NE(output.find(warning), std::string::npos) << output;
  EXPECT_EQ(output.find(warning, output.find(warning) + 1), std::string::npos) << output;  // once
}

TEST_F(Training, EvaluatesAsOftenAsItIsTold) {
  run({"--log", "log", "--eval-every", "2", "--log-every", "100"});
  std::istringstream log(Program::text_of(file("log")));
  std::vector<bool> evaluated;
  for (std::string line; std::getline(log, line);)
    if (const auto entry = nlohmann::json::parse(line); entry.contains("seconds"))
      evaluated.push_back(entry.contains("test_loss"));
  EXPECT_EQ(evaluated, (std::vector<bool>{false, true, true}));
}

TEST_F(Training, RefusesACheckpointThatIsNotOfATrainer) {
  run({"--epochs", "0", "--resume", "run", "--save", "weights"});
  std::filesystem::create_directory(file("run2"));
  std::filesystem::copy(file("weights"), file("run2/mnist.checkpoint"));
  Program program = start({"--resume", "run2"});
  EXPECT_EQ(program.wait(), 1);
  EXPECT_NE(program.output().find("the file is not a checkpoint of norma"), std::string::npos) << program.output();
  Program plot = start({"--plot", "run.pdf"});
  EXPECT_EQ(plot.wait(), 1);
}

}  // namespace
}  // namespace examples
