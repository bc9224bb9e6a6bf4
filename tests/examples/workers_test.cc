// What the trainers share where there are several workers.
#include "examples/common/workers.h"

#include "examples/common/digits.h"
#include "examples/common/evaluation.h"
#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;

struct Net : nn::Module {
  nn::Linear fc{784, 10};
  NORMA_VISIT(fc)
  Tensor forward(const Tensor& x) override { return fc(reshape(x, {x.dim(0), 784})); }
};

// What several workers find together is what one finds alone, also where there are more of them than pictures.
TEST(Evaluation, IsSharedByTheWorkers) {
  const data::ImageDataset digits = draw_digits(25, 1);
  manual_seed(1);
  Net net;
  data::DataLoader alone(digits, {.batch = 10, .normalize = digits.statistics()});
  const Evaluation want = evaluate(net, alone, cpu_device);
  for (const int workers : {2, 3, 8})
    run_workers({.count = workers}, [&](nn::Worker& me) {
      Net own;
      nn::assign("test", "net", own.state_dict(), net.state_dict());
      data::DataLoader share(digits, {.batch = 10, .normalize = digits.statistics(), .worker = me});
      const Evaluation got = evaluate(own, share, cpu_device);
      EXPECT_EQ(got.table.str(), want.table.str());
      EXPECT_EQ(got.table.total(), 25);
      EXPECT_NEAR(got.loss, want.loss, 1e-6);
    });
}

TEST(Interrupt, SeveralAreOne) {
  struct sigaction before {
  }, after{};
  ::sigaction(SIGTERM, nullptr, &before);
  {
    auto first = std::make_unique<Interrupt>();
    const Interrupt second;
    EXPECT_EQ(second.signal(), 0);
    first.reset();
    ::raise(SIGTERM);
    const Interrupt third;  // asks for nothing anew
    EXPECT_EQ(second.signal(), SIGTERM);
    EXPECT_EQ(third.signal(), SIGTERM);
  }
  ::sigaction(SIGTERM, nullptr, &after);
  EXPECT_EQ(after.sa_handler, before.sa_handler);
  EXPECT_EQ(Interrupt().signal(), 0);
}

// Whoever of them has heard it, all of them stop.
TEST(Interrupt, IsSaidToAllWorkers) {
  run_workers({.count = 3}, [](nn::Worker& me) {
    EXPECT_EQ(sum_of_workers(me, {1, me.rank() * 0.5}), (std::vector<double>{3, 1.5}));
    EXPECT_TRUE(first_says(me, [&] { return me.first(); }));
    EXPECT_FALSE(first_says(me, [&] { return !me.first(); }));
    const Interrupt interrupt;
    EXPECT_EQ(signal_of_workers(me, interrupt), 0);
    if (me.rank() == 2) ::raise(SIGINT);
    me.barrier();
    EXPECT_EQ(signal_of_workers(me, interrupt), SIGINT);
    me.barrier();
  });
}

}  // namespace
}  // namespace examples
