// Transforms: each against what it is defined to do, and what all of them promise about random streams.
#include "norma/nn/data/transforms.h"

#include "examples/common/digits.h"
#include "norma/core/parallel.h"
#include "tests/golden.h"

namespace norma::data {
namespace {

using namespace norma::test;
using examples::draw_digits;

constexpr int64_t kCount = 64;

std::vector<int64_t> numbers(int64_t n) {
  std::vector<int64_t> result(static_cast<size_t>(n));
  std::iota(result.begin(), result.end(), 100);
  return result;
}

// Pictures without a black pixel, so that what a transform blackens is seen.
Tensor pictures(int64_t h, int64_t w, int64_t c, int64_t n = kCount) {
  Tensor x({n, h, w, c}, u8);
  Generator generator(9);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(1 + generator.below(255));
  return x;
}

double pixel(const Tensor& x, int64_t i, int64_t y, int64_t x0, int64_t c) {
  return y < 0 || x0 < 0 || y >= x.dim(1) || x0 >= x.dim(2) ? 0 : x.at({i, y, x0, c});
}

// The transform's output is the input looked up at at(y, x), outside of which there is black.
template <class F>
bool is_lookup(const Tensor& from, const Tensor& to, int64_t i, F at) {
  for (int64_t y = 0; y < from.dim(1); ++y)
    for (int64_t x = 0; x < from.dim(2); ++x)
      for (int64_t c = 0; c < from.dim(3); ++c)
        if (const auto [v, u] = at(y, x); to.at({i, y, x, c}) != pixel(from, i, v, u, c)) return false;
  return true;
}

Tensor varied(const std::vector<Transform>& transforms, const Tensor& x, const SampleKeys& keys) {
  Fields fields = {x};
  apply_transforms(transforms, fields, keys);
  return fields[0];
}

using Place = std::pair<int64_t, int64_t>;

TEST(Transforms, RandomCropShiftsEvenly) {
  for (const auto& [h, w, c] :
       {std::tuple{5, 7, 3}, {2, 3, 1}, {1, 1, 2}}) {  // the last two are smaller than the shift
    const int64_t padding = 3;
    const Tensor x = pictures(h, w, c);
    const std::vector<int64_t> samples = numbers(kCount);
    const Tensor y = random_crop(padding)(x, {.seed = 1, .samples = samples});
    std::map<Place, int> seen;
    for (int64_t i = 0; i < kCount; ++i) {
      bool found = false;
      for (int64_t dy = -padding; dy <= padding && !found; ++dy)
        for (int64_t dx = -padding; dx <= padding && !found; ++dx)
          if (is_lookup(x, y, i, [&](int64_t v, int64_t u) { return Place{v + dy, u + dx}; })) {
            found = true;
            ++seen[{dy, dx}];
          }
      EXPECT_TRUE(found) << "picture " << i << " of " << x.shape().str() << " is no shifted one";
    }
    if (h == 5) {
      EXPECT_GT(seen.size(), 25u);  // of 49
      EXPECT_EQ(seen.begin()->first.first, -padding);
      EXPECT_EQ(seen.rbegin()->first.first, padding);
    }
  }
  const std::vector<int64_t> samples = numbers(kCount);
  EXPECT_TRUE(same_bits(random_crop(0)(pictures(3, 4, 2), {.samples = samples}), pictures(3, 4, 2)));
}

TEST(Transforms, CropReflectsWhatLiesOutside) {
  const int64_t h = 5, w = 4, padding = 3;  // the furthest that a row of four can be reflected
  const Tensor x = pictures(h, w, 2);
  const std::vector<int64_t> samples = numbers(kCount);
  const Tensor y = random_crop(padding, Padding::reflect)(x, {.seed = 1, .samples = samples});
  const auto reflected = [](int64_t i, int64_t n) { return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i; };
  const Tensor black = random_crop(padding)(x, {.seed = 1, .samples = samples});
  int corners = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    bool found = false;
    for (int64_t dy = -padding; dy <= padding; ++dy)
      for (int64_t dx = -padding; dx <= padding; ++dx) {
        const auto shifted = [&](int64_t v, int64_t u) { return Place{v + dy, u + dx}; };
        const auto at = [&](int64_t v, int64_t u) { return Place{reflected(v + dy, h), reflected(u + dx, w)}; };
        if (!is_lookup(x, black, i, shifted) || !is_lookup(x, y, i, at)) continue;
        found = true;
        corners += std::abs(dy) == padding && std::abs(dx) == padding;
      }
    EXPECT_TRUE(found) << "picture " << i;
  }
  EXPECT_GT(corners, 0);
}

TEST(Transforms, FlipReversesRowsWithItsProbability) {
  const Tensor x = pictures(3, 5, 2);
  const std::vector<int64_t> samples = numbers(kCount);
  for (const double p : {0.0, 0.25, 1.0}) {
    const Tensor y = random_horizontal_flip(p)(x, {.seed = 2, .samples = samples});
    int flipped = 0;
    for (int64_t i = 0; i < kCount; ++i) {
      const bool is_same = is_lookup(x, y, i, [](int64_t v, int64_t u) { return Place{v, u}; });
      const bool is_flipped = is_lookup(x, y, i, [](int64_t v, int64_t u) { return Place{v, 4 - u}; });
      EXPECT_NE(is_same, is_flipped) << i;
      flipped += is_flipped;
    }
    EXPECT_NEAR(flipped, p * kCount, p == 0.25 ? 9 : 0);
  }
}

TEST(Transforms, CutoutBlackensOneClippedSquare) {
  const int64_t h = 6, w = 5, side = 3;
  const Tensor x = pictures(h, w, 2);
  const std::vector<int64_t> samples = numbers(kCount);
  const Tensor y = cutout(side)(x, {.seed = 3, .samples = samples});
  std::set<Place> centres;
  for (int64_t i = 0; i < kCount; ++i) {
    bool found = false;
    for (int64_t cy = 0; cy < h && !found; ++cy)
      for (int64_t cx = 0; cx < w && !found; ++cx)
        if (is_lookup(x, y, i, [&](int64_t v, int64_t u) {
              return std::abs(v - cy) <= 1 && std::abs(u - cx) <= 1 ? Place{-1, -1} : Place{v, u};
            })) {
          found = true;
          centres.insert({cy, cx});
        }
    EXPECT_TRUE(found) << i;
  }
  EXPECT_GT(centres.size(), 18u);  // of 30
  const Tensor all = cutout(20)(x, {.samples = samples});
  EXPECT_TRUE(same_bits(all, zeros(x.shape(), u8)));
}

const std::vector<std::pair<std::string, Transform>> kRandom = {
    {"random_crop", random_crop(2)}, {"random_horizontal_flip", random_horizontal_flip()}, {"cutout", cutout(3)}};

TEST(Transforms, DependOnSeedEpochSampleAndPlaceOnly) {
  const Tensor x = pictures(8, 8, 1);
  const std::vector<int64_t> samples = numbers(kCount);
  for (const auto& [name, transform] : kRandom) {
    SCOPED_TRACE(name);
    const SampleKeys keys{.seed = 5, .epoch = 2, .samples = samples, .place = 1};
    const Tensor y = transform(x, keys);
    EXPECT_FALSE(same_bits(x, y));
    // One at a time, last to first.
    for (int64_t i = kCount - 1; i >= 0; --i) {
      SampleKeys one = keys;
      one.samples = std::span(samples).subspan(static_cast<size_t>(i), 1);
      EXPECT_TRUE(same_bits(transform(view::slice(x, 0, i, i + 1), one), view::slice(y, 0, i, i + 1)));
    }
    for (const auto& [what, other] : {std::pair{"seed", SampleKeys{6, 2, samples, 1}},
                                      {"epoch", SampleKeys{5, 3, samples, 1}},
                                      {"place", SampleKeys{5, 2, samples, 0}}})
      EXPECT_FALSE(same_bits(transform(x, other), y)) << what;
  }
}

TEST(TransformsThreads, GiveTheSameBitsOnAnyNumberOfThreads) {
  const int before = num_threads();
  const Tensor x = pictures(64, 64, 3, 130);  // more than one grain
  const std::vector<int64_t> samples = numbers(130);
  const std::vector<Transform> all = {kRandom[0].second, kRandom[1].second, kRandom[2].second};
  std::vector<Tensor> bytes, floats;
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    bytes.push_back(varied(all, x, {.seed = 7, .samples = samples}));
    floats.push_back(to_float(bytes.back(), channel_stats(x)));
    EXPECT_TRUE(same_bits(bytes.front(), bytes.back()));
    EXPECT_TRUE(same_bits(floats.front(), floats.back()));
  }
  set_num_threads(before);
}

TEST(Transforms, AListAppliesEachAtItsPlace) {
  const Tensor x = pictures(8, 8, 1);
  const std::vector<int64_t> samples = numbers(kCount);
  const std::vector<Transform> list = {random_crop(2), random_crop(2)};
  const Tensor first = list[0](x, {.seed = 1, .samples = samples});
  const Tensor second = list[1](first, {.seed = 1, .samples = samples, .place = 1});
  EXPECT_TRUE(same_bits(varied(list, x, {.seed = 1, .samples = samples}), second));
}

TEST(Transforms, ToFloatNormalisesEachChannel) {
  const Tensor x = pictures(3, 5, 3);
  const ChannelStats stats{{0.1, 0.5, 0.9}, {0.2, 1, 3}};
  const Tensor y = to_float(x, stats);
  EXPECT_EQ(y.dtype(), f32);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const size_t c = static_cast<size_t>(i % 3);
    const double want = (x.data<uint8_t>()[i] / 255.0 - stats.mean[c]) / stats.deviation[c];
    EXPECT_NEAR(y.data<float>()[i], want, 1e-6);
  }
  EXPECT_TRUE(same_bits(to_float(view::slice(x, 2, 1, 5, 2), stats), view::slice(y, 2, 1, 5, 2)));
}

TEST(Transforms, SayWhatIsWrong) {
  const Tensor x = pictures(3, 5, 2);
  const std::vector<int64_t> samples = numbers(3);
  expect_error([&] { random_crop(-1); }, "[random_crop] padding -1");
  expect_error([&] { random_crop(3, Padding::reflect)(x, {.samples = numbers(64)}); },
               "[random_crop] cannot reflect 3 pixels of pictures of 3 x 5");
  expect_error([&] { random_horizontal_flip(1.5); }, "[random_horizontal_flip] 1.5");
  expect_error([&] { cutout(0); }, "[cutout] a square of side 0");
  expect_error([&] { cutout(2)(x, {.samples = samples}); }, "[cutout] 3 samples for [64, 3, 5, 2]");
  expect_error([&] { cutout(2)(x.to(f32), {.samples = samples}); }, "[cutout] wants u8 [N, H, W, C]");
  expect_error([&] { to_float(x.to(i64), {{0, 0}, {1, 1}}); }, "[to_float] wants u8");
  expect_error([&] { to_float(x, {{0}, {1}}); }, "[to_float] 1 means and 1 deviations for images [64, 3, 5, 2]");
  expect_error([&] { to_float(x, {{0, 0}, {1, 0}}); }, "deviation 0 of channel 1");
}

TEST(Transforms, WantNumbersThatMakeSense) {
  const Tensor x = pictures(4, 4, 1, 2);
  for (double bad : {double{NAN}, double{INFINITY}, -double{INFINITY}}) {
    expect_error(
        [&] {
          to_float(x, {{bad}, {1}});
        },
        fmt::format("[to_float] mean {} and deviation 1 of channel 0", bad));
    expect_error([&] { to_float(x, {{0}, {bad}}); }, fmt::format("[to_float] mean 0 and deviation {} of", bad));
  }
  expect_error([&] { random_horizontal_flip(NAN); }, "[random_horizontal_flip] nan is no probability");
  const std::vector<int64_t> samples = numbers(3);
  expect_error([&] { varied({random_crop(1)}, x, {.samples = samples}); }, "[random_crop] 3 samples for [2, 4, 4, 1]");
}

}  // namespace
}  // namespace norma::data
