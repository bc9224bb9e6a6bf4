// The integer arguments of layers, data loaders, transforms and schedules, fuzzed.
#include "tests/integers.h"

namespace norma {
namespace {

using namespace norma::test;

Tensor output(nn::Module& module, const Shape& x) { return module(ones(x)); }

data::ImageDataset set_of(int64_t n) { return {"fuzz", zeros({n, 5, 4, 1}, u8), zeros({n}, i64), {"only"}}; }

const std::vector<IntegerCall> kLayerCalls = {
    {"Linear",
     [](Integers& draw) {
       nn::Linear layer(draw.mostly(3), draw());
       return std::vector{output(layer, {2, 3})};
     }},
    {"Conv2d",
     [](Integers& draw) {
       nn::Conv2d layer(draw.mostly(4), draw.mostly(2), draw.mostly_pair(2),
                        {.stride = draw.mostly_pair(1), .groups = draw.mostly(2)});
       return std::vector{output(layer, {1, 5, 5, 4})};
     }},
    {"ConvTranspose2d",
     [](Integers& draw) {
       nn::ConvTranspose2d layer(draw.mostly(4), draw.mostly(2), draw.mostly_pair(2),
                                 {.padding = draw.mostly_pair(0), .groups = draw.mostly(2)});
       return std::vector{output(layer, {1, 5, 5, 4})};
     }},
    {"MaxPool2d",
     [](Integers& draw) {
       nn::MaxPool2d layer(draw.mostly_pair(2), {.stride = draw.mostly_pair(2), .padding = draw.mostly_pair(0)});
       return std::vector{output(layer, {1, 5, 5, 4})};
     }},
    {"Upsample",
     [](Integers& draw) {
       nn::Upsample layer(draw.pair());
       return std::vector{output(layer, {1, 5, 5, 4})};
     }},
    {"Softmax",
     [](Integers& draw) {
       nn::Softmax layer(draw());
       return std::vector{output(layer, {1, 5, 5, 4})};
     }},
    {"BatchNorm",
     [](Integers& draw) {
       nn::Norm layer = nn::BatchNorm(draw.mostly(4), {.normalization_batch = draw()});
       return std::vector{output(layer, {6, 2, 2, 4})};
     }},
    {"DomainNorm",
     [](Integers& draw) {
       nn::Norm layer = nn::DomainNorm(draw.mostly(4), {.count = draw(), .batch = draw.below(2) == 0});
       layer.ids = zeros({6}, i64);
       return std::vector{output(layer, {6, 2, 2, 4})};
     }},
    {"GroupNorm",
     [](Integers& draw) {
       nn::Norm layer = nn::GroupNorm(draw(), draw.mostly(4));
       return std::vector{output(layer, {6, 2, 2, 4})};
     }},
    {"HalfInstanceNorm",
     [](Integers& draw) {
       nn::Norm layer = nn::HalfInstanceNorm(draw.mostly(4));
       return std::vector{output(layer, {6, 2, 2, 4})};
     }},
    {"Norm", [](Integers& draw) {
       nn::Norm layer(4);
       layer.grouping.channels.count = draw();
       layer.max_pool = draw.mostly_pair(2);
       layer.train(draw.below(2) == 0);
       return std::vector{output(layer, {6, 4, 4, 4})};
     }}};

const std::vector<IntegerCall> kDataCalls = {
    {"loader",
     [](Integers& draw) {
       data::DataLoader loader(set_of(7), {.batch = draw(),
                                           .shuffle = true,
                                           .drop_last = draw.below(2) == 0,
                                           .prefetch = draw.mostly(0),
                                           .threads = static_cast<int>(draw.mostly(1) % 1500)});
       loader.seek({draw(), draw.mostly(0)});
       std::vector<Tensor> all;
       for (int i = 0; i < 3; ++i)
         if (const auto batch = loader.next()) all.push_back(batch->images);
       return all;
     }},
    {"first", [](Integers& draw) { return std::vector{set_of(7).first(draw()).images}; }},
    {"random_crop",
     [](Integers& draw) {
       const int64_t samples[] = {1, 2};
       return std::vector{data::random_crop(draw(), static_cast<data::Padding>(draw.below(2)))(set_of(2).images,
                                                                                               {.samples = samples})};
     }},
    {"cutout",
     [](Integers& draw) {
       const int64_t samples[] = {draw(), draw()};
       return std::vector{
           data::cutout(draw())(set_of(2).images, {.seed = 1, .epoch = draw(), .samples = samples, .place = draw()})};
     }},
    {"SampleKeys",
     [](Integers& draw) {
       const int64_t samples[] = {1, 2};
       return std::vector{
           rand({2}, *std::make_unique<Generator>(data::SampleKeys{.samples = samples}.generator(draw())))};
     }},
    {"StepLR", [](Integers& draw) { return std::vector{scalar(nn::StepLR{.step_size = draw()}(draw()))}; }},
    {"CosineLR", [](Integers& draw) { return std::vector{scalar(nn::CosineLR{.steps = draw()}(draw()))}; }},
    {"OneCycleLR", [](Integers& draw) { return std::vector{scalar(nn::OneCycleLR{.steps = draw()}(draw()))}; }},
    {"WarmUp",
     [](Integers& draw) {
       return std::vector{scalar(nn::WarmUp{nn::StepLR{}, draw()}(draw()))};
     }},
    {"precise_bn", [](Integers& draw) {
       nn::Norm layer = nn::BatchNorm(1);
       const data::DataLoader loader(set_of(7), {.batch = 3, .shuffle = true, .prefetch = 0});
       nn::precise_bn(layer, loader, {.samples = draw(), .batch = draw()});
       return std::vector<Tensor>{layer.running_mean};
     }}};

TEST(IntegerArguments, OfLayers) { fuzz_integers(kLayerCalls, 1500); }
TEST(IntegerArguments, OfDataAndSchedules) { fuzz_integers(kDataCalls, 1500); }

TEST(IntegerArguments, LoadersTakeAsManyAsYouLike) {
  data::DataLoader loader(set_of(7), {.batch = INT64_MAX, .shuffle = true, .prefetch = INT64_MAX});
  EXPECT_EQ(loader.batches(), 1);
  EXPECT_EQ(loader.next()->size(), 7);
  EXPECT_FALSE(loader.next());
  expect_error([] { data::DataLoader(set_of(7), {.batch = INT64_MAX, .drop_last = true}); },
               "drop_last leaves no batch");
  expect_error([&] { loader.seek({INT64_MAX, 0}); }, "cannot seek epoch 9223372036854775807");
  expect_error([] { data::random_crop(INT64_MAX); }, "[random_crop] padding 9223372036854775807");
}

}  // namespace
}  // namespace norma
