// Runs the trainers by mpirun, or as the one process that they are without it. Test support only.
#pragma once

#include <chrono>
#include <fstream>
#include <functional>
#include <thread>

#include "tests/examples/program.h"

namespace norma::test {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Mpirun : public ::testing::Test {
 protected:
  // OpenMPI's settings, by their variables: as root, more processes than cores, bound to none, and by means that
  // containers allow.
  static void SetUpTestSuite() {
    for (const auto& [name, value] : {std::pair("OMPI_ALLOW_RUN_AS_ROOT", "1"),
                                      {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                                      {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
                                      {"OMPI_MCA_hwloc_base_binding_policy", "none"},
                                      {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"}})
      ::setenv(name, value, 1);
  }
  void SetUp() override {
    if (std::string_view(NORMA_MPIRUN).empty()) GTEST_SKIP() << "norma was built without MPI, or there is no mpirun";
  }

  std::string file(const std::string& name) const { return folder / name; }
  Bytes bytes(const std::string& name) const { return read_file(file(name)); }

  // processes: 0 for one without mpirun.
  Program start(int processes, const std::string& program, const Arguments& arguments) const {
    if (processes == 0) return Program(program, arguments, file("output"));
    Arguments all = {"-n", std::to_string(processes), program};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Program(NORMA_MPIRUN, all, file("output"));
  }
  std::string run(int processes, const std::string& program, const Arguments& arguments) const {  // the output
    Program started = start(processes, program, arguments);
    EXPECT_EQ(started.wait(), 0) << started.output();
    return started.output();
  }

  // Whether this comes true within a minute.
  static bool comes(const std::function<bool()>& what) {
    const Clock::time_point start = Clock::now();
    while (!what()) {
      if (seconds_since(start) > 60) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  // What /proc says of a process: its state, and its parent's number.
  struct Status {
    char state = 'X';  // it has ended
    pid_t parent = 0;
  };
  static Status status_of(const std::string& pid) {
    std::ifstream file("/proc/" + pid + "/stat");  // "number (name) state parent ..."
    std::string line;
    if (!std::getline(file, line)) return {};
    const size_t name = line.rfind(')');
    return {line[name + 2], std::atoi(line.c_str() + name + 4)};
  }
  static bool lives(pid_t pid) {
    const char state = status_of(std::to_string(pid)).state;
    return state != 'X' && state != 'Z';
  }
  // The processes that this one has started, in their order.
  static std::vector<pid_t> children(pid_t parent) {
    std::vector<pid_t> result;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (std::isdigit(name[0]) && status_of(name).parent == parent) result.push_back(std::atoi(name.c_str()));
    }
    std::sort(result.begin(), result.end());
    return result;
  }

  static size_t count(const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
  }

  TemporaryFolder folder;
};

}  // namespace norma::test
