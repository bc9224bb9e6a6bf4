// PNG and JPEG pictures: what PIL decodes and torchvision resizes them to, and what is said of damaged ones.
#include "norma/datasets/decode.h"

#include <zlib.h>

#include "tests/fuzz.h"

namespace norma::datasets {
namespace {

using namespace norma::test;

const NamedTensors& golden_pictures() {
  static const NamedTensors all = load_safetensors(std::string(NORMA_GOLDEN_DIR) + "/pictures.safetensors").tensors;
  return all;
}

Bytes file_of(const std::string& name) {
  for (const auto& [key, x] : golden_pictures())
    if (key == name + ".file") {
      const auto* first = reinterpret_cast<const std::byte*>(x.data<uint8_t>());
      return Bytes(first, first + x.numel());
    }
  throw Error("no picture " + name);
}

int largest_difference(const Tensor& a, const Tensor& b) {
  int result = 0;
  for (int64_t i = 0; i < a.numel(); ++i)
    result = std::max(result, std::abs(a.data<uint8_t>()[i] - b.data<uint8_t>()[i]));
  return result;
}

TEST(Decode, PicturesAreWhatPilMakesOfThem) {
  int count = 0;
  for (const auto& [key, pixels] : golden_pictures()) {
    if (!key.ends_with(".pixels") || key.starts_with("jpeg_cmyk")) continue;
    SCOPED_TRACE(key);
    const Tensor got = decode_picture(file_of(key.substr(0, key.find('.'))), key);
    ASSERT_EQ(got.shape(), pixels.shape());
    ASSERT_EQ(got.dtype(), u8);
    // Two releases of libjpeg need not round alike.
    EXPECT_LE(largest_difference(got, pixels), key.starts_with("png") ? 0 : 2);
    ++count;
  }
  EXPECT_EQ(count, 9);
}

// In PIL the first axis to be resized is the one that costs less, here always the second: a rounding between them.
TEST(Decode, ResizingIsTorchvisions) {
  const NamedTensors& all = golden_pictures();
  int count = 0, same = 0;
  for (const auto& [name, pixels] : all) {
    if (!name.ends_with(".pixels")) continue;
    const std::string prefix = name.substr(0, name.find('.') + 1);
    for (const auto& [key, want] : all) {
      int side = 0, size = 0;
      if (!key.starts_with(prefix) || std::sscanf(key.c_str() + prefix.size(), "%d.%d", &side, &size) != 2) continue;
      const Tensor got = resize_and_crop(pixels, side, size);
      ASSERT_EQ(got.shape(), want.shape());
      EXPECT_LE(largest_difference(got, want), 1) << key;
      same += same_bits(got, want);
      ++count;
    }
  }
  EXPECT_EQ(count, 40);
  EXPECT_GE(same, 34);
}

TEST(Decode, ResizingTakesAnyShape) {
  const Tensor one = full({1, 1, 3}, 77, u8);
  EXPECT_TRUE(same_bits(resize_and_crop(one, 5, 3), full({3, 3, 3}, 77, u8)));
  const Tensor line = full({1, 4000, 1}, 9, u8);
  EXPECT_TRUE(same_bits(resize_and_crop(line, 2, 2), full({2, 2, 1}, 9, u8)));
  EXPECT_TRUE(
      same_bits(resize_and_crop(view::slice(full({300, 200, 3}, 200, u8), 1, 3, 103), 1, 1), full({1, 1, 3}, 200, u8)));
  expect_error([&] { resize_and_crop(one, 3, 5); }, "[resize_and_crop] a square of 5 pixels from a shorter side of 3");
  expect_error([&] { resize_and_crop(one, 0, 0); }, "a square of 0 pixels");
  expect_error([&] { resize_and_crop(one, INT64_MAX, 5); }, "want 1 <= size <= side <= 2^15");
  expect_error([&] { resize_and_crop(one.to(f32), 3, 3); }, "wants u8 [H, W, C], not [1, 1, 3] (f32)");
  expect_error([&] { resize_and_crop(zeros({0, 2, 3}, u8), 3, 3); }, "wants u8 [H, W, C]");
}

TEST(Decode, ErrorsNameThePicture) {
  const auto says = [](const Bytes& file, const std::string& what) {
    expect_error([&] { decode_picture(file, "a.png"); }, "[decode] 'a.png'");
    expect_error([&] { decode_picture(file, "a.png"); }, what);
  };
  says({}, "(0 bytes) is neither PNG nor JPEG");
  says(Bytes(40, std::byte{7}), "is neither PNG nor JPEG");
  says(file_of("jpeg_cmyk"), "Unsupported color conversion request");
  for (const std::string name : {"png_rgb", "png_palette", "jpeg_rgb", "jpeg_progressive"}) {
    SCOPED_TRACE(name);
    const Bytes whole = file_of(name);
    for (size_t n : {whole.size() / 4, whole.size() / 2, whole.size() - 20}) {
      Bytes part(whole.begin(), whole.begin() + static_cast<long>(n));
      says(part, "[decode]");
    }
  }
  Bytes damaged = file_of("png_rgb");
  damaged[damaged.size() / 2] ^= std::byte{1};
  says(damaged, "[decode]");
  // Sizes that no file of that length has are refused before anything is allocated.
  Bytes large = file_of("jpeg_gray");
  for (size_t i = 0; i + 8 < large.size(); ++i)
    if (large[i] == std::byte{0xFF} && large[i + 1] == std::byte{0xC0})
      for (size_t k = i + 5; k < i + 9; ++k) large[k] = std::byte{0x7F};
  says(large, "is 32639 x 32639 by its header: a file of");
}

// As much memory as a picture of that many bytes may take: pixels of four bytes for RGBA, and those that are kept.
constexpr int64_t kMostInflation = 7 * kMostPixelsPerByte;

TEST(Fuzz, Pictures) {
  int good = 0, refused = 0;
  for (const std::string name : {"png_rgb", "png_alpha", "png_palette", "jpeg_rgb", "jpeg_gray", "jpeg_progressive"}) {
    const Bytes whole = file_of(name);
    for (int i = 0; i < 3000; ++i) {
      Generator random(2, static_cast<uint64_t>(i));
      Bytes file = whole;
      mutate(file, random);
      if (i % 2 == 0 && name.starts_with("png") && file.size() > 33) {  // past the checksum of the header
        const uLong sum = crc32(0, reinterpret_cast<const Bytef*>(file.data()) + 12, 17);
        for (int k = 0; k < 4; ++k) file[static_cast<size_t>(29 + k)] = static_cast<std::byte>(sum >> (24 - 8 * k));
      }
      cpu_memory().trim();
      cpu_memory().reset_peak();
      const int64_t before = cpu_memory().stats().bytes_in_use;
      try {
        decode_picture(file, "fuzz");
        ++good;
      } catch (const Error&) {
        ++refused;
      }
      ASSERT_LE(cpu_memory().stats().peak_bytes - before, 8192 + kMostInflation * static_cast<int64_t>(file.size()))
          << name << ", mutation " << i;
    }
  }
  EXPECT_GT(good, 100);
  EXPECT_GT(refused, 5000);
}

}  // namespace
}  // namespace norma::datasets
