// Where data sets are looked for.
#include "examples/common/find_data.h"

#include <stdlib.h>

#include "tests/files.h"
#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::test;

class FindData : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("NORMA_DATA", folder.path().c_str(), 1);
    std::filesystem::create_directory(folder / "cifar-10-batches-bin");
    std::filesystem::create_directory(folder / "mnist");
    for (const char* part : {"train", "t10k"}) {
      folder.write(fmt::format("mnist/{}-images-idx3-ubyte", part), idx({2, 4, 4}, std::vector<uint8_t>(32)));
      folder.write(fmt::format("mnist/{}-labels-idx1-ubyte", part), idx({2}, {1, 2}));
    }
  }
  void TearDown() override { ::unsetenv("NORMA_DATA"); }
  void write_cifar() const {
    for (int i = 1; i <= 5; ++i) folder.write(fmt::format("cifar-10-batches-bin/data_batch_{}.bin", i), cifar(2));
    folder.write("cifar-10-batches-bin/test_batch.bin", cifar(2));
  }
  TemporaryFolder folder;
};

TEST_F(FindData, LooksForWhatIsWantedInItsOrder) {
  EXPECT_EQ(find_data({}, {DataFormat::mnist}).train.name, "mnist");
  expect_error(
      [] {
        find_data({}, {DataFormat::cifar10, DataFormat::cifar100});
      },
      "cifar-100-binary. scripts/get_data");
  write_cifar();
  const Data data = find_data({}, {DataFormat::cifar10, DataFormat::mnist});
  EXPECT_EQ(data.train.name, "CIFAR-10");
  EXPECT_EQ(data.train.size(), 10);
  EXPECT_TRUE(data.mirrors);
  EXPECT_EQ(find_data({}, {DataFormat::mnist, DataFormat::cifar10}).train.name, "mnist");
  EXPECT_FALSE(find_data({}, {DataFormat::mnist}).mirrors);
  ::setenv("NORMA_DATA", (folder / "cifar-10-batches-bin").c_str(), 1);  // the set itself
  EXPECT_EQ(find_data({}, {DataFormat::cifar10}).test.size(), 2);
}

TEST_F(FindData, AFolderThatIsGivenMayHoldAnyFormat) {
  write_cifar();
  EXPECT_EQ(find_data({.folder = folder / "cifar-10-batches-bin"}, {DataFormat::mnist}).train.name, "CIFAR-10");
  EXPECT_EQ(find_data({.folder = folder / "mnist"}, {DataFormat::cifar10}).train.name, "mnist");
  EXPECT_EQ(find_data({.folder = folder / "cifar-10-batches-bin", .limit = 3}, {DataFormat::mnist}).train.size(), 3);
  // It is never replaced by drawn digits, nor by what is elsewhere.
  expect_error([&] { find_data({.folder = folder / "nowhere"}, {DataFormat::mnist}); }, "[find_data] no data set in ");
  std::filesystem::remove(folder / "mnist/train-images-idx3-ubyte");
  expect_error([&] { find_data({.folder = folder / "mnist"}, {DataFormat::mnist}); },
               "no 'train-images-idx3-ubyte' or");
}

TEST_F(FindData, DrawsDigitsInPlaceOfMnistAlone) {
  const Data drawn = find_data({.synthetic = true, .limit = 30}, {DataFormat::cifar10});
  EXPECT_EQ(drawn.origin, "drawn digits");
  EXPECT_EQ(drawn.train.size(), 30);
  ::unsetenv("NORMA_DATA");
  expect_error([] { find_data({}, {DataFormat::cifar10}); }, "no data set in $NORMA_DATA, which is not set");
}

}  // namespace
}  // namespace examples
