// Where errors, tapes, profiles and traces say that they are in a model: the path of the module that runs.
#include <array>
#include <sstream>
#include <thread>

#include "norma/core/parallel.h"
#include "norma/nn/attention.h"
#include "norma/nn/layers.h"
#include "norma/nn/norm/norm.h"
#include "norma/nn/sequential.h"
#include "tests/files.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;

// Passes x on, and notes in what it runs.
struct Probe : Module {
  Tensor forward(const Tensor& x) override {
    seen = running_module;
    return x;
  }
  std::string seen;
};

struct Block : Module {
  explicit Block(bool projects = false) {
    if (projects) project.emplace();
  }
  Probe conv1;
  std::optional<Probe> project;
  NORMA_VISIT(conv1, project)
  Tensor forward(const Tensor& x) override { return project ? (*project)(conv1(x)) : conv1(x); }
};

struct Net : Module {
  Net() {
    for (int i = 0; i < 3; ++i) blocks.emplace_back(i == 1);
  }
  Sequential features{Probe(), Probe()};
  std::vector<Block> blocks;
  std::unique_ptr<Probe> head = std::make_unique<Probe>();
  Probe unlisted;
  NORMA_VISIT(features, blocks, head)
  Tensor forward(const Tensor& x) override {
    Tensor y = features(x);
    for (Block& block : blocks) y = block(y);
    return unlisted((*head)(y));
  }
  std::string feature(size_t i) { return static_cast<Probe&>(features[i]).seen; }
};

TEST(Running, NamesThePathFromTheOutermostModule) {
  Net net;
  for (int pass = 0; pass < 2; ++pass) {  // looked up, and remembered
    net(ones({1}));
    EXPECT_EQ(net.feature(0), "features.0");
    EXPECT_EQ(net.feature(1), "features.1");
    EXPECT_EQ(net.blocks[0].conv1.seen, "blocks.0.conv1");
    EXPECT_EQ(net.blocks[1].conv1.seen, "blocks.1.conv1");
    EXPECT_EQ(net.blocks[1].project->seen, "blocks.1.project");
    EXPECT_EQ(net.head->seen, "head");
    EXPECT_EQ(net.unlisted.seen, "Net.Probe");
    EXPECT_STREQ(running_module, "");
  }
  net.blocks[2](ones({1}));  // outermost itself
  EXPECT_EQ(net.blocks[2].conv1.seen, "conv1");
  net.head->operator()(ones({1}));
  EXPECT_EQ(net.head->seen, "Probe");
  net.features.forward(ones({1}));  // the same without an operator() of the container
  EXPECT_EQ(net.feature(1), "Probe");
  net(ones({1}));
  EXPECT_EQ(net.blocks[2].conv1.seen, "blocks.2.conv1");
}

// What stands at the address of a module that was is another module.
TEST(Running, KnowsAModuleByMoreThanItsAddress) {
  const Tensor x = ones({1});
  Net net;
  net(x);
  net.blocks[0].project.emplace();
  net(x);
  EXPECT_EQ(net.blocks[0].project->seen, "blocks.0.project");
  net.blocks.reserve(100);  // moves them
  net.blocks.insert(net.blocks.begin(), Block());
  net(x);
  for (size_t i = 0; i < net.blocks.size(); ++i) EXPECT_EQ(net.blocks[i].conv1.seen, fmt::format("blocks.{}.conv1", i));
  struct One : Module {
    Probe first;
    NORMA_VISIT(first)
    Tensor forward(const Tensor& x) override { return first(x); }
  };
  struct Other : Module {
    Probe second;
    NORMA_VISIT(second)
    Tensor forward(const Tensor& x) override { return second(x); }
  };
  alignas(One) alignas(Other) std::array<std::byte, std::max(sizeof(One), sizeof(Other))> memory;
  auto* a = new (memory.data()) One;
  (*a)(x);
  EXPECT_EQ(a->first.seen, "first");
  a->~One();
  auto* b = new (memory.data()) Other;
  (*b)(x);
  EXPECT_EQ(b->second.seen, "second");
  b->~Other();
  Net moved = std::move(net);
  moved(x);
  EXPECT_EQ(moved.blocks[3].conv1.seen, "blocks.3.conv1");
}

// Each is seen for the first time, and none is listed. (What is remembered of them is bounded.)
TEST(Running, ModulesOfOnePassHaveTheirType) {
  struct Functional : Module {
    Tensor forward(const Tensor& x) override {
      Probe probe;
      const Tensor y = probe(x);
      seen = probe.seen;
      return y;
    }
    std::string seen;
  } net;
  const Tensor x = ones({1});
  for (int i = 0; i < 70'000; ++i) net(x);
  EXPECT_EQ(net.seen, "Functional.Probe");
}

struct TwoInputs : Module {
  explicit TwoInputs(bool says) : says_so(says) {}
  Probe query;
  bool says_so;
  NORMA_VISIT(query)
  Tensor operator()(const Tensor& x, const Tensor& y) {
    std::optional<const Running> here;
    if (says_so) here.emplace(*this);
    return query(x) + y;
  }
};

TEST(Running, ModulesOfSeveralInputsMaySayThatTheyRun) {
  struct Outer : Module {
    TwoInputs attention{true};
    NORMA_VISIT(attention)
    Tensor forward(const Tensor& x) override { return attention(x, x); }
  } outer;
  outer(ones({1}));
  EXPECT_EQ(outer.attention.query.seen, "attention.query");
  TwoInputs silent(false), says(true);
  silent(ones({1}), ones({1}));
  says(ones({1}), ones({1}));
  EXPECT_EQ(silent.query.seen, "Probe");
  EXPECT_EQ(says.query.seen, "query");
}

TEST(Running, AttentionOverSeveralInputsIsNamed) {
  struct Decoder : Module {
    MultiheadAttention cross{4, 2};
    NORMA_VISIT(cross)
    Tensor forward(const Tensor& x) override { return cross(x, x * 2, x * 3); }
  } decoder;
  Tape tape;
  decoder(ones({1, 3, 4}));
  EXPECT_EQ(tape.profile(ProfileBy::module).count("linear (in cross)"), 1u);
  EXPECT_EQ(tape.profile(ProfileBy::module).count("linear (in cross.out_proj)"), 1u);
  expect_error([&] { decoder(ones({1, 3, 5})); }, "(in cross)");
}

struct Cnn : Module {
  Sequential features{Conv2d(1, 4, 3), BatchNorm(4), ReLU(), Conv2d(4, 4, 3)};
  Linear fc{4, 2};
  NORMA_VISIT(features, fc)
  Tensor forward(const Tensor& x) override { return fc(global_avg_pool(features(x))); }
};

TEST(Running, ErrorsEndWithThePath) {
  Cnn net;
  expect_error([&] { net(ones({2, 8, 8, 3})); }, "input [2, 8, 8, 3] (in features.0)");
  expect_error([&] { net(ones({2, 8, 8}).to(f64)); }, "(in features.0)");
  net.fc.weight = Parameter(ones({2, 5}));
  expect_error([&] { net(ones({2, 8, 8, 1})); }, "(in fc)");
  expect_error([&] { conv2d(ones({2, 8, 8, 3}), ones({4, 3, 3, 1}), {}); }, "[conv2d]");
  Conv2d alone(1, 4, 3);
  expect_error([&] { alone(ones({2, 8, 8, 3})); }, "(in Conv2d)");
  EXPECT_STREQ(running_module, "");
  try {
    conv2d(ones({2, 8, 8, 3}), ones({4, 3, 3, 1}), {});
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("(in"), std::string::npos) << error.what();
  }
}

// An op of which a norm's pass is part, as of a Sequential's in evaluation, is the norm's.
TEST(Running, NormsThatRunInAnothersPassAreNamed) {
  Sequential net(Conv2d(1, 4, 3), BatchNorm(4), ReLU());
  static_cast<Norm&>(net[1]).eps = -1;
  expect_error([&] { net(ones({2, 8, 8, 1})); }, "an eps of -1: want 0 or more (in 1)");
}

TEST(Running, ErrorsOnThePoolsThreadsEndWithThePath) {
  struct Embeds : Module {
    Tensor forward(const Tensor& x) override { return one_hot(x, 2); }
  } embeds;
  const int threads = num_threads();
  set_num_threads(4);
  for (int64_t at : {int64_t{0}, int64_t{500'000}, int64_t{999'999}}) {
    const Tensor ids = zeros({1'000'000}, i64);
    ids.mutable_data<int64_t>()[at] = 2;
    for (int i = 0; i < 20; ++i)
      expect_error([&] { embeds(ids); }, fmt::format("index 2 at [{}] is outside of [0, 2) (in Embeds)", at));
  }
  set_num_threads(threads);
}

// x, whose gradient is not there to be had, or infinite.
struct Fails : Module {
  explicit Fails(bool throws) : infinite(!throws) {}
  bool infinite;
  Tensor forward(const Tensor& x) override {
    const Op op("fails", {x});
    return op.record({x}, x.clone(), [infinite = infinite](const Tensor& dy, Sink& dx) {
      check(infinite, "fails", "has no gradient");
      dx.give(0, full(dy.shape(), INFINITY));
    });
  }
};

TEST(Running, TheBackwardPassNamesTheModuleThatRanTheOp) {
  Tensor x = ones({2, 3});
  x.set_requires_grad();
  for (bool throws : {true, false}) {
    Sequential net{Sequential{ReLU(), Fails(throws)}, ReLU()};
    Tape tape({.check_finite = true});
    const Tensor loss = sum(net(x));
    expect_error([&] { tape.backward(loss); },
                 throws ? "[fails] has no gradient (in 0.1)"
                        : "[fails] gradient holds a NaN or an infinity: input of shape [2, 3] (in 0.1)");
    EXPECT_STREQ(running_module, "");
  }
  Tape tape({.check_finite = true});
  Cnn cnn;
  cnn.fc.weight = Parameter(full({2, 4}, INFINITY));
  expect_error([&] { cnn(ones({2, 8, 8, 1})); }, "[linear] output holds a NaN or an infinity: shape [2, 2] (in fc)");
}

TEST(Running, TapesNameModules) {
  Cnn net;
  Tape tape({.trace = true});
  const Tensor x = ones({2, 8, 8, 1}), loss = sum(net(x));
  std::vector<std::string> names;
  for (const auto& entry : tape.entries()) names.push_back(fmt::format("{} {}", entry.op, entry.module));
  ASSERT_GE(names.size(), 5u);
  EXPECT_EQ(names[0], "conv2d features.0");
  EXPECT_EQ(names[1], "norm features.1");
  EXPECT_EQ(names[2], "conv2d features.3");
  EXPECT_EQ(names.back(), "sum ");
  EXPECT_EQ(names[names.size() - 2], "linear fc");
  EXPECT_NE(tape.dot().find("label=\"conv2d (in features.3)\""), std::string::npos) << tape.dot();
  tape.backward(loss);
  const Tape::Profile by_op = tape.profile(), by_module = tape.profile(ProfileBy::module);
  EXPECT_EQ(by_op.at("conv2d").calls, 2);
  EXPECT_EQ(by_module.at("conv2d (in features.0)").calls, 1);
  EXPECT_EQ(by_module.at("conv2d (in features.0)").bytes_moved + by_module.at("conv2d (in features.3)").bytes_moved,
            by_op.at("conv2d").bytes_moved);
  EXPECT_GT(by_module.at("conv2d (in features.3)").backward_seconds, 0);
  EXPECT_EQ(by_module.at("sum").calls, 1);
  std::istringstream table(Tape::table(by_module));
  for (std::string line; std::getline(table, line);)
    EXPECT_EQ(line.size(), Tape::table(by_op).find('\n') + std::string("global_avg_pool (in Cnn)").size() - 20) << line;

  const TemporaryFolder folder;
  tape.trace(folder / "trace.json");
  const Bytes bytes = read_file(folder / "trace.json");
  const auto trace = nlohmann::json::parse(reinterpret_cast<const char*>(bytes.data()),
                                           reinterpret_cast<const char*>(bytes.data()) + bytes.size());
  const auto& events = trace.at("traceEvents");
  ASSERT_EQ(events.size(), 2 * names.size());
  double end = 0;
  for (size_t i = 0; i < events.size(); ++i) {
    const auto& event = events[i];
    const bool forward = i < names.size();
    const std::string name = event.at("name");
    EXPECT_EQ(name + " " + event.at("args").at("module").get<std::string>(),
              names[forward ? i : 2 * names.size() - 1 - i]);
    EXPECT_EQ(event.at("cat"), forward ? "forward" : "backward");
    EXPECT_EQ(event.at("ph"), "X");
    EXPECT_EQ(event.at("tid"), events[0].at("tid"));
    EXPECT_EQ(event.at("pid"), ::getpid());
    EXPECT_GE(event.at("ts").get<double>(), end);  // none begins before the one before has ended
    EXPECT_GT(event.at("dur"), 0);
    end = event.at("ts").get<double>() + event.at("dur").get<double>() - 1e-3;
  }
  EXPECT_EQ(events[0].at("args").at("bytes"), 4 * (2 * 8 * 8 + 4 * 9 + 4 + 2 * 6 * 6 * 4));
  EXPECT_LT(end - events[0].at("ts").get<double>(), 60e6);
  expect_error([&] { Tape().trace(folder / "none"); },
               "[trace] no times were noted: make the tape with {.trace = true}");
  EXPECT_FALSE(std::filesystem::exists(folder / "none"));
  Tape({.trace = true}).trace(folder / "empty");
  EXPECT_EQ(read_file(folder / "empty").front(), std::byte{'{'});
}

// One model in several threads, at once whole and in parts.
TEST(RunningThreads, EachHasItsOwnPath) {
  Cnn net;
  net.eval();
  std::vector<std::jthread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Tensor x = ones({2, 8, 8, 1});
      x.set_requires_grad();
      for (int i = 0; i < 20; ++i) {
        Tape tape;
        t % 2 == 0 ? net(x) : net.features(x);
        const std::string want = t % 2 == 0 ? "features.3" : "3";
        const bool found = std::any_of(tape.entries().begin(), tape.entries().end(),
                                       [&](const Tape::Entry& entry) { return entry.module == want; });
        wrong += !found || *running_module != 0;
      }
    });
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace norma::nn
