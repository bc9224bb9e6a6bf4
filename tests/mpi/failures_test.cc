// What goes wrong with one process ends all of them, soon and with one message; what is left goes on to the same bits
// in another number of processes.
#include "norma/core/transport.h"
#include "tests/mpi/mpirun.h"

namespace norma {
namespace {

using namespace norma::test;

class Failures : public Mpirun {
 protected:
  // A training of some seconds, by 4 workers.
  static Arguments training(const Arguments& more) {
    Arguments arguments = {"--synthetic", "--limit", "400",       "--batch", "33",          "--epochs", "3",
                           "--workers",   "4",       "--threads", "1",       "--log-every", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  void SetUp() override {
    Mpirun::SetUp();
    if (!IsSkipped()) run(0, NORMA_MNIST, training({"--save", file("whole")}));  // undisturbed, in one process
  }
  size_t lines() const {  // of the log: steps and epochs
    return std::filesystem::exists(file("log")) ? count(Program::text_of(file("log")), "\n") : 0;
  }
  // All that mpirun has started, once it has started so many.
  std::vector<pid_t> started(const Program& program, size_t processes) const {
    std::vector<pid_t> found;
    EXPECT_TRUE(comes([&] { return (found = children(program.pid())).size() >= processes; })) << program.output();
    return found;
  }
  // The exit status; fails if it takes more than `most` seconds to end, or if any of these processes are left by then.
  // `early`: one of them was killed as it started. mpirun 4.1 then ends the others, says so, and may hang itself, where
  // libpmix, which the process was about to join, waits for a mutex that it holds: it is killed, too.
  int ends(Program& program, const std::vector<pid_t>& processes, bool early = false, double most = 10) const {
    const Clock::time_point start = Clock::now();
    EXPECT_TRUE(comes([&] { return std::none_of(processes.begin(), processes.end(), lives); })) << program.output();
    std::optional<int> status;
    const auto ended = [&] { return (status = program.ended()).has_value() || (early && seconds_since(start) > 8); };
    EXPECT_TRUE(comes(ended)) << program.output();
    EXPECT_LT(seconds_since(start), most);
    if (!status && early) {
      EXPECT_EQ(count(program.output(), "exited on signal 9"), 1u) << program.output();
      program.kill();
      return -SIGKILL;
    }
    return status.value_or(0);
  }
  void goes_on(int processes) const {
    run(processes, NORMA_MNIST, training({"--resume", file("run"), "--save", file("rest")}));
    EXPECT_EQ(bytes("rest"), bytes("whole"));
  }
};

TEST_F(Failures, KilledAtAnyMomentAllEndAndItGoesOn) {
  const std::vector<std::pair<const char*, std::function<bool()>>> moments = {
      {"as it starts", [] { return true; }},
      {"in the first epoch", [&] { return lines() >= 3; }},
      {"as it is tested, or soon", [&] { return lines() >= 13; }},
      {"as a checkpoint is written", [&] { return !std::filesystem::is_empty(file("run")); }}};
  for (size_t i = 0; i < moments.size(); ++i) {
    SCOPED_TRACE(moments[i].first);
    std::filesystem::remove_all(file("run"));
    std::filesystem::create_directory(file("run"));
    std::filesystem::remove(file("log"));
    Program program = start(4, NORMA_MNIST, training({"--resume", file("run"), "--log", file("log")}));
    const std::vector<pid_t> processes = started(program, 4);
    EXPECT_TRUE(comes(moments[i].second)) << program.output();
    ::kill(processes[i], SIGKILL);
    EXPECT_NE(ends(program, processes, i == 0), 0) << program.output();
    goes_on(2);
  }
}

// By a signal to mpirun, or to any one of the processes.
TEST_F(Failures, StoppedItGoesOn) {
  for (const bool all : {true, false}) {
    std::filesystem::remove_all(file("run"));
    std::filesystem::remove(file("log"));
    Program program = start(3, NORMA_MNIST, training({"--resume", file("run"), "--log", file("log")}));
    const std::vector<pid_t> processes = started(program, 3);
    EXPECT_TRUE(comes([&] { return lines() >= 17; })) << program.output();  // in the second epoch of 13 steps
    ::kill(all ? program.pid() : processes[1], all ? SIGTERM : SIGINT);
    EXPECT_NE(ends(program, processes), 0);
    // (Told to end, mpirun gives its processes a second, and then kills them.)
    EXPECT_TRUE(all || count(program.output(), "stopped after step") == 1) << program.output();
    goes_on(all ? 2 : 0);
  }
}

TEST_F(Failures, AProcessThatDoesNotAnswerIsNotWaitedFor) {
  Program program = start(4, NORMA_MNIST, training({"--log", file("log"), "--exchange-timeout", "2"}));
  const std::vector<pid_t> processes = started(program, 4);
  EXPECT_TRUE(comes([&] { return lines() >= 3; })) << program.output();
  ::kill(processes[2], SIGSTOP);
  EXPECT_NE(ends(program, processes), 0);
  const std::string output = program.output();
  EXPECT_EQ(count(output, "error: "), 1u) << output;
  EXPECT_EQ(count(output, "has waited 2 s for process 2\n"), 1u) << output;
}

// The third of four processes sends to the first two and falls silent. These then wait for it and for the fourth, which
// waits for it alone.
TEST_F(Mpirun, WhoWaitsForOneAloneSpeaks) {
  const std::unique_ptr<Transport> transport = connect_processes(0, nullptr);
  if (!transport) {
    Program program = start(4, std::filesystem::read_symlink("/proc/self/exe").string(),
                            {"--gtest_filter=Mpirun.WhoWaitsForOneAloneSpeaks", "--gtest_brief=1"});
    EXPECT_NE(program.wait(), 0);
    const std::string output = program.output();
    EXPECT_EQ(count(output, "error: "), 1u) << output;
    EXPECT_EQ(count(output, "error: [silent] process 3 has waited 1 s for process 2\n"), 1u) << output;
    return;
  }
  const int here = transport->process();
  std::vector<std::byte> bytes(4);
  const auto exchange = [&](int tag) {
    std::vector<Transport::Message> send, receive;
    for (int other = 0; other < 4; ++other) {
      if (other == here) continue;
      if (here != 2) receive.push_back({other, std::span(bytes).subspan(other, 1)});
      if (here != 2 || other < 2) send.push_back({other, std::span(bytes).subspan(here, 1)});
    }
    transport->exchange("silent", tag << Transport::kCallBits, send, receive, 1);
  };
  try {
    exchange(1);
    if (here == 2) std::this_thread::sleep_for(std::chrono::seconds(20));
    exchange(2);
  } catch (const Error& error) {
    transport->abort(error.what());
  }
}

// Whatever it is, and whether it is so for all or for one of them.
TEST_F(Failures, AnErrorIsSaidOnceAndEndsAll) {
  const auto says = [&](int processes, const Arguments& arguments, const std::string& part) {
    Program program = start(processes, NORMA_MNIST, arguments);
    EXPECT_NE(ends(program, {}, false, 30), 0);  // from its start on
    const std::string output = program.output();
    EXPECT_EQ(count(output, "error: "), 1u) << output;
    EXPECT_EQ(count(output, part), 1u) << output;
  };
  std::filesystem::create_directory(file("run"));
  write_file_atomic(file("run/mnist.checkpoint"), "no checkpoint");
  says(0, training({"--resume", file("run")}), "run/mnist.checkpoint'");
  says(4, training({"--resume", file("run")}), "error: worker 0 of 4 (process 0): [safetensors");
  says(3, training({"--epochs", "0", "--save", file("nowhere/weights")}), "error: worker 0 of 4 (process 0): [file]");
  says(3, {"--data", file("nowhere")}, "error: [find_data] no data set in ");
  says(3, training({"--workers", "2"}), "error: [workers] 2 workers in 3 processes");
  // "-n 2 mnist ... : -n 1 mnist ..."
  const auto other = [&](Arguments options, const Arguments& last) {
    options.insert(options.end(), {":", "-n", "1", NORMA_MNIST});
    options.insert(options.end(), last.begin(), last.end());
    return options;
  };
  says(2, other(training({}), training({"--load", file("nowhere"), "--device", "gpu"})), " (process 2): ");
  says(2, other(training({}), training({"--norm", "gn:8"})), "error: worker ");
}

TEST_F(Failures, TheCommandLineIsReadOnce) {
  Program help = start(3, NORMA_MNIST, {"--help"});
  EXPECT_EQ(help.wait(), 0);
  EXPECT_EQ(count(help.output(), "--exchange-timeout"), 1u);
  Program wrong = start(3, NORMA_MNIST, {"--wrong"});
  EXPECT_NE(wrong.wait(), 0);
  EXPECT_EQ(count(wrong.output(), "--wrong"), 1u) << wrong.output();
}

}  // namespace
}  // namespace norma
