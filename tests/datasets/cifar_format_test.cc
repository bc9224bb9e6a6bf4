// CIFAR's files and folders: what is read, and what is said of damaged ones.
#include "norma/datasets/cifar.h"
#include "tests/files.h"
#include "tests/golden.h"

namespace norma::datasets {
namespace {

using namespace norma::data;
using namespace norma::test;

TEST(Cifar, ReadsPlanesIntoPixels) {
  for (const int64_t classes : {10, 100}) {
    const size_t labels = classes == 10 ? 1 : 2, size = labels + 3072;
    Bytes file(2 * size);
    for (size_t i = 0; i < 2; ++i) {
      file[i * size] = std::byte{3};  // of CIFAR-100 the coarse label, which is not read
      file[i * size + labels - 1] = static_cast<std::byte>(classes - 1 - static_cast<int64_t>(i));
      for (size_t c = 0; c < 3; ++c)
        for (size_t p = 0; p < 1024; ++p)
          file[i * size + labels + c * 1024 + p] = static_cast<std::byte>(100 * i + 50 * c + p % 47);
    }
    const CifarRecords records = parse_cifar(file, classes, "the-file");
    EXPECT_EQ(records.images.shape(), (Shape{2, 32, 32, 3}));
    EXPECT_EQ(records.labels.to_vector<int64_t>(), (std::vector<int64_t>{classes - 1, classes - 2}));
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t y = 0; y < 32; ++y)
        for (int64_t x = 0; x < 32; ++x)
          for (int64_t c = 0; c < 3; ++c)
            ASSERT_EQ(records.images.at({i, y, x, c}), double(100 * i + 50 * c + (32 * y + x) % 47));
  }
}

TEST(Cifar, RefusesWhatIsNoWholeRecords) {
  const Bytes file = cifar(2);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{3072}, size_t{3074}, file.size() - 1}) {
    const Bytes part(file.begin(), file.begin() + static_cast<long>(size));
    expect_error([&] { parse_cifar(part, 10, "the-file"); }, "'the-file' has ");
    expect_error([&] { parse_cifar(part, 10, "the-file"); }, "bytes: wanted are whole records of 3073");
  }
  EXPECT_EQ(parse_cifar(Bytes(file.begin(), file.begin() + 3073), 10, "").labels.numel(), 1);
  expect_error([&] { parse_cifar(file, 100, "the-file"); }, "6146 bytes: wanted are whole records of 3074");
  expect_error([&] { parse_cifar(file, 12, "the-file"); }, "12 classes: there are sets of 10 and of 100");
  Bytes bad = file;
  bad[3073] = std::byte{10};
  expect_error([&] { parse_cifar(bad, 10, "the-file"); }, "'the-file': label 10 at offset 3073, there are 10 classes");
  bad = cifar(2, 100);
  bad[3075] = std::byte{100};
  expect_error([&] { parse_cifar(bad, 100, "the-file"); }, "label 100 at offset 3075, there are 100 classes");
}

class CifarFolder : public ::testing::Test {
 protected:
  void SetUp() override { folder.write_cifar10(4); }
  TemporaryFolder folder;
};

TEST_F(CifarFolder, IsReadInTheOrderOfItsFiles) {
  const ImageDataset train = load_cifar_folder(folder.path() + "/", true),
                     test = load_cifar_folder(folder.path(), false);
  train.validate();
  test.validate();
  EXPECT_EQ(train.images.shape(), (Shape{20, 32, 32, 3}));
  EXPECT_EQ(test.size(), 4);
  std::vector<int64_t> want;
  for (int64_t i = 1; i <= 5; ++i)
    for (int64_t k = 0; k < 4; ++k) want.push_back((i + k) % 10);
  EXPECT_EQ(train.labels.to_vector<int64_t>(), want);
  const CifarRecords third = parse_cifar(cifar(4, 10, 3), 10, "");
  EXPECT_TRUE(same_bits(view::slice(train.images, 0, 8, 12), third.images));
  EXPECT_EQ(train.name, std::filesystem::path(folder.path()).filename());
  EXPECT_EQ(train.class_names[9], "9");

  folder.write("batches.meta.txt", cifar(1));  // no names
  expect_error([&] { load_cifar_folder(folder.path(), true); }, "batches.meta.txt' names ");
  const std::string names = "airplane\nautomobile\r\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
  write_file_atomic(folder / "batches.meta.txt", names);
  EXPECT_EQ(load_cifar_folder(folder.path(), true).class_names[1], "automobile");
  write_file_atomic(folder / "batches.meta.txt", names + "tree");
  expect_error([&] { load_cifar_folder(folder.path(), true); }, "batches.meta.txt' names 11 classes, there are 10");
  write_file_atomic(folder / "batches.meta.txt", std::string(70'000, 'x'));
  expect_error([&] { load_cifar_folder(folder.path(), true); }, "batches.meta.txt'");
}

TEST_F(CifarFolder, FindsWhatIsMissing) {
  const auto refused = [&](const std::string& part) {
    for (const bool train : {true, false}) expect_error([&] { load_cifar_folder(folder.path(), train); }, part);
  };
  folder.write("data_batch_3.bin", cifar(2));  // half a file, though of whole records
  refused("data_batch_3.bin' has 2 pictures where 4 go with the 4 of ");
  folder.write("data_batch_3.bin", Bytes(5000));
  refused("data_batch_3.bin' has 5000 bytes");
  std::filesystem::remove(folder / "data_batch_3.bin");
  refused("no 'data_batch_3.bin' in '");
  folder.write_cifar10(4);
  folder.write("test_batch.bin", cifar(2));
  refused("data_batch_1.bin' has 4 pictures where 2 go with the 2 of ");
  std::filesystem::remove(folder / "test_batch.bin");
  refused("no 'test_batch.bin' in '");
  for (int i = 1; i <= 5; ++i) std::filesystem::remove(folder / ("data_batch_" + std::to_string(i) + ".bin"));
  refused("no 'test_batch.bin' (CIFAR-10) or 'test.bin' (CIFAR-100) in '");
}

TEST(Cifar100Folder, HasFineLabelsAndItsNames) {
  TemporaryFolder folder;
  const std::string name = "cifar-100-binary";
  std::filesystem::create_directory(folder / name);
  folder.write(name + "/train.bin", cifar(500, 100));
  folder.write(name + "/test.bin", cifar(100, 100));
  EXPECT_EQ(cifar_classes(folder / name), 100);
  EXPECT_EQ(cifar_classes(folder.path()), 0);
  const ImageDataset set = load_cifar_folder(folder / name, true);
  set.validate();
  EXPECT_EQ(set.classes(), 100);
  EXPECT_EQ(set.labels.data<int64_t>()[299], 99);
  EXPECT_EQ(set.name, "CIFAR-100");
  folder.write(name + "/train.bin", cifar(499, 100));
  expect_error([&] { load_cifar_folder(folder / name, true); },
               "train.bin' has 499 pictures where 500 go with the 100");
}

}  // namespace
}  // namespace norma::datasets
