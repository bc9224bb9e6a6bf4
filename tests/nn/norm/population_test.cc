// Populations estimated anew: what they are, and what the estimation must leave alone.
#include "norma/nn/norm/population.h"

#include <filesystem>

#include "examples/common/digits.h"
#include "norma/nn/layers.h"
#include "tests/golden.h"

namespace norma::nn {
namespace {

using namespace norma::test;
using data::DataLoader;

Tensor images_of(const DataLoader& loader) { return dynamic_cast<const data::ImageDataset&>(loader.dataset()).images; }

// Batch norm on images and on rows, dropout, a norm that is called twice, and one without a population.
struct Net : Module {
  Conv2d conv1{1, 4, 3, {.stride = 2}}, conv2{4, 6, 3, {.stride = 2}};
  Norm bn1 = BatchNorm(4, {.normalization_batch = 4, .activation = Activation::relu()}), gn = GroupNorm(2, 6),
       bn2 = BatchNorm(6), bn3 = BatchNorm(10);
  Dropout drop{0.5};
  Linear fc{6, 10};
  NORMA_VISIT(conv1, conv2, bn1, gn, bn2, bn3, drop, fc)
  Tensor forward(const Tensor& x) override {
    const Tensor y = bn2(drop(gn(conv2(drop(bn1(conv1(x)))))));
    return bn3(fc(global_avg_pool(bn2(relu(y)))));
  }
};

struct Snapshot {
  NamedTensors state;
  Generator::State random = default_generator().state();
  std::vector<bool> modes;
  Snapshot(Module& model, bool populations) {
    for (const auto& [name, x] : model.state_dict())
      if (populations || name.find("running") == std::string::npos) state.emplace_back(name, x.clone());
    model.for_each([&](const std::string&, Module& m) { modes.push_back(m.is_training()); });
  }
  void expect_same(Module& model) const {
    std::map<std::string, Tensor> now;
    for (const auto& [name, x] : model.state_dict()) now[name] = x;
    for (const auto& [name, x] : state) EXPECT_TRUE(same_bits(x, now.at(name))) << name;
    EXPECT_EQ(default_generator().state(), random);
    std::vector<bool> modes_now;
    model.for_each([&](const std::string&, Module& m) { modes_now.push_back(m.is_training()); });
    EXPECT_EQ(modes, modes_now);
    for_each_norm(model, [](const std::string&, Norm& n) { EXPECT_FALSE(n.collect); });
  }
};

class Population : public ::testing::Test {
 protected:
  Population() {
    manual_seed(3);
    net = std::make_unique<Net>();
    for (uint64_t step = 0; step < 3; ++step) {  // populations that are some way from where they began
      Tape tape;
      (*net)(random({8, 20, 20, 1}, step).to(f32));
    }
    net->conv1.eval();  // modes that differ
  }
  void expect_close(Norm& norm, const Tensor& mean, const Tensor& var, double tolerance = 1e-6) {
    EXPECT_TRUE(close(norm.running_mean, view::reshape(mean, norm.running_mean.shape()), tolerance));
    EXPECT_TRUE(close(norm.running_var / view::reshape(var, norm.running_var.shape()),
                      ones(var.shape().without(0), f64), tolerance));
  }
  std::unique_ptr<Net> net;
};

// All inputs of each layer, put one after the other: their moments are the population.
TEST_F(Population, PreciseIsTheMomentsOfAllThatEachLayerReceives) {
  const std::vector<Tensor> batches = {random({5, 20, 20, 1}, 1).to(f32), random({3, 20, 20, 1}, 2).to(f32),
                                       random({11, 20, 20, 1}, 3).to(f32)};
  const Snapshot before(*net, false);
  std::map<const Module*, std::vector<Tensor>> received;
  {
    const Observer observer([&](Module& m, const Tensor& x, const Tensor&) {
      received[&m].push_back(view::reshape(x.to(f64), {-1, x.dim(-1)}));
    });
    EXPECT_EQ(precise_bn(*net,
                         [&] {
                           for (const Tensor& x : batches) (*net)(x);
                         }),
              3);
  }
  before.expect_same(*net);
  for (Norm* norm : {&net->bn1, &net->bn2, &net->bn3}) {
    const Tensor all = concat(received[norm], 0);
    expect_close(*norm, mean(all, {0}, true), var(all, {0}, 0, true));
  }
  EXPECT_EQ(received[&net->bn2].size(), 6u);

  // The other estimator: of the batches' unbiased variances.
  precise_bn(*net,
             [&] {
               for (const Tensor& x : batches) (*net)(x);
             },
             {.variance = PreciseVariance::mean_of_variances});
  for (Norm* norm : {&net->bn1, &net->bn2, &net->bn3}) {
    Tensor squares = zeros({1, norm->channels()}, f64);
    double freedom = 0;
    for (const Tensor& x : received[norm]) {
      squares = squares + var(x, {0}, 0, true) * static_cast<double>(x.dim(0));
      freedom += static_cast<double>(x.dim(0) - 1);
    }
    expect_close(*norm, mean(concat(received[norm], 0), {0}, true), squares / freedom);
  }
}

TEST_F(Population, ALoaderGivesItsDataInOtherBatchesAndKeepsItsPlace) {
  DataLoader loader(examples::draw_digits(50, 1), {.batch = 8, .shuffle = true, .seed = 5});
  loader.next();
  const Snapshot before(*net, false);
  EXPECT_EQ(precise_bn(*net, loader, {.batch = 24}), 3);  // 17 + 17 + 16
  before.expect_same(*net);
  EXPECT_EQ(loader.position(), (DataLoader::Position{0, 1}));
  const Tensor all = to_float(images_of(loader), loader.normalization());
  const Moments of_first = moments(net->conv1(all), whole());
  expect_close(net->bn1, of_first.mean, of_first.var());

  const std::vector<double> of_all = net->bn3.running_var.to_vector<double>();
  precise_bn(*net, loader, {.samples = 20});
  EXPECT_NE(net->bn3.running_var.to_vector<double>(), of_all);
  precise_bn(*net, loader, {.batch = 24});
  EXPECT_EQ(net->bn3.running_var.to_vector<double>(), of_all);  // a function of weights, data and options
  expect_error([&] { precise_bn(*net, loader, {.batch = 0}); }, "[precise_bn] 0 samples in batches of 0");
  Norm alone = GroupNorm(1, 1);
  EXPECT_EQ(precise_bn(alone, loader), 0);
}

TEST_F(Population, NothingChangesIfThePassFails) {
  int calls = 0;
  const data::Transform breaks = [&](const Tensor& images, const data::SampleKeys&) {
    check(++calls < 3, "transform", "broke");
    return images;
  };
  const DataLoader loader(examples::draw_digits(50, 1),
                          {.batch = 8, .shuffle = true, .prefetch = 0, .transforms = {breaks}});
  const Snapshot before(*net, true);
  expect_error([&] { precise_bn(*net, loader, {.batch = 10}); }, "[transform] broke");
  EXPECT_EQ(calls, 3);
  before.expect_same(*net);
  expect_error([&] { adapt_bn(*net, loader); }, "broke");
  before.expect_same(*net);
}

TEST_F(Population, RunsInsideATapeWithoutBeingRecorded) {
  Tape tape;
  precise_bn(*net, [&] { (*net)(random({4, 20, 20, 1}).to(f32)); });
  EXPECT_TRUE(tape.entries().empty());
}

TEST_F(Population, AdaptsToAnotherDomainFrozenLayersToo) {
  EXPECT_EQ(freeze_bn(*net), 3);
  data::ImageDataset digits = examples::draw_digits(40, 1);
  const DataLoader source(digits, {.batch = 8, .normalize = digits.statistics()});
  digits.images = (255 - digits.images.to(f32)).to(u8);
  const DataLoader target(digits, {.batch = 8, .normalize = source.normalization()});
  const Snapshot before(*net, true);
  EXPECT_EQ(precise_bn(*net, target), 0);
  before.expect_same(*net);
  EXPECT_EQ(adapt_bn(*net, target), 3);
  const Moments of_first = moments(net->conv1(to_float(digits.images, source.normalization())), whole());
  expect_close(net->bn1, of_first.mean, of_first.var());
}

TEST_F(Population, FrozenLayersStayWhileTheRestIsTrained) {
  freeze_bn(*net);
  const Tensor mean = net->bn1.running_mean.clone(), weight = net->bn1.weight.clone();
  net->train();
  SGD optimizer(*net, {.lr = 0.1});
  Tape tape;
  tape.backward(sum(square((*net)(random({8, 20, 20, 1}).to(f32)))));
  optimizer.step();
  EXPECT_TRUE(same_bits(net->bn1.running_mean, mean));
  EXPECT_FALSE(same_bits(net->bn1.weight, weight));
}

TEST(PopulationOfDomains, EachRowIsEstimatedFromItsSamples) {
  const Tensor ids = tensor<int64_t>({0, 1, 1, 0, 1, 1, 1, 0, 0, 0}), x = random({10, 3, 4});
  for (bool own_batch : {true, false}) {
    Norm own = DomainNorm(4, {.count = 3, .batch = own_batch}),
         shared = DomainNorm(4, {.count = 2, .population = false});
    own.to(f64);
    shared.to(f64);
    own.running_mean.fill(7);
    own.ids = shared.ids = ids;
    precise_bn(own, [&] { own(x); });
    const Moments m = moments(x, labels(ids, 2));
    EXPECT_TRUE(close(view::slice(own.running_mean, 0, 0, 2), m.mean));
    EXPECT_TRUE(close(view::slice(own.running_var, 0, 0, 2), m.var()));
    EXPECT_EQ(own.running_mean.at({2, 0}), 7);  // of the third domain nothing was seen
    precise_bn(shared, [&] { shared(x); });
    EXPECT_TRUE(close(shared.running_var, view::reshape(moments(x).var(), {4})));
  }
  Norm norm = DomainNorm(1, {.count = 2});
  const DataLoader loader(examples::draw_digits(10, 1), {.batch = 4, .shuffle = true});
  expect_error([&] { precise_bn(norm, loader); }, "[DomainNorm(2)] wants the domain of each sample");
  precise_bn(norm, loader, {.domains = ids});
  EXPECT_TRUE(close(norm.running_mean,
                    moments(to_float(images_of(loader), loader.normalization()), labels(ids, 2)).mean, 1e-6));
  EXPECT_FALSE(norm.ids.defined());
  expect_error([&] { precise_bn(norm, loader, {.domains = zeros({3}, i64)}); }, "domains of shape [3] for 10 samples");
}

}  // namespace
}  // namespace norma::nn
