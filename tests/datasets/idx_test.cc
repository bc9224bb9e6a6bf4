// IDX files and folders of them: what is read, and what is said of damaged ones.
#include "norma/datasets/idx.h"

#include "tests/files.h"
#include "tests/golden.h"
#include "tests/gzip.h"

namespace norma::datasets {
namespace {

using namespace norma::data;
using namespace norma::test;

// Two pictures of 2 x 3 pixels, and their labels.
const Bytes kImages = idx({2, 2, 3}, {0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255});
const Bytes kLabels = idx({2}, {9, 4});

Tensor parse(const Bytes& bytes, int rank = 3) { return parse_idx(bytes, rank, "the-file"); }

void expect_idx_error(const Bytes& bytes, const std::string& part, int rank = 3) {
  SCOPED_TRACE(part);
  expect_error([&] { parse(bytes, rank); }, part);
  expect_error([&] { parse(bytes, rank); }, "the-file");  // errors name the file
}

TEST(Idx, ReadsPlainAndGzippedFiles) {
  for (const Bytes& file : {kImages, gzip(kImages), gzip_stored(kImages)}) {
    const Tensor x = parse(file);
    EXPECT_EQ(x.shape(), (Shape{2, 2, 3}));
    EXPECT_EQ(x.dtype(), u8);
    EXPECT_EQ(x.to_vector<int64_t>(), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255}));
  }
  EXPECT_EQ(parse(gzip(kLabels), 1).to_vector<int64_t>(), (std::vector<int64_t>{9, 4}));
}

TEST(Idx, ReadsWhatCompressesAsWellAsDeflateCan) {
  const Bytes file = gzip(idx({300, 100, 100}, std::vector<uint8_t>(3'000'000)));
  EXPECT_LT(file.size(), 3100u);
  EXPECT_EQ(parse(file).numel(), 3'000'000);
}

TEST(Idx, RefusesWrongHeaders) {
  Bytes file = kImages;
  file[0] = std::byte{'P'};
  expect_idx_error(file, "is not an IDX file: it begins with 50000803");
  file = kImages;
  file[2] = std::byte{0x0D};
  expect_idx_error(file, "elements of type 0x0d at offset 2");
  expect_idx_error(kLabels, "has rank 1 at offset 3, wanted is 3");
  expect_idx_error(kImages, "has rank 3 at offset 3, wanted is 1", 1);
  expect_idx_error(idx({0, 2, 3}, {}), "axis 0 is empty, at offset 4");
  expect_idx_error(idx({2, 2, 0}, {1, 2, 3, 4}), "axis 2 is empty, at offset 12");
  expect_idx_error({}, "ends at byte 0 of 4");
  expect_idx_error(Bytes(kImages.begin(), kImages.begin() + 11), "too short for a header");
}

TEST(Idx, RefusesTruncatedAndOverlongFiles) {
  for (size_t size = 0; size < kImages.size(); ++size)
    expect_idx_error(Bytes(kImages.begin(), kImages.begin() + static_cast<long>(size)),
                     size < 4    ? "of 4 (truncated?)"
                     : size < 16 ? "too short for a header"
                                 : "in a file that holds at most");
  Bytes file = kImages;
  file.push_back(std::byte{0});
  expect_idx_error(file, "goes on after byte 28");
}

TEST(Idx, ChecksSizesBeforeItAllocates) {
  cpu_memory().reset_peak();
  const int64_t before = cpu_memory().stats().peak_bytes;
  const std::vector<uint8_t> values(12);
  expect_idx_error(idx({3, 2, 3}, values), "3 elements of axis 2 at offset 12, in a file that holds at most 28 bytes");
  expect_idx_error(idx({0xFFFFFFFF, 2, 3}, values), "4294967295 elements of axis 0 at offset 4");
  // A product that is small again after an overflow.
  expect_idx_error(idx({0x80000000, 0x80000000, 4}, values), "2147483648 elements of axis 0 at offset 4");
  expect_idx_error(gzip(idx({0x7FFFFFFF, 0x7FFFFFFF, 4}, values)), "2147483647 elements of axis 0 at offset 4");
  expect_idx_error(gzip(idx({1000, 1000, 1000}, values)), "1000 elements of axis 1 at offset 8");
  EXPECT_LE(cpu_memory().stats().peak_bytes, before + 4096);
}

TEST(Idx, RefusesDamagedGzipStreams) {
  const Bytes whole = gzip(kImages);
  for (size_t size = 2; size < whole.size(); ++size)
    expect_error([&] { parse(Bytes(whole.begin(), whole.begin() + static_cast<long>(size))); }, "the-file");
  expect_idx_error(Bytes(whole.begin(), whole.end() - 1), "the gzip stream is truncated");

  Bytes file = whole;
  file[whole.size() - 8] ^= std::byte{1};
  expect_idx_error(file, "the gzip stream incorrect data check");
  file = whole;
  file[whole.size() - 1] ^= std::byte{1};
  expect_idx_error(file, "the gzip stream incorrect length check");
  file = whole;
  file[2] = std::byte{7};
  expect_idx_error(file, "the gzip stream unknown compression method");
  file = whole;
  file.insert(file.end(), 5, std::byte{0});
  expect_idx_error(file, "5 bytes follow the gzip stream");

  Bytes longer = kImages, shorter = kImages;
  longer.push_back(std::byte{0});
  shorter.pop_back();
  expect_idx_error(gzip(longer), "goes on after byte 28");
  expect_idx_error(gzip(shorter), "ends at byte 27 of 28");
}

class MnistFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder.write("train-images-idx3-ubyte", kImages);
    folder.write("train-labels-idx1-ubyte.gz", gzip(kLabels));
  }
  TemporaryFolder folder;
};

TEST_F(MnistFolder, IsReadWithItsClassNames) {
  const ImageDataset set = load_mnist_folder(folder.path() + "/", true);
  set.validate();
  EXPECT_EQ(set.images.shape(), (Shape{2, 2, 3, 1}));
  EXPECT_EQ(set.images.at({1, 0, 2, 0}), 252);
  EXPECT_EQ(set.labels.to_vector<int64_t>(), (std::vector<int64_t>{9, 4}));
  EXPECT_EQ(set.class_names[9], "9");
  EXPECT_EQ(set.name, std::filesystem::path(folder.path()).filename());

  const std::string fashion = folder / "Fashion-MNIST";
  std::filesystem::create_directory_symlink(folder.path(), fashion);
  EXPECT_EQ(load_mnist_folder(fashion, true).class_names[9], "boot");
  EXPECT_EQ(load_mnist_folder(fashion, true, std::vector<std::string>(11, "x")).classes(), 11);
}

TEST_F(MnistFolder, NamesWhatIsMissing) {
  expect_error([&] { load_mnist_folder(folder.path(), false); }, "no 't10k-images-idx3-ubyte' or");
  expect_error([&] { load_mnist_folder(folder / "nowhere", true); }, "/nowhere'");
  std::filesystem::remove(folder / "train-labels-idx1-ubyte.gz");
  expect_error([&] { load_mnist_folder(folder.path(), true); }, "no 'train-labels-idx1-ubyte' or");
}

TEST_F(MnistFolder, RefusesLabelsThatDoNotFit) {
  expect_error([&] { load_mnist_folder(folder.path(), true, std::vector<std::string>(9, "x")); },
               "train-labels-idx1-ubyte.gz': label 9 at offset 8, there are 9 classes");
  folder.write("train-labels-idx1-ubyte", idx({3}, {1, 2, 3}));  // the plain file comes first
  expect_error([&] { load_mnist_folder(folder.path(), true); }, "2 pictures in");
  folder.write("train-labels-idx1-ubyte", idx({2}, {1, 10}));
  expect_error([&] { load_mnist_folder(folder.path(), true); }, "label 10 at offset 9, there are 10 classes");
}

}  // namespace
}  // namespace norma::datasets
