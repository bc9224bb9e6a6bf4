// Processes that MPI has started send each other bytes by it. The library norma::mpi; norma itself links no MPI.
// Any thread may speak, one at a time (MPI_THREAD_SERIALIZED): a thread that waits asks MPI again and again whether its
// messages have come, and lets others speak in between, so none waits for what another thread still has to send.
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include "norma/core/error.h"
#include "norma/core/transport.h"

// What the linker is asked for by name, so that it takes this file, which sets connect_processes.
extern "C" const int norma_mpi_is_linked = 1;

namespace norma::mpi {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostBytes = size_t{1} << 30;  // of one of MPI's messages, which count in int

void check_mpi(const char* op, int code) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail(op, "MPI: {}", std::string_view(text, static_cast<size_t>(length)));
}

class MpiTransport final : public Transport {
 public:
  MpiTransport(int argc, char** argv) {
    int provided = 0;
    int before = 0;
    MPI_Initialized(&before);
    check(!before, "workers", "MPI has been begun before: a program makes its Workers once");
    check_mpi("workers", MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided));
    check(provided >= MPI_THREAD_SERIALIZED, "workers", "this MPI lets only one thread of a process speak");
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &process_);
    MPI_Comm_size(comm_, &processes_);
    before_abort_ = process_ > 0 ? 1.5 : 0;
  }
  // Not where an exception is on its way out: the other processes may not come to the end, which MPI waits for. They
  // are then ended by mpirun, when this process has.
  ~MpiTransport() override {
    if (std::uncaught_exceptions() == 0) MPI_Finalize();
    else let_others_speak(process_ > 0 ? 2 : 0);
  }

  int process() const override { return process_; }
  int processes() const override { return processes_; }

  void exchange(const char* op, int tag, std::span<const Message> send, std::span<const Message> receive,
                double timeout) override {
    std::vector<MPI_Request> requests;
    std::vector<std::pair<int, int>> expected;  // of each request to receive: from whom, and how many bytes
    {
      const std::lock_guard lock(mutex_);
      for (const Message& message : receive)
        for_each_piece(message, [&](std::byte* data, int bytes) {
          expected.emplace_back(message.process, bytes);
          check_mpi(op, MPI_Irecv(data, bytes, MPI_BYTE, message.process, tag, comm_, &requests.emplace_back()));
        });
      for (const Message& message : send)
        for_each_piece(message, [&](std::byte* data, int bytes) {
          check_mpi(op, MPI_Isend(data, bytes, MPI_BYTE, message.process, tag, comm_, &requests.emplace_back()));
        });
    }
    std::vector<MPI_Status> status(requests.size());
    const Clock::time_point begin = Clock::now();
    while (true) {
      int done = 0;
      {
        const std::lock_guard lock(mutex_);
        const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, status.data());
        check(code != MPI_ERR_IN_STATUS, op, "a message is not what was expected: do all workers call the same?");
        check_mpi(op, code);
      }
      if (done) break;
      const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
      if (seconds > timeout) give_up(op, timeout, requests, expected);
      if (seconds < 2e-3) {
        std::this_thread::yield();
        continue;
      }
      check_calls(op, tag, requests, expected);
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      int bytes = 0;
      MPI_Get_count(&status[i], MPI_BYTE, &bytes);
      check(bytes == expected[i].second, op, "process {} has sent {} bytes, not {}: do all workers call the same?",
            expected[i].first, bytes, expected[i].second);
    }
  }

  void abort(const std::string& why) noexcept override {
    std::signal(SIGTERM, SIG_DFL);  // by which mpirun ends this process, if another has spoken
    let_others_speak(before_abort_);
    const std::lock_guard lock(mutex_);
    std::fflush(stdout);
    std::fprintf(stderr, "error: %s\n", why.c_str());
    std::fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    std::_Exit(1);
  }

 private:
  // What several processes find wrong at the same time should be said once: the one with the most to say ends the
  // others before they do. Of a file that is not there, say, this is process 0.
  static void let_others_speak(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

  template <class F>
  static void for_each_piece(const Message& message, F&& f) {
    size_t at = 0;
    do {
      const size_t bytes = std::min(kMostBytes, message.bytes.size() - at);
      f(message.bytes.data() + at, static_cast<int>(bytes));
      at += bytes;
    } while (at < message.bytes.size());
  }

  // Throws where a process whose message has not come has sent one of another call.
  void check_calls(const char* op, int tag, const std::vector<MPI_Request>& requests,
                   const std::vector<std::pair<int, int>>& expected) {
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < expected.size(); ++i) {
      int done = 0, other = 0;
      MPI_Status status;
      MPI_Request_get_status(requests[i], &done, MPI_STATUS_IGNORE);
      if (!done) MPI_Iprobe(expected[i].first, MPI_ANY_TAG, comm_, &other, &status);
      if (!done && other && status.MPI_TAG != tag && status.MPI_TAG >> kCallBits == tag >> kCallBits)
        fail(op, "process {} has called something else than process {}: do all workers call the same?",
             expected[i].first, process_);
    }
  }

  [[noreturn]] void give_up(const char* op, double timeout, std::vector<MPI_Request>& requests,
                            const std::vector<std::pair<int, int>>& expected) {
    std::set<int> missing;
    for (size_t i = 0; i < expected.size(); ++i) {
      int done = 0;
      const std::lock_guard lock(mutex_);
      MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE);
      if (done) continue;
      missing.insert(expected[i].first);
      MPI_Cancel(&requests[i]);  // its memory is soon another's
      MPI_Request_free(&requests[i]);
    }
    // Some of these may wait themselves, for one who has sent to this process and not to them: who misses fewer knows
    // better, whatever its number.
    before_abort_ = (missing.empty() ? 4 : std::min<double>(missing.size(), 4) - 1) + 0.1 * std::min(process_, 9);
    std::string names;
    for (const int process : missing) names += fmt::format("{}{}", names.empty() ? "" : ", ", process);
    fail(op, "process {} has waited {} s for {}", process_, timeout,
         names.empty() ? "others to receive" : "process " + names);
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int process_ = 0, processes_ = 1;
  std::atomic<double> before_abort_{0};  // seconds that others have for it
  std::mutex mutex_;                     // who speaks
};

// Started by mpirun, srun or the like: by their variables, since MPI itself, once asked, has to be told that it is
// alone, which takes it a good part of a second.
std::unique_ptr<Transport> connect(int argc, char** argv) {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
    if (std::getenv(variable)) return std::make_unique<MpiTransport>(argc, argv);
  return nullptr;
}

const bool registered = (connect_processes = connect) != nullptr;

}  // namespace
}  // namespace norma::mpi
