// The loader: what its batches hold, positions, errors, and the thread that makes them ahead.
#include "norma/nn/data/loader.h"

#include <atomic>
#include <set>

#include "examples/common/digits.h"
#include "norma/core/parallel.h"
#include "tests/golden.h"

namespace norma::data {
namespace {

using namespace norma::test;
using examples::draw_digits;

std::vector<int64_t> epoch_of(DataLoader& loader) {
  std::vector<int64_t> samples;
  for (const Batch& batch : loader)
    for (int64_t sample : batch.indices.to_vector<int64_t>()) samples.push_back(sample);
  return samples;
}

// On so many threads, which make so many batches ahead.
struct Ahead {
  int64_t prefetch;
  int threads;
};

class LoaderThreads : public ::testing::TestWithParam<Ahead> {
 protected:
  LoaderOptions options(int64_t batch = 4) const {
    return {.batch = batch, .shuffle = true, .seed = 3, .prefetch = GetParam().prefetch, .threads = GetParam().threads};
  }
  ImageDataset set = draw_digits(18, 1);
};
INSTANTIATE_TEST_SUITE_P(Prefetch, LoaderThreads,
                         ::testing::Values(Ahead{0, 1}, Ahead{1, 1}, Ahead{2, 1}, Ahead{9, 1}, Ahead{1, 2},
                                           Ahead{2, 4}));

TEST_P(LoaderThreads, BatchesHoldTheSamplesTheyName) {
  LoaderOptions options = this->options();
  options.normalize = ChannelStats{{0.25}, {0.5}};
  DataLoader loader(set, options);
  EXPECT_EQ(loader.batches(), 5);
  const Tensor all = to_float(set.images, *options.normalize);
  std::vector<int64_t> sizes;
  for (const Batch& batch : loader) {
    sizes.push_back(batch.size());
    EXPECT_EQ(batch.images.shape(), (Shape{batch.size(), 28, 28, 1}));
    for (int64_t i = 0; i < batch.size(); ++i) {
      const int64_t sample = batch.indices.data<int64_t>()[i];
      EXPECT_TRUE(same_bits(view::slice(batch.images, 0, i, i + 1), view::slice(all, 0, sample, sample + 1)));
      EXPECT_EQ(batch.labels.data<int64_t>()[i], set.labels.data<int64_t>()[sample]);
    }
  }
  EXPECT_EQ(sizes, (std::vector<int64_t>{4, 4, 4, 4, 2}));
}

TEST_P(LoaderThreads, AnEpochHasEachSampleOnceInAnOrderOfItsOwn) {
  DataLoader loader(set, options());
  const std::vector<int64_t> first = epoch_of(loader), second = epoch_of(loader);
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), 18u);
  EXPECT_EQ(first.size(), 18u);
  EXPECT_EQ(std::set(second.begin(), second.end()).size(), 18u);
  EXPECT_NE(first, second);
  // A function of seed and epoch: not of the batch's size, nor of what was read before.
  DataLoader again(set, options(7));
  again.seek({.epoch = 1});
  EXPECT_EQ(epoch_of(again), second);
  again.seek({});
  EXPECT_EQ(epoch_of(again), first);
  LoaderOptions other = options();
  other.seed = 4;
  DataLoader differently(set, other);
  EXPECT_NE(epoch_of(differently), first);
}

TEST_P(LoaderThreads, UnshuffledIsTheOrderOfTheDataSet) {
  LoaderOptions options = this->options(5);
  options.shuffle = false;
  options.normalize = set.statistics();
  options.drop_last = true;
  DataLoader loader(set, options);
  EXPECT_EQ(loader.batches(), 3);
  std::vector<int64_t> want(15);
  std::iota(want.begin(), want.end(), 0);
  EXPECT_EQ(epoch_of(loader), want);
  EXPECT_EQ(epoch_of(loader), want);
}

TEST_P(LoaderThreads, PositionCountsWhatWasTaken) {
  using Position = DataLoader::Position;
  DataLoader loader(set, options(9));
  EXPECT_EQ(loader.position(), (Position{0, 0}));
  EXPECT_TRUE(loader.next().has_value());
  EXPECT_EQ(loader.position(), (Position{0, 1}));
  EXPECT_TRUE(loader.next().has_value());
  EXPECT_EQ(loader.position(), (Position{0, 2}));  // the epoch's end, which next() has not told yet
  EXPECT_FALSE(loader.next().has_value());
  EXPECT_EQ(loader.position(), (Position{1, 0}));
  for (const Batch& batch : loader) {
    EXPECT_EQ(batch.size(), 9);
    break;
  }
  EXPECT_EQ(loader.position(), (Position{1, 1}));
  EXPECT_EQ(epoch_of(loader).size(), 9u);  // the rest
  EXPECT_EQ(loader.position(), (Position{2, 0}));
}

TEST_P(LoaderThreads, SeekGoesOnAsIfNothingHadHappened) {
  LoaderOptions options = this->options(4);
  options.transforms = {random_crop(2), random_horizontal_flip()};
  DataLoader straight(set, options);
  std::vector<std::pair<DataLoader::Position, Batch>> batches;
  for (int epoch = 0; epoch < 3; ++epoch)
    while (true) {
      const DataLoader::Position at = straight.position();
      std::optional<Batch> batch = straight.next();
      if (!batch) break;
      batches.emplace_back(at, *std::move(batch));
    }
  ASSERT_EQ(batches.size(), 15u);
  DataLoader jumping(set, options);
  for (size_t i : {7, 2, 14, 0, 4, 5, 5, 13}) {
    jumping.seek(batches[i].first);
    for (size_t k = i; k < std::min<size_t>(i + 2, 15); ++k) {
      if (k > i && batches[k].first.batch == 0) {
        EXPECT_FALSE(jumping.next().has_value());
      }
      const std::optional<Batch> batch = jumping.next();
      EXPECT_TRUE(same_bits(batch->images, batches[k].second.images)) << i << " " << k;
      EXPECT_TRUE(same_bits(batch->indices, batches[k].second.indices)) << i << " " << k;
    }
  }
  jumping.seek({1, 5});  // an epoch's end
  EXPECT_FALSE(jumping.next().has_value());
  EXPECT_TRUE(same_bits(jumping.next()->images, batches[10].second.images));
  expect_error([&] { jumping.seek({0, 6}); }, "[loader] cannot seek epoch 0, batch 6: there are 5 batches");
  expect_error([&] { jumping.seek({-1, 0}); }, "cannot seek epoch -1");
}

TEST_P(LoaderThreads, EpochsDifferInTheirTransforms) {
  LoaderOptions options = this->options(18);
  options.shuffle = false;
  options.normalize = set.statistics();
  options.transforms = {random_crop(4)};
  DataLoader loader(set, options);
  const Tensor first = loader.next()->images;
  EXPECT_FALSE(loader.next().has_value());
  EXPECT_FALSE(same_bits(loader.next()->images, first));
}

TEST_P(LoaderThreads, WhatATransformThrowsSurfacesInItsPlace) {
  LoaderOptions options = this->options(6);
  options.transforms = {[](const Tensor& images, const SampleKeys& keys) {
    check(keys.epoch == 0, "broken", "in epoch {}", keys.epoch);
    return images;
  }};
  DataLoader loader(set, options);
  EXPECT_EQ(epoch_of(loader).size(), 18u);
  expect_error([&] { loader.next(); }, "[broken] in epoch 1");
  expect_error([&] { loader.next(); }, "[broken] in epoch 1");
  EXPECT_EQ(loader.position(), (DataLoader::Position{1, 0}));
  loader.seek({0, 2});
  EXPECT_EQ(epoch_of(loader).size(), 6u);
  expect_error([&] { loader.next(); }, "[broken] in epoch 1");
}

TEST_P(LoaderThreads, WhatATransformReturnsIsChecked) {
  const auto serve = [&](Transform transform) {
    LoaderOptions options = this->options(4);
    options.transforms = {random_horizontal_flip(), std::move(transform)};
    DataLoader(set, options).next();
  };
  const std::string want = "[transforms] number 1 of the list returned ";
  expect_error([&] { serve([](const Tensor& x, const SampleKeys&) { return view::slice(x, 0, 0, 3); }); },
               want + "[3, 28, 28, 1] (u8, cpu) for pictures [4, 28, 28, 1]");
  expect_error([&] { serve([](const Tensor& x, const SampleKeys&) { return x.to(f32); }); },
               want + "[4, 28, 28, 1] (f32");
  expect_error([&] { serve([](const Tensor&, const SampleKeys&) { return Tensor(); }); }, want + "an undefined tensor");
  expect_error([&] { serve([](const Tensor&, const SampleKeys&) {
                       return zeros({4, 0, 28, 1}, u8);
                     }); },
               want + "[4, 0, 28, 1]");
  expect_error([&] { serve([](const Tensor&, const SampleKeys&) {
                       return zeros({4, 28, 28, 3}, u8);
                     }); },
               "[to_float] 1 means and 1 deviations for images [4, 28, 28, 3]");
  expect_error([&] { serve(nullptr); }, "[transforms] number 1 of the list is an empty function");
}

TEST_P(LoaderThreads, CanBeDestroyedAtAnyTime) {
  std::atomic<int> made = 0;
  LoaderOptions options = this->options(2);
  options.transforms = {[&](const Tensor& images, const SampleKeys&) {
    ++made;
    return images;
  }};
  for (int taken = 0; taken < 12; ++taken) {
    DataLoader loader(set, options);
    for (int i = 0; i < taken; ++i) loader.next();
    if (taken % 3 == 1) loader.seek({4, 1});
  }
  const int then = made;
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(made, then);  // no thread is left
}

TEST_P(LoaderThreads, SharesThePoolWithTheNetwork) {
  const ImageDataset large = draw_digits(800, 2);  // batches of more than one grain
  LoaderOptions options = this->options(400);
  options.transforms = {random_crop(2)};
  DataLoader loader(large, options);
  std::atomic<int64_t> sum = 0;
  for (int epoch = 0; epoch < 5; ++epoch)
    for (const Batch& batch : loader)
      for (int i = 0; i < 20; ++i)
        parallel_for(batch.size(), 10, [&](int64_t begin, int64_t end) { sum += end - begin; });
  EXPECT_EQ(sum, 5 * 800 * 20);
}

TEST_P(LoaderThreads, SeveralLoadersRunAtOnce) {
  DataLoader a(set, options(4)), b(set, options(4));
  const std::vector<int64_t> want = epoch_of(a);
  std::vector<int64_t> got;
  std::thread thread([&] { got = epoch_of(b); });
  epoch_of(a);
  thread.join();
  EXPECT_EQ(got, want);
}

TEST(Loader, SaysWhatIsWrong) {
  const ImageDataset set = draw_digits(5, 1);
  expect_error([&] { DataLoader(set, {.batch = 0}); }, "[loader] batch 0");
  expect_error([&] { DataLoader(set, {.prefetch = -1}); }, "prefetch -1");
  expect_error([&] { DataLoader(set, {.threads = 0}); }, "threads 0: out of range");
  expect_error([&] { DataLoader(set, {.threads = 1025}); }, "threads 1025: out of range");
  expect_error([&] { DataLoader(set, {.batch = 8, .drop_last = true}); }, "drop_last leaves no batch: 5 samples");
  ImageDataset bad = set;
  bad.labels = arange(4);
  expect_error([&] { DataLoader(bad, {}); }, "labels [4] (i64) of images [5, 28, 28, 1]");
}

TEST(Loader, NormalisesByTheDataSetInTrainingUnlessTold) {
  const ImageDataset set = draw_digits(5, 1), other = draw_digits(8, 2);
  DataLoader train(set, {.batch = 8, .shuffle = true});
  EXPECT_EQ(train.normalization().mean, channel_stats(set.images).mean);
  const Batch batch = *train.next();
  EXPECT_TRUE(same_bits(batch.images, to_float(set.gather({batch.indices.data<int64_t>(), 5})[0], set.statistics())));
  // In order, as in evaluation, it has to be told: by what training has, or by its own.
  expect_error([&] { DataLoader(other, {.batch = 8}); }, "As in training: .normalize = train.normalization()");
  DataLoader test(other, {.batch = 8, .normalize = train.normalization()});
  EXPECT_TRUE(same_bits(test.next()->images, to_float(other.images, set.statistics())));
  DataLoader own(other, {.batch = 8, .normalize = other.statistics()});
  EXPECT_TRUE(same_bits(own.next()->images, to_float(other.images, channel_stats(other.images))));
  DataLoader bytes(other, {.batch = 8, .normalize = ChannelStats{}});
  EXPECT_TRUE(same_bits(bytes.next()->images, other.images));
}

}  // namespace
}  // namespace norma::data
