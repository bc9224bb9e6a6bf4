// Training by several workers: synchronized batch norm against that of the whole batch, averaged gradients and
// populations, checkpoints, estimators and reports; and that nothing depends on the number of processes.
#include "norma/nn/workers.h"

#include <filesystem>

#include "tests/files.h"
#include "tests/golden.h"
#include "tests/processes.h"

namespace norma::nn {
namespace {

using namespace norma::test;

struct Net : Module {
  Net(const std::function<Norm(int64_t)>& make, double p = 0)
      : conv(1, 6, 3, {.padding = 1}),
        norm(make(6)),
        drop(p),
        conv2(6, 4, 3, {.padding = 1}),
        norm2(make(4)),
        fc(4, 3) {}
  Conv2d conv;
  Norm norm;
  Dropout drop;
  Conv2d conv2;
  Norm norm2;
  Linear fc;
  NORMA_VISIT(conv, norm, conv2, norm2, fc)
  Tensor forward(const Tensor& x) override {
    return fc(global_avg_pool(relu(norm2(conv2(drop(relu(norm(conv(x)))))))));
  }
};

data::ImageDataset pictures(int64_t n) {
  Generator random(11);
  return {"noise",
          (random.fill_uniform(Tensor({n, 6, 6, 1}, f32)) * 255).to(u8),
          (random.fill_uniform(Tensor({n}, f32)) * 3).to(i64),
          {"a", "b", "c"}};
}

// Values, gradients and running statistics of a norm across workers, next to those of one batch.
TEST(SyncBatchNormThreads, EqualsBatchNormOfTheWholeBatchInF64) {
  const std::vector<int64_t> bounds = {0, 5, 5, 12, 13};  // 5, 0, 7 and 1 samples
  const Tensor x = random({13, 3, 2, 6}) * 3 + 20, upstream = random(x.shape(), 2);
  struct Result {
    Tensor y, dx, dgamma, dbeta, mean, var;
    int64_t steps;
  };
  const auto run = [&](Norm norm, int64_t begin, int64_t end) {
    norm.to(f64);
    norm.weight.copy_from(random({6}, 3));
    norm.bias.copy_from(random({6}, 4));
    norm.activation = Activation::relu();
    Tensor part = view::slice(x, 0, begin, end).clone().set_requires_grad();
    Tape tape;
    const Tensor y = norm(part);
    tape.backward(y, {.seed = view::slice(upstream, 0, begin, end).clone()});
    return Result{y.detach(),
                  part.grad(),
                  norm.weight.grad(),
                  norm.bias.grad(),
                  norm.running_mean,
                  norm.running_var,
                  static_cast<int64_t>(norm.num_batches_tracked.item())};
  };
  const auto near = [](const Tensor& a, const Tensor& b) {
    return a.numel() == 0 || max(abs(a - b)).item() <= 1e-12 * (1 + max(abs(b)).item());
  };
  const Result want = run(BatchNorm(6), 0, 13);
  for (const int processes : {1, 2, 3, 4}) {
    std::vector<Result> got(4);
    const auto errors = run_processes(processes, 4, [&](Communicator& me) {
      const size_t r = static_cast<size_t>(me.rank());
      got[r] = run(SyncBatchNorm(6, me), bounds[r], bounds[r + 1]);
      me.all_reduce(got[r].dgamma);
      me.all_reduce(got[r].dbeta);
    });
    for (const std::string& error : errors) EXPECT_EQ(error, "");
    for (size_t r = 0; r < 4; ++r) {
      EXPECT_TRUE(near(got[r].y, view::slice(want.y, 0, bounds[r], bounds[r + 1]))) << r;
      EXPECT_TRUE(near(got[r].dx, view::slice(want.dx, 0, bounds[r], bounds[r + 1]))) << r;
      EXPECT_TRUE(near(got[r].dgamma, want.dgamma));
      EXPECT_TRUE(near(got[r].dbeta, want.dbeta));
      EXPECT_TRUE(near(got[r].mean, want.mean));
      EXPECT_TRUE(near(got[r].var, want.var));
      EXPECT_EQ(got[r].steps, 1);
    }
  }
}

// The gradient of a loss over all workers by one worker's input, against differences. Each worker gives the same seed
// to its own loss, so that their sum is what is differentiated.
TEST(SyncBatchNormThreads, PassesGradcheck) {
  for (const Activation& activation : {Activation{}, Activation::relu()}) {
    const std::vector<int64_t> samples = {2, 0, 3};
    std::vector<Tensor> xs;
    for (size_t r = 0; r < 3; ++r) xs.push_back(random({samples[r], 2, 3}, static_cast<uint64_t>(r) + 5));
    run_workers({.count = 3}, [&](Communicator& me) {
      const size_t own = static_cast<size_t>(me.rank());
      const Tensor upstream = random(xs[own].shape(), 40 + own);
      const auto loss = [&](const Tensor& x) {
        Tensor y = norma::norm(x, across(me), {}, {}, {}, {.activation = activation});
        return sum(y * upstream);
      };
      const auto total = [&](const Tensor& x) {
        const Tensor all = loss(x).detach().clone();
        me.all_reduce(all);
        return all.item();
      };
      Tensor x = xs[own].clone().set_requires_grad();
      Tape tape;
      tape.backward(loss(x));
      for (int who = 0; who < 3; ++who)
        for (int64_t i = 0; i < xs[static_cast<size_t>(who)].numel(); ++i) {
          const double h = 1e-6;
          double side[2];
          for (const int sign : {0, 1}) {
            const Tensor moved = xs[own].clone();
            if (who == me.rank()) moved.mutable_data<double>()[i] += sign ? h : -h;
            side[sign] = total(moved);
          }
          if (who != me.rank()) continue;
          EXPECT_NEAR(x.grad().data<double>()[i], (side[1] - side[0]) / (2 * h), 1e-7);
        }
    });
  }
}

// A step of training, the state that comes of it, for each worker.
struct Trained {
  std::vector<NamedTensors> states;
  std::vector<std::string> errors;
};
using Make = std::function<Norm(Communicator& me, int64_t channels)>;

Trained train(int processes, int workers, const Make& make, int steps = 5, int64_t n = 10, double dropout = 0.3) {
  const data::ImageDataset set = pictures(23);
  Trained result{std::vector<NamedTensors>(static_cast<size_t>(workers)), {}};
  manual_seed(1);
  result.errors = run_processes(processes, workers, [&](Communicator& me) {
    Net net([&](int64_t c) { return make(me, c); }, dropout);
    SGD optimizer(net, {.lr = 0.1, .momentum = 0.9});
    broadcast(me, net);
    check_replicas(me, net);
    data::DataLoader loader(
        set, {.batch = n, .shuffle = true, .seed = 3, .transforms = {data::random_crop(1)}, .worker = me});
    int step = 0;
    while (step < steps)
      for (const data::Batch& batch : loader) {
        if (step++ == steps) break;
        optimizer.zero_grad();
        Tape tape;
        tape.backward(cross_entropy(net(batch.images), batch.labels) * batch.weight);
        average_gradients(me, optimizer);
        optimizer.step();
        average_populations(me, net);
        check_replicas(me, net);
      }
    NamedTensors& state = result.states[static_cast<size_t>(me.rank())];
    for (const auto& [name, x] : net.state_dict()) state.emplace_back(name, x.clone());
    state.emplace_back("draw", randn({3}));
  });
  return result;
}

const std::vector<std::pair<std::string, Make>> kNorms = {
    {"bn", [](Communicator&, int64_t c) { return BatchNorm(c); }},
    {"sync", [](Communicator& me, int64_t c) { return SyncBatchNorm(c, me); }},
    {"sync:2", [](Communicator& me, int64_t c) { return SyncBatchNorm(c, me.split(me.rank() / 2)); }},
    {"gn:2", [](Communicator&, int64_t c) { return GroupNorm(2, c); }},
    {"brn", [](Communicator&, int64_t c) { return BatchRenorm(c); }}};

TEST(WorkersTrainThreads, TheSameBitsInAnyNumberOfProcesses) {
  const int before = num_threads();
  for (const auto& [name, make] : kNorms) {
    set_num_threads(1);
    const Trained want = train(1, 4, make);
    for (const std::string& error : want.errors) EXPECT_EQ(error, "");
    for (const int processes : {1, 2, 3, 4})
      for (const int threads : {1, 2}) {
        set_num_threads(threads);
        const Trained got = train(processes, 4, make);
        for (size_t r = 0; r < 4; ++r)
          for (size_t i = 0; i < want.states[r].size(); ++i)
            ASSERT_TRUE(same_bits(got.states[r][i].second, want.states[r][i].second))
                << name << ", " << processes << " processes, " << threads << " threads, worker " << r << ", "
                << want.states[r][i].first;
      }
  }
  set_num_threads(before);
}

TEST(WorkersTrainThreads, AnyNumberOfWorkersRepeats) {
  for (const int workers : {1, 2, 3, 5, 8}) {
    const Trained a = train(1, workers, kNorms[1].second), b = train(1, workers, kNorms[1].second);
    for (const std::string& error : a.errors) EXPECT_EQ(error, "");
    for (size_t r = 0; r < a.states.size(); ++r)
      for (size_t i = 0; i < a.states[r].size(); ++i)
        EXPECT_TRUE(same_bits(a.states[r][i].second, b.states[r][i].second)) << workers;
  }
}

// Workers with synchronized norms do what one does with the whole batch, up to rounding.
TEST(WorkersTrainThreads, SynchronizedWorkersFollowOneWorker) {
  const Trained one = train(1, 1, kNorms[0].second, 6, 10, 0), four = train(1, 4, kNorms[1].second, 6, 10, 0);
  for (size_t i = 0; i + 1 < one.states[0].size(); ++i)
    EXPECT_TRUE(close(four.states[0][i].second.to(f64), one.states[0][i].second.to(f64), 2e-4))
        << one.states[0][i].first;
}

TEST(WorkersTrainThreads, ABatchOfFewerSamplesThanWorkersIsNoTrouble) {
  for (const auto& [name, make] : kNorms) {
    const Trained got = train(2, 5, make, 4, 20);  // batches of 20 and 3 samples
    for (const std::string& error : got.errors) EXPECT_EQ(error, "") << name;
    for (const auto& [key, x] : got.states[0])
      for (const double value : x.to_vector<double>()) ASSERT_TRUE(std::isfinite(value)) << name << " " << key;
  }
}

TEST(AverageGradientsThreads, AreTheMeanOverTheWorkers) {
  run_workers({.count = 3}, [](Communicator& me) {
    Parameter a(zeros({2})), b(zeros({1})), unused(zeros({1})), wide(zeros({2}, f64));
    SGD optimizer(NamedTensors{{"a", a}, {"b", b}, {"unused", unused}, {"wide", wide}}, {.lr = 1});
    a.set_grad(tensor<float>({3.f * static_cast<float>(me.rank()), 12}, {2}));
    if (me.rank() == 2) b.set_grad(full({1}, 12));
    wide.set_grad(full({2}, 1. / 3, f64));
    average_gradients(me, optimizer);
    EXPECT_TRUE(close(a.grad(), tensor<float>({3, 12}, {2}), 1e-7));
    EXPECT_NEAR(b.grad().item(), 4, 1e-6);
    EXPECT_FALSE(unused.grad().defined());
    EXPECT_NEAR(wide.grad().to_vector<double>()[1], 1. / 3, 1e-15);
  });
}

// Accumulated over three batches of 9, 9 and 5 samples, the last of them no multiple of anything.
TEST(AverageGradientsThreads, OfAccumulatedSweepsAreThoseOfAllSamples) {
  const data::ImageDataset set = pictures(23);
  const auto gradient = [&](Communicator& me, const Make& make) {
    manual_seed(6);
    Net net([&](int64_t c) { return make(me, c); });
    broadcast(me, net);
    SGD optimizer(net, {.lr = 1});
    data::DataLoader loader(set, {.batch = 9, .normalize = set.statistics(), .worker = me});
    for (const data::Batch& batch : loader) {
      Tape tape;
      tape.backward(cross_entropy(net(batch.images), batch.labels) * batch.weight);
    }
    average_gradients(me, optimizer);
    return net.fc.weight.grad();
  };
  for (const size_t norm : {size_t{1}, size_t{3}}) {  // that depend on no share
    Tensor want;
    run_workers({}, [&](Communicator& me) { want = gradient(me, kNorms[norm].second); });
    for (const int workers : {2, 4, 7})
      run_workers({.count = workers},
                  [&](Communicator& me) { EXPECT_TRUE(close(gradient(me, kNorms[norm].second), want, 1e-5)); });
  }
}

TEST(AveragePopulationsThreads, AreTheMeanOverThoseThatMoved) {
  const Tensor x = random({8, 5}).to(f32);
  Norm ghost = BatchNorm(5, {.normalization_batch = 4}), domains = DomainNorm(5, {.count = 2, .affine = false});
  {
    Tape tape;
    ghost(x.clone().set_requires_grad());
  }
  run_workers({.count = 3}, [&](Communicator& me) {
    Norm norm = BatchNorm(5);
    Tape tape;
    const int64_t r = me.rank();
    norm(view::slice(x, 0, r == 0 ? 0 : 4, r == 0 ? 4 : r == 1 ? 4 : 8).clone().set_requires_grad());  // 4, 0, 4
    average_populations(me, norm);
    EXPECT_TRUE(close(norm.running_mean, ghost.running_mean, 1e-12));
    EXPECT_TRUE(close(norm.running_var, ghost.running_var, 1e-12));
    EXPECT_EQ(norm.num_batches_tracked.item(), 1);
  });
  run_workers({.count = 2}, [&](Communicator& me) {  // each sees a domain of its own
    Norm norm = DomainNorm(5, {.count = 2, .affine = false});
    norm.ids = full({4}, me.rank(), i64);
    Tape tape;
    norm(view::slice(x, 0, 4 * me.rank(), 4 * me.rank() + 4).clone().set_requires_grad());
    average_populations(me, norm);
    check_replicas(me, norm);
    EXPECT_EQ(norm.num_batches_tracked.to_vector<int64_t>(), (std::vector<int64_t>{1, 1}));
    Norm alone = BatchNorm(5);
    alone(view::slice(x, 0, 4, 8).clone().set_requires_grad());
    EXPECT_TRUE(same_bits(view::slice(norm.running_mean, 0, 1, 2).clone(), view::reshape(alone.running_mean, {1, 5})));
  });
}

// Several sweeps between two averages: what counts is who has moved a population most often.
TEST(AveragePopulationsThreads, OfSeveralSweepsAreThoseOfWhoMovedMost) {
  run_workers({.count = 4}, [](Communicator& me) {
    Norm norm(5, {.estimator = Estimator::cumulative()}), frozen = FrozenBatchNorm(5);
    const int64_t sweeps = std::vector{3, 2, 3, 0}[static_cast<size_t>(me.rank())];
    for (int64_t i = 0; i < sweeps; ++i) {
      Tape tape;
      norm((random({6, 5}, 7) + static_cast<double>(me.rank())).to(f32).set_requires_grad());
    }
    const Tensor own = norm.running_mean.clone(), others = me.all_gather(own);
    average_populations(me, norm);
    EXPECT_EQ(norm.num_batches_tracked.item(), 3);
    EXPECT_NEAR(norm.running_mean.at({2}), (others.at({0, 2}) + others.at({2, 2})) / 2, 1e-12);
    frozen.running_mean.fill(0.1);
    average_populations(me, frozen);
    EXPECT_EQ(frozen.running_mean.at({0}), 0.1);
  });
}

TEST(WorkersTrainThreads, ReplicasThatDifferAreNamed) {
  expect_error(
      [] {
        run_workers({.count = 3}, [](Communicator& me) {
          Net net([](int64_t c) { return BatchNorm(c); });
          broadcast(me, net);
          if (me.rank() == 2) net.norm2.running_var.mutable_data<double>()[3] = 1 + 1e-15;
          check_replicas(me, net);
        });
      },
      "'norm2.running_var' of worker 2");
}

// precise_bn, adapt_bn and the report of workers that make their shares of the passes.
TEST(WorkersNormThreads, EstimatesAndReportsAreThoseOfAllWorkers) {
  const data::ImageDataset set = pictures(46);
  const auto estimate = [&](const Make& make, Communicator& me, PreciseVariance variance) {
    manual_seed(4);
    Net net([&](int64_t c) { return make(me, c); });
    broadcast(me, net);
    data::DataLoader loader(set, {.batch = 16, .shuffle = true, .prefetch = 0, .worker = me});
    precise_bn(net, loader, {.samples = 41, .batch = 16, .variance = variance});
    check_replicas(me, net);
    const NormReport report = norm_report(net, loader, {.samples = 41});
    return std::tuple(net.norm.running_mean, net.norm.running_var, net.norm2.running_var, report);
  };
  for (const PreciseVariance variance : {PreciseVariance::merged, PreciseVariance::mean_of_variances})
    for (const size_t norm : {size_t{0}, size_t{1}, size_t{2}}) {
      std::tuple<Tensor, Tensor, Tensor, NormReport> one;
      run_workers({}, [&](Communicator& me) { one = estimate(kNorms[0].second, me, variance); });
      for (const int workers : {3, 4})
        run_workers({.count = workers}, [&](Communicator& me) {
          const auto [mean, var, deep, report] = estimate(kNorms[norm].second, me, variance);
          const bool sync = norm == 1;
          // The first layer receives the same whoever normalizes; the means of variances depend on the batches.
          EXPECT_TRUE(close(mean, std::get<0>(one), 1e-6));
          EXPECT_TRUE(close(var, std::get<1>(one), variance == PreciseVariance::merged || sync ? 1e-6 : 1e-1));
          EXPECT_TRUE(close(deep, std::get<2>(one), sync ? 1e-5 : 1));
          ASSERT_EQ(report.layers.size(), 2u);
          for (size_t i = 0; i < 2 && sync; ++i) {
            EXPECT_NEAR(report.layers[i].noise, std::get<3>(one).layers[i].noise, 1e-5);
            EXPECT_NEAR(report.layers[i].kl, std::get<3>(one).layers[i].kl, 1e-5);
          }
        });
    }
}

// Of two samples for three workers the first gets none, and has nothing to say of how far cells stray.
TEST(WorkersNormThreads, EmptySharesDoNotCountInAReport) {
  const auto strays = [&](int workers) {
    double kl = 0;
    run_workers({.count = workers}, [&](Communicator& me) {
      Net net([](int64_t c) { return BatchNorm(c); });
      for (const Tensor& p : net.parameters()) p.copy_from(random(p.shape(), 8).to(f32));
      data::DataLoader loader(pictures(46),
                              {.batch = 2, .prefetch = 0, .normalize = pictures(46).statistics(), .worker = me});
      const NormReport report = norm_report(net, loader);
      if (me.first()) kl = report.layers[0].noise;
    });
    return kl;
  };
  const double two = strays(2);
  EXPECT_GT(two, 0);
  EXPECT_NEAR(strays(3) / two, 1, 1e-5);
}

TEST(WorkersNormThreads, DomainsAcrossWorkersAreThoseOfOneBatch) {
  const Tensor x = random({9, 2, 2, 4}) * 2 + 3, upstream = random(x.shape(), 2);
  const Tensor ids = tensor<int64_t>({0, 1, 1, 0, 2, 1, 0, 2, 1}, {9});
  const auto run = [&](Communicator* me, int64_t begin, int64_t end) {
    Norm norm = DomainNorm(4, {.count = 3});
    norm.to(f64);
    if (me) norm.grouping = across(*me);
    norm.ids = view::slice(ids, 0, begin, end).clone();
    Tensor part = view::slice(x, 0, begin, end).clone().set_requires_grad();
    Tape tape;
    const Tensor y = norm(part);
    tape.backward(y, {.seed = view::slice(upstream, 0, begin, end).clone()});
    return std::vector<Tensor>{y.detach(), part.grad(), norm.running_mean, norm.running_var};
  };
  const std::vector<Tensor> want = run(nullptr, 0, 9);
  run_workers({.count = 3}, [&](Communicator& me) {
    const int64_t begin = std::vector{0, 5, 5}[static_cast<size_t>(me.rank())],
                  end = std::vector{5, 5, 9}[static_cast<size_t>(me.rank())];
    const std::vector<Tensor> got = run(&me, begin, end);
    for (size_t k = 0; k < 2; ++k) EXPECT_TRUE(close(got[k], view::slice(want[k], 0, begin, end), 1e-11)) << k;
    for (size_t k = 2; k < 4; ++k) EXPECT_TRUE(close(got[k], want[k], 1e-11)) << k;
  });
}

TEST(WorkersNormThreads, WhatFloatCannotSquareIsInDoubleWithAllWorkers) {
  const Tensor x = (random({6, 3}) * 1e19).to(f32);
  run_workers({.count = 3}, [&](Communicator& me) {
    const auto [begin, end] =
        std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {1, 1}, {1, 6}}[static_cast<size_t>(me.rank())];
    const Tensor y = norma::norm(view::slice(x, 0, begin, end).clone(), across(me), {}, {}, {});
    EXPECT_TRUE(close(y, view::slice(norma::norm(x, whole(), {}, {}, {}), 0, begin, end), 1e-5));
    EXPECT_TRUE(close(moments(view::slice(x, 0, begin, end), across(me)).m2, moments(x.to(f64)).m2, 1e-5));
  });
}

TEST(WorkersCheckpointThreads, AreWrittenByOneAndResumeInAnyNumberOfProcesses) {
  const TemporaryFolder folder;
  const std::string path = folder / "/run.checkpoint";
  const auto run = [&](Communicator& me, int draws, bool load) {
    Net net([](int64_t c) { return BatchNorm(c); });
    Adam optimizer(net, {});
    broadcast(me, net);
    Generator own(5, static_cast<uint64_t>(me.rank()));
    const TrainingRun state{net, optimizer, {{"own", &own}}, {{"workers", "4"}}, &me};
    const int64_t step = load ? load_checkpoint(path, state).step : 7;
    EXPECT_EQ(step, 7);
    for (int i = 0; i < draws; ++i) randn({4}), own.normal();
    if (!load) save_checkpoint(path, state, {.step = 7});
    const Tensor bits = randn({4});
    return std::vector<Tensor>{net.conv.weight.clone(), bits, full({}, own.normal(), f64)};
  };
  std::vector<std::vector<Tensor>> want(4), got(4);
  manual_seed(1);
  EXPECT_EQ(
      run_processes(2, 4,
                    [&](Communicator& me) { want[static_cast<size_t>(me.rank())] = run(me, 3 + me.rank(), false); })[0],
      "");
  manual_seed(2);
  for (const int processes : {1, 3}) {
    for (const std::string& error :
         run_processes(processes, 4, [&](Communicator& me) { got[static_cast<size_t>(me.rank())] = run(me, 0, true); }))
      EXPECT_EQ(error, "");
    for (size_t r = 0; r < 4; ++r)
      for (size_t k = 0; k < 3; ++k) EXPECT_TRUE(same_bits(got[r][k], want[r][k])) << r << " " << k;
  }
  // What worker 0 cannot read or write is every worker's error.
  run_workers({.count = 2}, [&](Communicator& me) {
    Net net([](int64_t c) { return BatchNorm(c); });
    Adam optimizer(net, {});
    const TrainingRun state{net, optimizer, {}, {}, &me};
    expect_error([&] { save_checkpoint(folder / "/nowhere/x", state, {}); }, "nowhere");
    expect_error([&] { load_checkpoint(folder / "/nothing", state); }, "nothing");
    expect_error([&] { load_checkpoint(path, state); }, "other options");
    me.barrier();
  });
}

TEST(WorkersLoaderThreads, TogetherGetWhatOneWould) {
  const data::ImageDataset set = pictures(23);
  const data::LoaderOptions options{
      .batch = 10, .shuffle = true, .seed = 3, .transforms = {data::random_crop(1), data::random_horizontal_flip()}};
  data::DataLoader one(set, options);
  std::vector<data::Batch> want;
  for (const data::Batch& batch : one) want.push_back(batch);
  for (const int64_t prefetch : {0, 2})
    run_workers({.count = 4}, [&](Communicator& me) {
      data::LoaderOptions own = options;
      own.worker = me, own.prefetch = prefetch;
      data::DataLoader loader(set, own);
      EXPECT_EQ(loader.batches(), 3);
      size_t at = 0;
      for (const data::Batch& batch : loader) {
        const auto [begin, end] = me.share(want[at].size());
        EXPECT_EQ(batch.size(), end - begin);
        EXPECT_EQ(batch.images.shape(), want[at].images.shape().with(0, end - begin));
        EXPECT_TRUE(same_bits(batch.images, view::slice(want[at].images, 0, begin, end).clone()));
        EXPECT_TRUE(same_bits(batch.labels, view::slice(want[at].labels, 0, begin, end).clone()));
        EXPECT_TRUE(same_bits(batch.indices.clone(), view::slice(want[at].indices, 0, begin, end).clone()));
        ++at;
      }
      EXPECT_EQ(at, 3u);
    });
}

TEST(WorkersThreads, RunWithoutMpiInOneProcess) {
  std::vector<std::string> words = {"program"};
  char* argv[] = {words[0].data(), nullptr};
  Workers workers(1, argv, {.count = 3});
  EXPECT_EQ(workers.count(), 3);
  EXPECT_EQ(workers.processes(), 1);
  std::atomic<int> ran{0};
  workers.run([&](Worker& me) { ran += 1 + me.rank(); });
  EXPECT_EQ(ran, 6);
  EXPECT_EQ(Workers(1, argv).count(), 1);
  expect_error([&] { Workers(1, argv, {.count = -1}); }, "-1 workers");
  expect_error([&] { Workers(1, argv, {.timeout = -1}); }, "a timeout of -1");
}

}  // namespace
}  // namespace norma::nn
