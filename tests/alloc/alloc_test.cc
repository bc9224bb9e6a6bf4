// In its steady state, from the second epoch on, a training step takes nothing of 4 KiB or more from the system.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "examples/common/digits.h"
#include "examples/mnist/model.h"
#include "norma/norma.h"
#include "tests/alloc/interpose.h"

namespace norma {
namespace {

using namespace norma::test;

// Keeps the compiler from leaving an allocation out.
void use(void* block) { asm volatile("" : : "g"(block) : "memory"); }

template <class F>
SystemAllocations counted(F&& f) {
  count_allocations();
  f();
  return stop_counting();
}

TEST(Alloc, EachWayToAllocateIsCounted) {
  const size_t n = 5000;
  cpu_memory();  // makes the pool itself
  const auto ways = std::vector<std::pair<const char*, std::function<void()>>>{
      {"malloc",
       [&] {
         void* p = std::malloc(n);
         use(p);
         std::free(p);
       }},
      {"calloc",
       [&] {
         void* p = std::calloc(n, 1);
         use(p);
         std::free(p);
       }},
      {"realloc",
       [&] {
         void* p = std::realloc(std::malloc(1), n);
         use(p);
         std::free(p);
       }},
      {"aligned_alloc",
       [&] {
         void* p = std::aligned_alloc(64, 64 * n);
         use(p);
         std::free(p);
       }},
      {"posix_memalign",
       [&] {
         void* p = nullptr;
         EXPECT_EQ(posix_memalign(&p, 64, n), 0);
         use(p);
         std::free(p);
       }},
      {"new",
       [&] {
         char* p = new char[n];
         use(p);
         delete[] p;
       }},
      {"aligned new",
       [&] {
         auto* p = new (std::align_val_t(64)) char[n];
         use(p);
         operator delete[](p, std::align_val_t(64));
       }},
      {"vector",
       [&] {
         std::vector<double> v(n);
         use(v.data());
       }},
      {"mmap",
       [&] {
         void* p = mmap(nullptr, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         use(p);
         munmap(p, n);
       }},
      {"pool", [&] {
         Tensor x({int64_t{1234567}});
         use(x.mutable_data<float>());
       }}};
  for (const auto& [name, way] : ways) {
    const SystemAllocations found = counted(way);
    EXPECT_EQ(found.large, 1) << name;
    EXPECT_GE(found.largest, n) << name;
  }
  EXPECT_EQ(counted([&] { use(std::vector<char>(4095).data()); }).large, 0);
  EXPECT_EQ(counted([] {
              Tensor x({int64_t{1234567}});
              use(x.mutable_data<float>());
            }).large,
            0);  // from the pool
}

TEST(Alloc, AnEpochOfTrainingTakesNothingLarge) {
  manual_seed(1);
  const data::ImageDataset set = examples::draw_digits(500, 1);
  data::DataLoader loader(set, {.batch = 64,
                                .shuffle = true,
                                .transforms = {data::random_crop(2), data::random_horizontal_flip(), data::cutout(4)}});
  examples::SmallCnn model(set.images.shape().without(0), set.classes());
  nn::AdamW optimizer(model, {.lr = 1e-3});
  double sum = 0;
  const auto epoch = [&] {
    for (const data::Batch& batch : loader) {
      optimizer.zero_grad();
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.images), batch.labels);
      tape.backward(loss);
      optimizer.step();
      sum += loss.item();
    }
  };
  epoch();
  // Two threads that are in the same kernel at once for the first time take one more block from the pool, and on a busy
  // machine that may be in any epoch. What a step or an epoch takes anew is taken in each.
  int64_t fewest = INT64_MAX;
  for (int i = 0; i < 4; ++i) {
    const SystemAllocations found = counted(epoch);
    fewest = std::min(fewest, found.large);
    if (found.large > 0)
      fmt::print("epoch {}: {} of 4 KiB or more, the largest of {} bytes\n", i + 2, found.large, found.largest);
    RecordProperty("small_per_step", static_cast<int>(found.small / loader.batches()));
  }
  EXPECT_EQ(fewest, 0);
  EXPECT_GT(sum, 0);
}

// Its path is looked up once.
TEST(Alloc, AModuleThatRunsTakesNothing) {
  examples::SmallCnn model({28, 28, 1}, 10);
  const auto run = [&] {
    const nn::Module::Running outer(model), inner(model.conv1);
    use(const_cast<char*>(running_module));
  };
  EXPECT_GT(counted(run).small, 0);
  const SystemAllocations found = counted([&] {
    for (int i = 0; i < 100; ++i) run();
  });
  EXPECT_EQ(found.small + found.large, 0);
}

}  // namespace
}  // namespace norma
