// The number of workers is part of the experiment; that of processes and of threads is not: the trainers' weights are
// the same to the last bit.
#include "tests/mpi/mpirun.h"

namespace norma {
namespace {

using namespace norma::test;

class SameBits : public Mpirun {
 protected:
  // The weights, and what was printed with them.
  Bytes weights(int processes, const std::string& program, Arguments arguments, int threads) const {
    arguments.insert(arguments.end(), {"--threads", std::to_string(threads), "--save", file("weights")});
    std::filesystem::remove(file("weights"));
    run(processes, program, arguments);
    return bytes("weights");
  }
  // Of 4 workers with this norm in these numbers of processes, with 1 thread and 2 in turn, and in one without mpirun.
  void expect_same(const std::string& program, Arguments arguments, const std::string& norm,
                   const std::vector<int>& processes) const {
    arguments.insert(arguments.end(), {"--workers", "4", "--norm", norm});
    const Bytes want = weights(0, program, arguments, 2);
    for (size_t i = 0; i < processes.size(); ++i)
      EXPECT_EQ(weights(processes[i], program, arguments, 1 + static_cast<int>(i % 2)), want)
          << norm << ", " << processes[i] << " processes";
  }
};

// 100 = 33 + 33 + 33 + 1: the last batch is for one worker alone.
const Arguments kMnist = {"--synthetic", "--limit", "100", "--batch", "33", "--epochs", "1"};

TEST_F(SameBits, Mnist) {
  expect_same(NORMA_MNIST, kMnist, "bn", {1, 2, 3, 4});
  expect_same(NORMA_MNIST, kMnist, "sync", {2, 3});
  expect_same(NORMA_MNIST, kMnist, "sync:2", {4});
  expect_same(NORMA_MNIST, kMnist, "gn:8", {3});
}

// Pictures are shifted, mirrored and cut out of; two averages besides.
TEST_F(SameBits, Cifar) {
  folder.write_cifar10(14);
  const Arguments arguments = {"--data", folder.path(), "--batch",  "37", "--epochs",     "1",
                               "--ema",  "0.5",         "--cutout", "8",  "--population", "precise:30"};
  expect_same(NORMA_CIFAR, arguments, "bn", {3});
  expect_same(NORMA_CIFAR, arguments, "sync", {4});
  expect_same(NORMA_CIFAR, arguments, "sync:2", {3, 2});
  expect_same(NORMA_CIFAR, arguments, "gn:8", {2});
}

TEST_F(SameBits, Denoise) {
  const Arguments arguments = {"--synthetic", "--limit", "60", "--batch", "25", "--epochs", "1", "--width", "8"};
  expect_same(NORMA_DENOISE, arguments, "hin", {3});
  expect_same(NORMA_DENOISE, arguments, "sync:3", {2});  // three workers, and one
}

// Also where there are more of them than samples in a batch. No two numbers of workers give the same weights.
TEST_F(SameBits, RepeatedByOneToEightWorkers) {
  std::vector<Bytes> seen;
  for (const char* workers : {"1", "2", "3", "4", "5", "6", "7", "8"}) {
    Arguments arguments = {"--synthetic", "--limit", "40", "--batch", "7", "--epochs", "1", "--workers", workers};
    const Bytes first = weights(0, NORMA_MNIST, arguments, 2);
    EXPECT_EQ(weights(0, NORMA_MNIST, arguments, 1), first) << workers;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), first), 0) << workers;
    seen.push_back(first);
  }
}

// Everything is said once, with the numbers of all; with mpirun as without.
TEST_F(SameBits, AndTheSameIsPrinted) {
  const auto printed = [&](int processes) {
    Arguments arguments = kMnist;
    arguments.insert(arguments.end(), {"--workers", "4", "--json", file("result.json"), "--log", file("log"),
                                       "--threads", "1", "--log-every", "1"});
    std::string text = run(processes, NORMA_MNIST, arguments);
    const std::string of = processes > 1 ? fmt::format(" in each of {} processes", processes) : "";
    EXPECT_EQ(count(text, fmt::format("on cpu with 1 threads{}, by 4 workers\n", of)), 1u) << text;
    text.erase(text.find("on cpu with"), text.find("by 4 workers") - text.find("on cpu with"));
    const size_t speed = text.find(" images/s"), begin = text.rfind("  ", speed);
    text.erase(begin, text.find('\n', begin) - begin);  // "123 images/s  0 s"
    text.erase(text.rfind(" in "));                     // "... after 1 epoch in 0 s"
    const auto result = nlohmann::json::parse(Program::text_of(file("result.json")));
    EXPECT_EQ(result["workers"], 4);
    EXPECT_EQ(result["processes"], std::max(processes, 1));
    EXPECT_EQ(count(Program::text_of(file("log")), "\n"), 5u);  // four steps and an epoch
    std::filesystem::remove(file("log"));
    return text;
  };
  const std::string want = printed(0);
  EXPECT_EQ(printed(3), want);
  EXPECT_EQ(count(want, "\033"), 0u);  // no progress in a file
}

// Unless it is told how many, a process takes its part of the machine.
TEST_F(SameBits, ThreadsAreSharedOut) {
  ::unsetenv("NORMA_NUM_THREADS");
  const auto threads = [&](int processes) {
    run(processes, NORMA_MNIST, {"--synthetic", "--limit", "10", "--epochs", "0", "--json", file("result.json")});
    return nlohmann::json::parse(Program::text_of(file("result.json")))["threads"].get<int>();
  };
  const int all = threads(0);
  EXPECT_EQ(threads(1), all);
  EXPECT_EQ(threads(2), std::max(1, all / 2));
  EXPECT_EQ(threads(3), std::max(1, all / 3));
}

}  // namespace
}  // namespace norma
