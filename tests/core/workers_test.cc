// What workers exchange, in one process and in several: the values, the tree of sums, groups, and what happens where a
// worker fails or does not come.
#include "norma/core/workers.h"

#include <cmath>
#include <thread>

#include "tests/golden.h"
#include "tests/processes.h"

namespace norma {
namespace {

using namespace norma::test;

// What each worker contributes: numbers whose sum depends on the order.
Tensor numbers(int rank, int64_t n, DType dtype) {
  Generator random(7, static_cast<uint64_t>(rank));
  const Tensor x = random.fill_normal(Tensor({n}, f64), 0, std::pow(10, rank % 3));
  return dtype == i64 ? (x * 1000).to(i64) : x.to(dtype);
}

// The sum of ranks [low, high) as core/communicator.h describes it.
Tensor tree(const std::vector<Tensor>& xs, size_t low, size_t high) {
  if (high - low == 1) return xs[low];
  size_t half = 1;
  while (2 * half < high - low) half *= 2;
  const Tensor a = tree(xs, low, low + half), b = tree(xs, low + half, high);
  return a.dtype() == i64 ? (a.to(f64) + b.to(f64)).to(i64) : a + b;  // exact in f64, being small
}

TEST(WorkersThreads, SumAlongTheTreeWhateverTheProcesses) {
  for (const DType dtype : {f32, f64, i64})
    for (const int workers : {1, 2, 3, 4, 5, 7, 8, 13})
      for (const int64_t n : {0, 1, 3, 1000, 20'000}) {
        std::vector<Tensor> xs;
        for (int r = 0; r < workers; ++r) xs.push_back(numbers(r, n, dtype));
        const Tensor want = tree(xs, 0, xs.size());
        for (int processes = 1; processes <= std::min(workers, 5); ++processes) {
          std::vector<Tensor> got(xs.size());
          const auto errors = run_processes(processes, workers, [&](Communicator& me) {
            const Tensor x = xs[static_cast<size_t>(me.rank())].clone();
            me.all_reduce(x);
            got[static_cast<size_t>(me.rank())] = x;
          });
          for (const std::string& error : errors) EXPECT_EQ(error, "");
          for (const Tensor& x : got)
            ASSERT_TRUE(same_bits(x, want)) << workers << " workers, " << processes << " processes, " << n;
        }
      }
}

// A test of the test: another order gives other bits.
TEST(WorkersThreads, TheOrderOfASumIsSeenInItsBits) {
  std::vector<Tensor> xs;
  for (int r = 0; r < 4; ++r) xs.push_back(numbers(r, 1000, f32));
  EXPECT_FALSE(same_bits(tree(xs, 0, 4), ((xs[0] + xs[1]) + xs[2]) + xs[3]));
}

TEST(WorkersThreads, GatherAndBroadcastBringWhatWasGiven) {
  for (int processes = 1; processes <= 3; ++processes) {
    const auto errors = run_processes(processes, 5, [&](Communicator& me) {
      EXPECT_EQ(me.size(), 5);
      for (const DType dtype : {f32, f64, i64, u8, boolean}) {
        const Tensor x = tensor<int64_t>({me.rank(), 2 * me.rank(), 1}, {3, 1}).to(dtype);
        const Tensor all = me.all_gather(x);
        EXPECT_EQ(all.shape(), (Shape{5, 3, 1}));
        for (int64_t r = 0; r < 5; ++r)
          EXPECT_TRUE(same_bits(view::reshape(view::slice(all, 0, r, r + 1), {3, 1}).clone(),
                                tensor<int64_t>({r, 2 * r, 1}, {3, 1}).to(dtype)));
        for (const int root : {0, 2, 4}) {
          const Tensor y = x.clone();
          me.broadcast(y, root);
          EXPECT_TRUE(same_bits(y, tensor<int64_t>({root, 2 * root, 1}, {3, 1}).to(dtype)));
        }
      }
      // Of a view, the elements; those between them stay.
      const Tensor whole = full({2, 3}, me.rank(), f32);
      me.all_reduce(view::slice(whole, 1, 1, 2));
      EXPECT_EQ(whole.to_vector<double>()[1], 10);
      EXPECT_EQ(whole.to_vector<double>()[0], me.rank());
      EXPECT_EQ(me.all_gather(Tensor({0}, f32)).shape(), (Shape{5, 0}));
      me.broadcast(Tensor({0}, f32));
      me.barrier();
    });
    for (const std::string& error : errors) EXPECT_EQ(error, "");
  }
}

TEST(WorkersThreads, PartsOfACommunicatorExchangeAmongThemselves) {
  for (int processes = 1; processes <= 4; ++processes) {
    const auto errors = run_processes(processes, 6, [&](Communicator& me) {
      Communicator &pairs = me.split(me.rank() / 2), &other = me.split(-(me.rank() % 3)),
                   &alone = pairs.split(me.rank());
      EXPECT_EQ(pairs.size(), 2);
      EXPECT_EQ(pairs.rank(), me.rank() % 2);
      EXPECT_EQ(other.size(), 2);
      EXPECT_EQ(other.rank(), me.rank() / 3);
      EXPECT_EQ(alone.size(), 1);
      for (int turn = 0; turn < 20; ++turn) {  // at the same time, without an order between the parts
        const Tensor x = full({}, me.rank(), f64), y = x.clone(), z = x.clone(), w = x.clone();
        pairs.all_reduce(x);
        EXPECT_EQ(x.item(), 4 * (me.rank() / 2) + 1);
        other.all_reduce(y);
        EXPECT_EQ(y.item(), 2 * (me.rank() % 3) + 3);
        alone.all_reduce(z);
        EXPECT_EQ(z.item(), me.rank());
        me.all_reduce(w);
        EXPECT_EQ(w.item(), 15);
      }
    });
    for (const std::string& error : errors) EXPECT_EQ(error, "");
  }
}

TEST(WorkersThreads, SharesCoverAllInOrder) {
  for (const int64_t n : {0, 1, 3, 130}) {
    std::vector<std::pair<int64_t, int64_t>> shares(4);
    run_workers({.count = 4}, [&](Communicator& me) { shares[static_cast<size_t>(me.rank())] = me.share(n); });
    int64_t at = 0;
    for (const auto& [begin, end] : shares) {
      EXPECT_EQ(begin, at);
      EXPECT_LE(std::abs((end - begin) * 4 - n), 4);
      at = end;
    }
    EXPECT_EQ(at, n);
  }
}

TEST(WorkersThreads, EachHasAGeneratorAndThreadsOfItsOwn) {
  const int before = num_threads();
  set_num_threads(6);
  manual_seed(3);
  const double next = randn({1}).item();  // what the process's generator begins with
  manual_seed(3);
  std::vector<Tensor> got[2];
  for (const int processes : {1, 3}) {
    std::vector<Tensor>& draws = got[processes / 2];
    draws.resize(4);
    run_processes(processes, 4, [&](Communicator& me) {
      EXPECT_EQ(num_threads(), processes == 1 ? (me.rank() % 2 == 0 ? 1 : 2) : num_threads());
      const Tensor first = randn({4});
      EXPECT_EQ(first.at({0}) == next, me.first());
      manual_seed(5);
      const Tensor again = randn({4});
      manual_seed(5);
      EXPECT_TRUE(same_bits(again, randn({4})));
      draws[static_cast<size_t>(me.rank())] = concat({first, again}, 0);
    });
  }
  for (size_t r = 0; r < 4; ++r) {
    EXPECT_TRUE(same_bits(got[0][r], got[1][r])) << r;
    for (size_t other = 0; other < r; ++other) EXPECT_FALSE(same_bits(got[0][r], got[0][other]));
  }
  set_num_threads(before);
}

TEST(WorkersThreads, OneThatThrowsEndsAllAndIsNamed) {
  expect_error(
      [] {
        run_workers({.count = 3}, [](Communicator& me) {
          if (me.rank() == 1) fail("step", "too hot");
          me.barrier();
        });
      },
      "worker 1 of 3: [step] too hot");
  const auto errors = run_processes(3, 4, [](Communicator& me) {
    if (me.rank() == 3) throw std::runtime_error("out of paper");
    me.all_reduce(zeros({100'000}));
  });
  EXPECT_NE(errors[2].find("worker 3 of 4 (process 2): out of paper"), std::string::npos) << errors[2];
  for (const std::string& error : errors) EXPECT_NE(error, "");
  // Afterwards all is as it was.
  run_workers({.count = 3}, [](Communicator& me) { me.barrier(); });
}

TEST(WorkersThreads, OneThatDoesNotComeIsNamed) {
  expect_error(
      [] {
        run_workers({.count = 3, .timeout = 0.2}, [](Communicator& me) {
          if (me.rank() != 1) me.barrier();
          else std::this_thread::sleep_for(std::chrono::milliseconds(300));
        });
      },
      "has waited 0.2 s for worker 1");
  const auto errors = run_processes(
      2, 2,
      [](Communicator& me) {
        if (me.rank() == 0) me.barrier();
      },
      0.2);
  EXPECT_NE(errors[0].find("worker 0 of 2 (process 0): [all_gather] process 0 has waited 0.2 s for process 1"),
            std::string::npos)
      << errors[0];
}

TEST(WorkersThreads, DifferentCallsAreAnError) {
  expect_error(
      [] {
        run_workers({.count = 2}, [](Communicator& me) {
          if (me.first()) me.all_reduce(zeros({3}));
          else me.all_reduce(zeros({4}));
        });
      },
      "do not call the same");
  expect_error(
      [] {
        run_workers({.count = 2}, [](Communicator& me) {
          const Tensor x = zeros({2, 1, 3});
          if (me.first()) me.broadcast(x);
          else me.broadcast(x, 1);
        });
      },
      "root 1");
  // With another process, whose call is not known, also where as many bytes are sent.
  for (const auto& call : std::vector<std::function<void(Communicator&)>>{
           [](Communicator& me) { me.all_reduce(zeros({3 + me.rank()})); },
           [](Communicator& me) { me.all_reduce(me.first() ? zeros({2}, f32) : zeros({}, i64)); },
           [](Communicator& me) {
             me.all_reduce(me.first() ? zeros({2, 3}) : zeros({3, 2}));
           }}) {
    const auto errors = run_processes(
        2, 2,
        [&](Communicator& me) {
          call(me);
          me.barrier();
        },
        0.2);
    for (const std::string& error : errors) EXPECT_NE(error, "");
  }
  // Two that both take themselves for the root wait for nobody. What they have sent is not taken for a later call's.
  for (const std::string& error : run_processes(2, 2, [](Communicator& me) {
         me.broadcast(full({2}, 1), me.rank());
         const Tensor x = full({2}, 5 + me.rank());
         me.broadcast(x, 0);
         EXPECT_EQ(x.at({1}), 5);
       }))
    EXPECT_EQ(error, "");
}

// Whoever goes on all the same gets errors, not the messages of calls that others have given up.
TEST(WorkersThreads, AfterAnExchangeThatFailedNoneIsRight) {
  for (const int processes : {1, 2}) {
    std::atomic<bool> given_up{false};
    std::atomic<int> right{0};
    run_processes(
        processes, 2,
        [&](Communicator& me) {
          while (me.rank() == 1 && !given_up) std::this_thread::sleep_for(std::chrono::milliseconds(5));
          for (int round = 0; round < 3; ++round) {
            const Tensor x = full({40'000}, round + 1);
            try {
              me.all_reduce(x);
              ++right;
            } catch (const Error&) {
              given_up = true;
            }
          }
        },
        0.2);
    EXPECT_EQ(right, 0);
  }
}

TEST(WorkersThreads, ColorsMayBeAnyNumbers) {
  for (const int64_t color : {(int64_t{1} << 53) + 1, INT64_MAX - 1, INT64_MIN})
    run_workers({.count = 3}, [&](Communicator& me) {
      Communicator& part = me.split(color + me.rank() % 2);
      EXPECT_EQ(part.size(), 2 - me.rank() % 2);
      EXPECT_EQ(part.rank(), me.rank() / 2);
    });
}

// Also where a process has one worker.
TEST(WorkersThreads, NothingOfTheCallersThreadIsTheirs) {
  const NoGrad unrecorded;
  for (const int processes : {1, 2})
    for (const std::string& error : run_processes(processes, 2, [](Communicator&) {
           Tensor x = ones({2}).set_requires_grad();
           Tape tape;
           tape.backward(sum(x * 2));
           EXPECT_EQ(x.grad().at({0}), 2);
         }))
      EXPECT_EQ(error, "");
}

TEST(WorkersThreads, EachRunDrawsOtherNumbers) {
  manual_seed(9);
  std::vector<double> seen;
  for (int run = 0; run < 3; ++run) {
    std::vector<double> draws(2);
    run_workers({.count = 2}, [&](Communicator& me) { draws[static_cast<size_t>(me.rank())] = randn({1}).item(); });
    draws.push_back(randn({1}).item());
    for (const double draw : draws) {
      EXPECT_EQ(std::count(seen.begin(), seen.end(), draw), 0);
      seen.push_back(draw);
    }
  }
}

TEST(WorkersThreads, RejectBadSettings) {
  const auto nothing = [](Communicator&) {};
  expect_error([&] { run_workers({.count = 0}, nothing); }, "0 workers in 1 process");
  expect_error([&] { run_workers({.count = 2, .timeout = 0}, nothing); }, "a timeout of 0 s");
  expect_error([&] { run_workers({.count = 2, .timeout = 1e300}, [](Communicator&) { fail("step", "no"); }); }, "no");
  expect_error([&] { run_workers({.count = 2}, [&](Communicator&) { run_workers({.count = 2}, nothing); }); },
               "called by a worker");
  EXPECT_NE(run_processes(3, 2, nothing)[0].find("2 workers in 3 processes"), std::string::npos);
  run_workers({}, [](Communicator& me) {
    expect_error([&] { me.all_reduce(zeros({2}, u8)); }, "sums f32, f64 and i64");
    expect_error([&] { me.broadcast(zeros({2}), 1); }, "from worker 1 of 1");
    expect_error([&] { me.all_reduce(view::expand(zeros({1}), {2})); }, "several elements");
    expect_error([&] { me.broadcast(view::expand(zeros({1}), {2})); }, "several elements");
    me.barrier();  // nobody has met anybody
  });
}

}  // namespace
}  // namespace norma
