// Folders of pictures: which files are found, what a sample is, and loaders of several threads over them.
#include "norma/datasets/image_folder.h"

#include "norma/datasets/decode.h"
#include "tests/files.h"
#include "tests/golden.h"

namespace norma::datasets {
namespace {

using namespace norma::test;

Bytes picture(const std::string& name) {
  static const NamedTensors all = load_safetensors(std::string(NORMA_GOLDEN_DIR) + "/pictures.safetensors").tensors;
  for (const auto& [key, x] : all)
    if (key == name + ".file") {
      const auto* first = reinterpret_cast<const std::byte*>(x.data<uint8_t>());
      return Bytes(first, first + x.numel());
    }
  throw Error("no picture " + name);
}

class ImageFolderTest : public ::testing::Test {
 protected:
  ImageFolderTest() {
    for (const std::string of : {"b", "B", "a/deep/er", "empty.png"}) std::filesystem::create_directories(folder / of);
    std::filesystem::remove(folder / "empty.png");
    folder.write("b/2.JPG", picture("jpeg_rgb"));
    folder.write("b/10.jpeg", picture("jpeg_progressive"));
    folder.write("b/notes.txt", Bytes(3));
    folder.write("B/x.Png", picture("png_gray"));
    folder.write("a/z.png", picture("png_alpha"));
    folder.write("a/deep/er/y.png", picture("png_palette"));
    folder.write("loose.png", picture("png_rgb"));
  }
  TemporaryFolder folder;
};

TEST_F(ImageFolderTest, ListsAFolderAClass) {
  const ImageFolder set(folder.path(), {.size = 8});
  EXPECT_EQ(set.class_names(), (std::vector<std::string>{"B", "a", "b"}));  // by bytes
  ASSERT_EQ(set.size(), 5);
  const std::vector<std::string> paths = {"B/x.Png", "a/deep/er/y.png", "a/z.png", "b/10.jpeg", "b/2.JPG"};
  const std::vector<int64_t> labels = {0, 1, 1, 2, 2};
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(set.path(i), folder / paths[static_cast<size_t>(i)]);
    EXPECT_EQ(set.label(i), labels[static_cast<size_t>(i)]);
    const data::Fields sample = set.get(i);
    ASSERT_EQ(sample.size(), 2u);
    const Tensor pixels = decode_picture(read_file(set.path(i)), "");
    EXPECT_TRUE(same_bits(sample[0], resize_and_crop(pixels, 8, 8)));
    EXPECT_EQ(sample[1].shape(), Shape{});
    EXPECT_EQ(sample[1].item(), static_cast<double>(set.label(i)));
  }
  const ImageFolder larger(folder.path(), {.size = 6, .side = 13}), natural(folder.path(), {.size = 0});
  EXPECT_TRUE(same_bits(larger.get(4)[0], resize_and_crop(natural.get(4)[0], 13, 6)));
  EXPECT_EQ(natural.get(4)[0].shape(), (Shape{23, 31, 3}));
  expect_error([&] { set.get(5); }, "[ImageFolder] no sample 5 among 5");
  expect_error([&] { set.path(-1); }, "no sample -1");
}

TEST_F(ImageFolderTest, StatisticsAreThoseOfItsPictures) {
  const ImageFolder set(folder.path(), {.size = 8});
  const std::vector<int64_t> all = {0, 1, 2, 3, 4};
  const data::ChannelStats want = data::channel_stats(set.gather(all)[0]), got = set.statistics();
  EXPECT_EQ(got.mean, want.mean);
  EXPECT_EQ(got.deviation, want.deviation);
}

TEST_F(ImageFolderTest, ErrorsNameTheFolderOrTheFile) {
  expect_error([&] { ImageFolder(folder / "none"); }, folder / "none");
  expect_error([&] { ImageFolder(folder / "b"); }, "[ImageFolder] no folders of pictures in '" + (folder / "b"));
  expect_error([&] { ImageFolder(folder.path(), {.size = -1}); }, "size -1");
  expect_error([&] { ImageFolder(folder.path(), {.size = 9, .side = 8}); }, "size 9, side 8");
  expect_error([&] { ImageFolder(folder.path(), {.size = INT64_MAX}); }, "size <= side <= 2^15");
  const ImageFolder set(folder.path(), {.size = 8});
  Bytes damaged = picture("jpeg_rgb");
  damaged.resize(damaged.size() / 2);
  folder.write("b/2.JPG", damaged);
  expect_error([&] { set.get(4); }, "[decode] '" + (folder / "b/2.JPG") + "': Premature end of JPEG file");
  std::filesystem::remove(folder / "b/10.jpeg");
  expect_error([&] { set.get(3); }, folder / "b/10.jpeg");
  std::filesystem::create_directories(folder / "c");
  expect_error([&] { ImageFolder(folder.path()); }, "[ImageFolder] no pictures in '" + (folder / "c"));
}

TEST(ImageFolderThreads, OneOrSeveralServeTheSameBatches) {
  const TemporaryFolder folder;
  for (int i = 0; i < 12; ++i) {
    const std::string of = i % 2 == 0 ? "even" : "odd";
    std::filesystem::create_directories(folder / of);
    folder.write(fmt::format("{}/{}.jpg", of, i), picture(i % 3 == 0 ? "jpeg_gray" : "jpeg_rgb"));
  }
  const ImageFolder set(folder.path(), {.size = 12});
  std::vector<Tensor> want;
  for (int threads : {1, 2, 4}) {
    data::DataLoader loader(set,
                            {.batch = 5, .shuffle = true, .threads = threads, .transforms = {data::random_crop(2)}});
    std::vector<Tensor> got;
    for (int epoch = 0; epoch < 3; ++epoch)
      for (const data::Batch& batch : loader) {
        got.push_back(batch.images);
        got.push_back(batch.labels);
      }
    if (want.empty()) want = got;
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(same_bits(got[i], want[i])) << i;
  }
  // A file that is damaged is named when its batch comes.
  folder.write("odd/3.jpg", Bytes(50, std::byte{1}));
  data::DataLoader loader(set, {.batch = 4, .threads = 4, .normalize = data::ChannelStats{}});
  EXPECT_EQ(loader.next()->size(), 4);  // even/0, 10, 2, 4
  EXPECT_EQ(loader.next()->size(), 4);  // even/6, 8, odd/1, 11
  expect_error([&] { loader.next(); }, "odd/3.jpg");
}

}  // namespace
}  // namespace norma::datasets
