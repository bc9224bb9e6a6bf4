// How much workers send: what docs/processes.md says of one sum, and of whole training steps.
#include "examples/common/resnet.h"
#include "norma/nn/workers.h"
#include "tests/golden.h"
#include "tests/processes.h"

namespace norma::nn {
namespace {

using namespace norma::test;

TEST(ExchangesThreads, ASumSendsWhatTheDocumentSays) {
  // Of each process: how many sums of the tree it sends. Where workers do not divide, some processes have two.
  const std::vector<std::pair<int, std::vector<int64_t>>> cases = {{2, {1, 1}},       {3, {1, 1, 1}}, {8, {1, 1}},
                                                                   {8, {1, 1, 1, 1}}, {5, {1, 2}},    {8, {1, 2, 2}}};
  for (const auto& [workers, sums] : cases)
    for (const int64_t n : {8000, 9000}) {  // 32,000 and 36,000 bytes
      const int64_t processes = std::ssize(sums);
      Switchboard board(static_cast<int>(processes));
      const auto errors = run_processes(
          static_cast<int>(processes), workers, [&](Communicator& me) { me.all_reduce(zeros({n})); }, 60, &board);
      for (const std::string& error : errors) EXPECT_EQ(error, "");
      int64_t messages = 0, bytes = 0;
      for (const int64_t s : sums) {
        messages += (processes - 1) * (n == 8000 ? s : s + 1);
        bytes += 4 * (n == 8000 ? (processes - 1) * s * n : (processes - 1) * (s + 1) * n / processes);
      }
      EXPECT_EQ(board.messages, messages) << workers << " workers in " << processes;
      EXPECT_EQ(board.bytes, bytes) << workers << " workers in " << processes << ", " << n;
    }
}

// The table "what one step sends".
TEST(Exchanges, AStepSendsWhatTheDocumentSays) {
  struct Case {
    int64_t depth;
    bool sync;
    int processes;
    int64_t messages, bytes;  // of each process
  };
  for (const Case& c : std::vector<Case>{{20, false, 2, 5, 1'103'296},
                                         {20, true, 2, 45, 1'121'776},
                                         {20, false, 4, 15, 1'675'044},
                                         {20, true, 4, 135, 1'730'484},
                                         {18, false, 2, 6, 44'773'464},
                                         {18, true, 2, 43, 44'888'344}}) {
    Switchboard board(c.processes);
    const auto errors = run_processes(
        c.processes, c.processes,
        [&](Communicator& me) {
          const examples::MakeActivatedNorm make = [&](int64_t channels, const Activation& activation) {
            return c.sync ? SyncBatchNorm(channels, me, {.activation = activation})
                          : BatchNorm(channels, {.activation = activation});
          };
          std::unique_ptr<Module> model;
          if (c.depth == 20) model = std::make_unique<examples::ResNet>(20, 10, make);
          else model = std::make_unique<examples::ResidualNet>(std::vector<int64_t>{64, 128, 256, 512}, 2, 10, make, 3);
          const SGD optimizer(*model, {});
          Tape tape;
          tape.backward(cross_entropy((*model)(zeros({2, 8, 8, 3})), zeros({2}, i64)));
          average_gradients(me, optimizer);
          average_populations(me, *model);
        },
        60, &board);
    for (const std::string& error : errors) EXPECT_EQ(error, "");
    EXPECT_EQ(board.messages / c.processes, c.messages);
    EXPECT_EQ(board.bytes / c.processes, c.bytes);
  }
}

}  // namespace
}  // namespace norma::nn
