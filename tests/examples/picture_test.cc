// Pictures as PNG: what is drawn under them, and where.
#include "examples/common/picture.h"

#include <png.h>

#include <set>

#include "examples/common/font.h"
#include "tests/golden.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::test;

struct Decoded {
  int64_t height, width;
  std::vector<uint8_t> pixels;  // [height, width, 3]
  int color(int64_t y, int64_t x) const {
    const uint8_t* p = pixels.data() + (y * width + x) * 3;
    return p[0] << 16 | p[1] << 8 | p[2];
  }
};
constexpr int kWhite = 0xFFFFFF, kGood = 0x1EA01E, kBad = 0xD21E1E;

Decoded decode(const Png& png) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  EXPECT_NE(png_image_begin_read_from_memory(&image, png.bytes.data(), png.bytes.size()), 0) << image.message;
  image.format = PNG_FORMAT_RGB;
  Decoded result{image.height, image.width, std::vector<uint8_t>(PNG_IMAGE_SIZE(image))};
  EXPECT_NE(png_image_finish_read(&image, nullptr, result.pixels.data(), 0, nullptr), 0) << image.message;
  EXPECT_EQ(result.height, png.height);
  EXPECT_EQ(result.width, png.width);
  return result;
}

Tensor grey(uint8_t value) { return full({28, 28, 1}, value, u8); }

TEST(Picture, LettersDiffer) {
  std::set<std::string> seen;
  for (char c = ' '; c <= '~'; ++c) {
    std::string pixels;
    for (int y = 0; y < kLetterHeight; ++y)
      for (int x = 0; x < kLetterWidth; ++x) pixels += letter_has(c, y, x) ? '#' : '.';
    EXPECT_TRUE(seen.insert(pixels).second) << c;
    EXPECT_EQ(pixels.find('#') == std::string::npos, c == ' ') << c;
    for (int y = 0; y < kLetterHeight; ++y) EXPECT_FALSE(letter_has(c, y, kLetterWidth - 1)) << c;
  }
  for (int y = 0; y < kLetterHeight; ++y) EXPECT_EQ(letter_has('\xC3', y, 2), letter_has('?', y, 2));
}

// 28 x 28 pixels eight times as large, in a frame of 3 and with 5 around all; letters of two pixels a pixel under it.
TEST(Picture, CaptionsStandUnderPictures) {
  const std::string text = "cat 7%";
  for (bool good : {true, false}) {
    const Decoded image = decode(encode_png({{grey(77), text, good}}));
    const int color = good ? kGood : kBad;
    EXPECT_EQ(image.width, 5 + 230 + 5);
    EXPECT_EQ(image.height, 5 + 230 + 18 + 5);
    EXPECT_EQ(image.color(4, 100), kWhite);
    EXPECT_EQ(image.color(5, 100), color);
    EXPECT_EQ(image.color(7, 100), color);
    EXPECT_EQ(image.color(8, 100), 0x4D4D4D);
    EXPECT_EQ(image.color(5 + 230 - 4, 100), 0x4D4D4D);
    EXPECT_EQ(image.color(5 + 230 - 1, 100), color);
    for (int64_t y = 0; y < 18; ++y)
      for (int64_t x = 0; x < image.width; ++x) {
        const int64_t v = y - 2, u = x - 5;
        const bool set =
            v >= 0 && v < 16 && u >= 0 && u < 12 * std::ssize(text) &&
            letter_has(text[static_cast<size_t>(u / 12)], static_cast<int>(v / 2), static_cast<int>(u % 12 / 2));
        ASSERT_EQ(image.color(235 + y, x), set ? color : kWhite) << y << ", " << x;
      }
  }
}

TEST(Picture, LongCaptionsHaveSeveralLines) {
  const auto lines = [](const std::string& caption) {
    return static_cast<int>(encode_png({{grey(1), caption}, {grey(2), "x"}}).height - 240) / 18;
  };
  EXPECT_EQ(lines("x"), 1);
  EXPECT_EQ(lines("1234567890123456789"), 1);  // 19 letters of 12 pixels in 230
  EXPECT_EQ(lines("12345678901234567890"), 2);
  EXPECT_EQ(lines("sneaker 99% (is sandal)"), 2);
  EXPECT_EQ(lines("aquarium_fish 51% (is maple_tree)"), 2);
  EXPECT_EQ(lines(std::string(100, 'w')), 6);
  EXPECT_EQ(lines(" " + std::string(30, 'w')), 2);
  // It breaks before the bracket, and not later: the second line begins with it.
  const Decoded image = decode(encode_png({{grey(1), "sneaker 99% (is sandal)"}}));
  for (int y = 0; y < kLetterHeight; ++y)
    for (int x = 0; x < kLetterWidth; ++x)
      EXPECT_EQ(image.color(235 + 18 + 2 + 2 * y, 5 + 2 * x) == kGood, letter_has('(', y, x)) << y << ", " << x;
}

TEST(Picture, WithoutCaptionsAStripIsAsEver) {
  const Png png = encode_png({{full({6, 5, 3}, 9, u8)}, {full({6, 5, 3}, 9, u8)}}, 2);
  EXPECT_EQ(png.width, 5 + 2 * (20 + 6 + 5));
  EXPECT_EQ(png.height, 5 + 24 + 6 + 5);
}

TEST(Picture, CaptionsOfAClassifierSayWhatAndHowSure) {
  const Tensor logits = tensor<float>({0, 1, 9, 0}, {2, 2}), labels = tensor<int64_t>({1, 1});
  const std::vector<Picture> pictures = labelled(full({2, 4, 3, 1}, 5, u8), logits, labels, {"cat", "dog"});
  ASSERT_EQ(pictures.size(), 2u);
  EXPECT_EQ(pictures[0].caption, "dog 73%");
  EXPECT_TRUE(pictures[0].good);
  EXPECT_EQ(pictures[1].caption, "cat 100% (is dog)");
  EXPECT_FALSE(pictures[1].good);
  EXPECT_EQ(pictures[1].pixels.shape(), (Shape{4, 3, 1}));
}

TEST(Picture, RefusesWhatItCannotDraw) {
  expect_error([] { encode_png({}); }, "[encode_png] no pictures");
  expect_error([] { encode_png({{full({2, 2, 2}, 0, u8)}}); }, "pictures [2, 2, 2]: want 1 or 3 channels");
  expect_error(
      [] {
        encode_png({{full({2, 2, 1}, 0, u8)}, {full({2, 3, 1}, 0, u8)}});
      },
      "[encode_png] pictures [2, 2, 1] and [2, 3, 1]");
}

}  // namespace
}  // namespace examples
