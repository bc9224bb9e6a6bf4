// Loaders of anything: data sets of several fields, of one's own, samplers, pictures with masks, and several threads.
#include <atomic>
#include <set>
#include <thread>

#include "norma/nn/data/loader.h"
#include "tests/golden.h"

namespace norma::data {
namespace {

using namespace norma::test;

Tensor numbered(const Shape& shape, DType dtype = f32) { return view::reshape(arange(shape.numel()).to(dtype), shape); }

// Sample i: its number, and twice that; on the way, the threads that ask are shuffled by how long they take.
struct Slow : Dataset {
  int64_t count = 23, broken = -1;
  int64_t size() const override { return count; }
  Fields get(int64_t index) const override {
    check(index != broken, "slow", "sample {} is broken", index);
    std::this_thread::sleep_for(std::chrono::microseconds(37 * index % 11 * 60));
    return {full({2}, static_cast<double>(index)), scalar(2.0 * static_cast<double>(index), i64)};
  }
};

// What an epoch serves, field 1 of each batch behind the other.
std::vector<int64_t> epoch_of(DataLoader& loader) {
  std::vector<int64_t> all;
  for (const Batch& batch : loader)
    for (int64_t x : batch[1].to_vector<int64_t>()) all.push_back(x);
  return all;
}

TEST(Fields, ATensorDatasetServesItsTensors) {
  const Tensor x = numbered({7, 3}), y = numbered({7, 2, 2}, f64), z = numbered({7}, boolean);
  DataLoader loader(TensorDataset({x, y, z}), {.batch = 4, .shuffle = true, .seed = 5});
  std::set<int64_t> seen;
  for (const Batch& batch : loader) {
    EXPECT_EQ(batch[0].shape(), (Shape{batch.size(), 3}));
    EXPECT_EQ(batch[1].dtype(), f64);
    EXPECT_EQ(batch[2].dtype(), boolean);
    for (int64_t i = 0; i < batch.size(); ++i) {
      const int64_t sample = batch.indices.data<int64_t>()[i];
      seen.insert(sample);
      for (int64_t k = 0; k < 3; ++k) EXPECT_EQ(batch[0].at({i, k}), x.at({sample, k}));
      EXPECT_EQ(batch[1].at({i, 1, 0}), y.at({sample, 1, 0}));
      EXPECT_EQ(batch[2].at({i}), z.at({sample}));
    }
    expect_error([&] { batch[3]; }, "[batch] there is no field 3");
    EXPECT_EQ(batch.images.identity(), batch[0].identity());
    EXPECT_EQ(batch.labels.identity(), batch[1].identity());
  }
  EXPECT_EQ(seen.size(), 7u);
  DataLoader one(TensorDataset({x}), {.batch = 7});
  const Batch batch = *one.next();
  EXPECT_TRUE(same_bits(batch[0], x));
  EXPECT_FALSE(batch[1].defined());
  EXPECT_EQ(batch.size(), 7);
}

TEST(Fields, ATensorDatasetTakesViewsAndSaysWhatIsWrong) {
  const Tensor wide = numbered({4, 6});
  const TensorDataset views({view::slice(wide, 1, 1, 5, 2), view::permute(numbered({3, 4}), {1, 0})});
  const int64_t order[] = {2, 0, 2};
  const Fields batch = views.gather(order);
  EXPECT_EQ(batch[0].to_vector<float>(), (std::vector<float>{13, 15, 1, 3, 13, 15}));
  EXPECT_EQ(batch[1].to_vector<float>(), (std::vector<float>{2, 6, 10, 0, 4, 8, 2, 6, 10}));
  EXPECT_EQ(views.get(3)[0].to_vector<float>(), (std::vector<float>{19, 21}));
  EXPECT_EQ(TensorDataset({zeros({3, 0})}).gather(order)[0].shape(), (Shape{3, 0}));
  const int64_t bad[] = {0, 4};
  expect_error([&] { views.gather(bad); }, "index 4 at [1] is outside of [0, 4)");
  expect_error([&] { TensorDataset({wide, zeros({5})}); }, "[TensorDataset] a tensor [5] beside [4, 6]");
  expect_error([&] { TensorDataset({scalar(1)}); }, "[TensorDataset]");
  expect_error([&] { TensorDataset({}); }, "there are no tensors");
  expect_error([&] { TensorDataset({wide, Tensor()}); }, "an undefined tensor");
  expect_error([&] { DataLoader(TensorDataset({zeros({0, 3})}), {}); }, "[loader] an epoch leaves no batch: 0 samples");
}

TEST(FieldsThreads, OrderAndBitsDoNotDependOnHowManyThereAre) {
  std::vector<int64_t> want;
  for (const LoaderOptions& options : {LoaderOptions{.prefetch = 0},
                                       {.threads = 1},
                                       {.prefetch = 1, .threads = 2},
                                       {.threads = 4},
                                       {.prefetch = 50, .threads = 9}}) {
    LoaderOptions own = options;
    own.batch = 2;
    own.shuffle = true;
    own.seed = 4;
    DataLoader loader(Slow{}, own);
    std::vector<int64_t> got;
    for (int epoch = 0; epoch < 3; ++epoch)
      for (int64_t x : epoch_of(loader)) got.push_back(x);
    if (want.empty()) want = got;
    EXPECT_EQ(got, want) << options.threads;
    EXPECT_EQ(got.size(), 69u);
  }
}

TEST(FieldsThreads, AnErrorComesInTheRightBatch) {
  Slow slow;
  slow.broken = 9;
  for (int threads : {1, 2, 4}) {
    DataLoader loader(slow, {.batch = 2, .prefetch = 3, .threads = threads});
    for (int i = 0; i < 4; ++i) EXPECT_EQ(loader.next()->indices.data<int64_t>()[0], 2 * i);
    expect_error([&] { loader.next(); }, "[slow] sample 9 is broken");
    expect_error([&] { loader.next(); }, "[slow] sample 9 is broken");
    EXPECT_EQ(loader.position(), (DataLoader::Position{0, 4}));
    loader.seek({0, 5});
    EXPECT_EQ(epoch_of(loader).size(), 13u);
  }
}

TEST(FieldsThreads, EndAtAnyTime) {
  for (int i = 0; i < 30; ++i) {
    DataLoader loader(Slow{}, {.batch = 1, .shuffle = true, .prefetch = 4, .threads = 1 + i % 5});
    for (int k = 0; k < i % 7; ++k) loader.next();
    if (i % 3 == 0) loader.seek({1, 3});
  }
}

// Sentences of different lengths, padded to the longest of a batch: gather is where samples are put together.
struct Sentences : Dataset {
  int64_t size() const override { return 5; }
  Fields get(int64_t index) const override {
    return {arange(index + 1), scalar(1.0 + static_cast<double>(index), i64)};
  }
};
struct PaddedSentences : Sentences {
  Fields gather(std::span<const int64_t> indices) const override {
    int64_t longest = 0;
    for (const int64_t i : indices) longest = std::max(longest, i + 1);
    const Tensor words = full({std::ssize(indices), longest}, -1, i64), lengths({std::ssize(indices)}, i64);
    for (int64_t row = 0; row < std::ssize(indices); ++row) {
      const Fields sample = get(indices[static_cast<size_t>(row)]);
      const int64_t n = lengths.mutable_data<int64_t>()[row] = static_cast<int64_t>(sample[1].item());
      view::slice(view::slice(words, 0, row, row + 1), 1, 0, n).copy_from(view::reshape(sample[0], {1, n}));
    }
    return {words, lengths};
  }
};

TEST(Fields, SamplesOfDifferentShapesWantAGatherOfTheirOwn) {
  DataLoader bad(Sentences{}, {.batch = 2});
  expect_error([&] { bad.next(); }, "[concat] shapes [1, 1] and [1, 2] differ");
  DataLoader loader(PaddedSentences{}, {.batch = 3});
  const Batch first = *loader.next(), second = *loader.next();
  EXPECT_EQ(first[0].to_vector<int64_t>(), (std::vector<int64_t>{0, -1, -1, 0, 1, -1, 0, 1, 2}));
  EXPECT_EQ(second[0].to_vector<int64_t>(), (std::vector<int64_t>{0, 1, 2, 3, -1, 0, 1, 2, 3, 4}));
  EXPECT_EQ(second[1].to_vector<int64_t>(), (std::vector<int64_t>{4, 5}));
}

TEST(Fields, WhatADataSetReturnsIsChecked) {
  struct Returns : Dataset {
    std::function<Fields(int64_t)> f;
    explicit Returns(std::function<Fields(int64_t)> returns) : f(std::move(returns)) {}
    int64_t size() const override { return 4; }
    Fields get(int64_t index) const override { return f(index); }
  };
  const auto serve = [](std::function<Fields(int64_t)> f) { DataLoader(Returns(std::move(f)), {}).next(); };
  expect_error([&] { serve([](int64_t) { return Fields{}; }); }, "a batch without fields");
  expect_error([&] { serve([](int64_t) { return Fields{Tensor()}; }); }, "an undefined tensor");
  expect_error([&] { serve([](int64_t i) { return Fields(static_cast<size_t>(1 + i), zeros({2})); }); },
               "[dataset] samples of 1 and of 2 fields");
  expect_error([&] { serve([](int64_t i) { return Fields{zeros({2}, i == 2 ? f64 : f32)}; }); }, "[concat]");
  struct Wrong : TensorDataset {
    Wrong() : TensorDataset({zeros({4, 2})}) {}
    Fields gather(std::span<const int64_t>) const override { return {zeros({3, 2})}; }
  };
  expect_error([&] { DataLoader(Wrong{}, {}).next(); }, "[loader] a field [3, 2] of a batch of 4");
}

TEST(Fields, OnlyPicturesAreTransformedAndNormalized) {
  const TensorDataset table({zeros({4, 2})}), pictures({full({4, 3, 3, 1}, 51, u8)});
  const std::string want =
      "[loader] only pictures, u8 [H, W, C] in field 0 of a sample, are transformed and normalized";
  expect_error([&] { DataLoader(table, {.transforms = {random_crop(1)}}); }, want);
  expect_error([&] { DataLoader(table, {.normalize = ChannelStats{{0}, {1}}}); }, want);
  EXPECT_TRUE(DataLoader(table, {.shuffle = true}).normalization().mean.empty());
  DataLoader same(table, {.normalize = DataLoader(table, {}).normalization()});
  EXPECT_EQ(same.next()->size(), 4);
  DataLoader loader(pictures, {.normalize = ChannelStats{{0}, {1}}});
  EXPECT_NEAR(loader.next()->images.at({2, 1, 1, 0}), 0.2, 1e-7);
  expect_error([&] { DataLoader(Slow{}, {}).dataset().statistics(); }, "has no statistics");
}

// Each mask pixel says which picture pixel it belongs to: wherever both go, they go together.
TEST(Fields, AMaskIsVariedAsItsPictureIs) {
  const int64_t n = 40, side = 9;
  const Tensor images({n, side, side, 3}, u8), masks({n, side, side, 1}, u8);
  for (int64_t i = 0; i < n * side * side; ++i) {
    const auto value = static_cast<uint8_t>(1 + i * 7 % 254);
    for (int64_t c = 0; c < 3; ++c)
      images.mutable_data<uint8_t>()[3 * i + c] = static_cast<uint8_t>(c == 1 ? value : 9);
    masks.mutable_data<uint8_t>()[i] = value;
  }
  const TensorDataset set({images, masks, arange(n)});
  DataLoader loader(set, {.batch = 16,
                          .shuffle = true,
                          .threads = 2,
                          .transforms = {random_crop(3), random_horizontal_flip(), random_crop(2, Padding::reflect)},
                          .normalize = ChannelStats{{0, 0, 0}, {1, 1, 1}}});
  int changed = 0;
  for (const Batch& batch : loader) {
    ASSERT_EQ(batch[1].shape(), (Shape{batch.size(), side, side, 1}));
    ASSERT_EQ(batch[1].dtype(), u8);
    EXPECT_TRUE(same_bits(batch[2], batch.indices));  // no picture
    const Tensor green = view::slice(batch[0], 3, 1, 2);
    EXPECT_TRUE(same_bits(green.contiguous(), to_float(batch[1], {{0}, {1}})));
    for (int64_t i = 0; i < batch.size(); ++i) {
      const int64_t sample = batch.indices.data<int64_t>()[i];
      changed += !same_bits(view::slice(batch[1], 0, i, i + 1), view::slice(masks, 0, sample, sample + 1));
    }
  }
  EXPECT_GT(changed, 30);
}

TEST(Fields, CutoutLeavesMasksAsTheyAre) {
  const TensorDataset set({full({6, 5, 5, 1}, 200, u8), full({6, 5, 5, 1}, 100, u8)});
  DataLoader loader(set, {.batch = 6, .shuffle = true, .transforms = {cutout(2)}, .normalize = ChannelStats{}});
  const Batch batch = *loader.next();
  EXPECT_TRUE(same_bits(batch[1], set.fields[1]));
  EXPECT_FALSE(same_bits(batch[0], set.fields[0]));
}

TEST(Fields, MasksThatWouldNotFollowAreErrors) {
  const auto serve = [](const Tensor& mask) {
    DataLoader(TensorDataset({zeros({4, 6, 5, 3}, u8), mask}), {.shuffle = true, .transforms = {random_crop(1)}})
        .next();
  };
  const std::string want = "masks are u8 [4, 6, 5, C]";
  expect_error([&] { serve(zeros({4, 6, 5}, u8)); }, want);
  expect_error(
      [&] {
        serve(zeros({4, 6, 5}, i64));
      },
      "field 1 is [4, 6, 5] (i64) beside pictures [4, 6, 5, 3]: " + want);
  expect_error([&] { serve(zeros({4, 6, 5, 1}, f32)); }, want);
  expect_error([&] { serve(zeros({4, 3, 5, 1}, u8)); }, want);
  serve(zeros({4, 5, 6}, i64));
  serve(zeros({4, 6}, u8));
}

TEST(Samplers, OnesOwnChoosesTheSamplesOfAnEpoch) {
  const Sampler sampler = [](int64_t epoch) { return std::vector<int64_t>{3, 3, epoch, 0, 3}; };
  const TensorDataset set({full({4, 8, 8, 1}, 9, u8), arange(4)});
  const LoaderOptions options{
      .batch = 2, .seed = 1, .transforms = {random_crop(5)}, .normalize = ChannelStats{}, .sampler = sampler};
  DataLoader loader(set, options);
  EXPECT_EQ(loader.batches(), 3);
  EXPECT_EQ(epoch_of(loader), (std::vector<int64_t>{3, 3, 0, 0, 3}));
  EXPECT_EQ(epoch_of(loader), (std::vector<int64_t>{3, 3, 1, 0, 3}));
  // What comes several times is varied anew each time.
  const Batch batch = *loader.next();
  EXPECT_EQ(batch.indices.to_vector<int64_t>(), (std::vector<int64_t>{3, 3}));
  EXPECT_FALSE(same_bits(view::slice(batch.images, 0, 0, 1), view::slice(batch.images, 0, 1, 2)));
  DataLoader again(set, options);
  again.seek({2, 0});
  EXPECT_TRUE(same_bits(again.next()->images, batch.images));
}

TEST(Samplers, WhatTheyReturnIsChecked) {
  const TensorDataset set({arange(4), arange(4)});
  const auto with = [&](Sampler sampler) { return LoaderOptions{.batch = 2, .sampler = std::move(sampler)}; };
  expect_error([&] { DataLoader(set, with([](int64_t) { return std::vector<int64_t>{}; })); },
               "an epoch leaves no batch");
  DataLoader other(set, with([](int64_t epoch) { return std::vector<int64_t>(static_cast<size_t>(2 + epoch), 0); }));
  EXPECT_EQ(epoch_of(other).size(), 2u);
  expect_error([&] { other.next(); }, "3 values for shape [2]");
  DataLoader outside(set, with([](int64_t) { return std::vector<int64_t>{0, 4}; }));
  expect_error([&] { outside.next(); }, "index 4 at [1] is outside of [0, 4)");
  DataLoader from_the_end(set, with([](int64_t) { return std::vector<int64_t>{0, -1}; }));
  expect_error([&] { from_the_end.next(); }, "index -1 at [1] is outside of [0, 4)");
}

TEST(Samplers, WeightedDrawsInProportion) {
  const Sampler sampler = weighted_sampler(tensor<float>({0, 1, 0, 3, 0}), 40'000, 7);
  const std::vector<int64_t> samples = sampler(0);
  ASSERT_EQ(samples.size(), 40'000u);
  const auto count = [&](int64_t of) { return std::count(samples.begin(), samples.end(), of); };
  EXPECT_EQ(count(1) + count(3), 40'000);                   // a weight of 0 is never drawn
  EXPECT_NEAR(static_cast<double>(count(1)), 10'000, 350);  // four deviations
  EXPECT_EQ(sampler(0), samples);
  EXPECT_NE(sampler(1), samples);
  EXPECT_NE(weighted_sampler(tensor<float>({0, 1, 0, 3, 0}), 40'000, 8)(0), samples);
  EXPECT_EQ(weighted_sampler(tensor<int64_t>({0, 2, 0}))(3), (std::vector<int64_t>{1, 1, 1}));
  expect_error([] { weighted_sampler(tensor<float>({1, -1})); }, "[weighted_sampler] a weight of -1");
  expect_error([] { weighted_sampler(tensor<float>({1, NAN})); }, "a weight of nan");
  expect_error([] { weighted_sampler(tensor<float>({1, INFINITY})); }, "a weight of inf");
  expect_error([] { weighted_sampler(full({2}, 1.5e308, f64)); }, "a weight of 1.5e+308 after others of 1.5e+308");
  expect_error([] { weighted_sampler(zeros({3})); }, "all weights are 0");
  expect_error([] { weighted_sampler(ones({3, 1})); }, "by weights [3, 1]: want [N]");
  expect_error([] { weighted_sampler(ones({0})); }, "by weights [0]");
  expect_error([] { weighted_sampler(ones({3}), -1); }, "-1 samples");
}

}  // namespace
}  // namespace norma::data
