// What an exchange between processes costs: the constants of the cost model in docs/processes.md.
//
//   mpirun --bind-to none -n 2 exchange                           by shared memory
//   mpirun --bind-to none --mca btl tcp,self -n 2 exchange        by TCP
//
// Of the transport: each process sends `messages` messages of `bytes` bytes to the next one, and receives as many from
// the one before. Of the communicator, with a worker in each process: all_reduce and all_gather of so many bytes.
#include <fmt/format.h>
#include <norma/norma.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

#include "examples/common/program.h"

namespace {

using namespace norma;
using Clock = std::chrono::steady_clock;

struct Row {
  std::string what;
  int64_t messages, bytes;
  double median, p10;  // seconds
};

constexpr int64_t kTogether =
    16;  // exchanges that are timed as one: alone, one may find what it waits for already there

template <class F>
Row time(const std::string& what, int64_t messages, int64_t bytes, F&& f) {
  const int64_t together = messages * bytes > 1 << 20 ? 2 : kTogether;
  const int64_t repeats = std::clamp<int64_t>((int64_t{1} << 27) / (messages * bytes * together), 9, 60);
  std::vector<double> seconds;
  for (int64_t i = -1; i < repeats; ++i) {
    const Clock::time_point begin = Clock::now();
    for (int64_t k = 0; k < together; ++k) f();
    const double passed = std::chrono::duration<double>(Clock::now() - begin).count();
    if (i >= 0) seconds.push_back(passed / static_cast<double>(together));
  }
  std::sort(seconds.begin(), seconds.end());
  return {what, messages, bytes, seconds[seconds.size() / 2], seconds[seconds.size() / 10]};
}

int run(int argc, char** argv, const std::string& json) {
  check(connect_processes != nullptr, "exchange", "built without MPI");
  const std::unique_ptr<Transport> transport = connect_processes(argc, argv);
  check(transport != nullptr && transport->processes() > 1, "exchange", "wants mpirun, and two processes or more");
  set_num_threads(1);
  const int processes = transport->processes(), next = (transport->process() + 1) % processes,
            before = (transport->process() + processes - 1) % processes;

  std::vector<Row> rows;
  const auto send = [&](int64_t messages, int64_t bytes) {
    std::vector<std::byte> out(static_cast<size_t>(bytes)), in(static_cast<size_t>(messages * bytes));
    std::vector<Transport::Message> sent(static_cast<size_t>(messages), {next, out}), received;
    for (int64_t i = 0; i < messages; ++i)
      received.push_back({before, std::span(in).subspan(static_cast<size_t>(i * bytes), static_cast<size_t>(bytes))});
    rows.push_back(time("exchange", messages, bytes, [&] { transport->exchange("exchange", 1, sent, received, 60); }));
  };
  for (const int64_t messages : {1, 2, 4, 8, 16, 32, 64, 128}) send(messages, 512);
  for (int64_t bytes = 8; bytes <= 64 << 20; bytes *= 8) send(1, bytes);
  run_workers({.count = processes, .transport = transport.get()}, [&](Communicator& me) {
    for (int64_t bytes = 8; bytes <= 64 << 20; bytes *= 8) {
      const Tensor x = zeros({bytes / 4});
      rows.push_back(time("all_reduce", 1, bytes, [&] { me.all_reduce(x); }));
      if (bytes <= 1 << 20) rows.push_back(time("all_gather", 1, bytes, [&] { me.all_gather(x); }));
    }
  });
  if (transport->process() != 0) return 0;
  nlohmann::ordered_json list;
  fmt::print("{:<12}{:>9}{:>12}{:>12}{:>12}{:>9}\n", "", "messages", "bytes each", "median us", "p10 us", "GB/s");
  for (const Row& row : rows) {
    fmt::print("{:<12}{:>9}{:>12}{:>12.1f}{:>12.1f}{:>9.3f}\n", row.what, row.messages, row.bytes, 1e6 * row.median,
               1e6 * row.p10, 1e-9 * static_cast<double>(row.messages * row.bytes) / row.p10);
    list.push_back({{"what", row.what},
                    {"messages", row.messages},
                    {"bytes", row.bytes},
                    {"median_seconds", row.median},
                    {"p10_seconds", row.p10}});
  }
  if (!json.empty())
    write_file_atomic(json, nlohmann::ordered_json({{"processes", processes}, {"rows", list}}).dump(2) + "\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string json;
  CLI::App app("Times exchanges between processes.");
  app.add_option("--json", json, "write the result to this file");
  return examples::run_program(app, argc, argv, [&] { return run(argc, argv, json); });
}
