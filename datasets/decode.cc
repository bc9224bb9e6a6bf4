#include "norma/datasets/decode.h"

#include <jpeglib.h>
// After jpeglib.h, which it needs.
#include <jerror.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <vector>

namespace norma::datasets {
namespace {

Tensor picture_of(const std::string& name, size_t bytes, int64_t height, int64_t width, int64_t channels) {
  const int64_t most = std::min(kMostPixels, static_cast<int64_t>(bytes) * kMostPixelsPerByte);
  check(height > 0 && width > 0 && height <= most / width, "decode",
        "'{}' is {} x {} by its header: a file of {} bytes has at most {} pixels", name, height, width, bytes, most);
  return Tensor({height, width, channels}, u8);
}

Tensor decode_png(std::span<const std::byte> bytes, const std::string& name) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const bool begun = png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) != 0;
  check(begun, "decode", "'{}': {}", name, static_cast<const char*>(image.message));
  const bool transparent = (image.format & PNG_FORMAT_FLAG_ALPHA) != 0;
  image.format = transparent ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
  Tensor pixels;
  try {
    pixels = picture_of(name, bytes.size(), image.height, image.width, transparent ? 4 : 3);
  } catch (...) {
    png_image_free(&image);
    throw;
  }
  check(png_image_finish_read(&image, nullptr, pixels.mutable_data<uint8_t>(), 0, nullptr) != 0, "decode", "'{}': {}",
        name, static_cast<const char*>(image.message));
  return transparent ? view::slice(pixels, 2, 0, 3).contiguous() : pixels;
}

// libjpeg calls back where it meets an error, and must not return from that: it jumps to where the last step began.
// So there are two steps, and nothing in them that has a destructor.
class Jpeg {
 public:
  explicit Jpeg(std::span<const std::byte> bytes) : bytes_(bytes) {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = [](j_common_ptr info) {
      info->err->format_message(info, of(info).message_);
      std::longjmp(of(info).jump_, 1);
    };
    // Of damage it only warns, and makes up what is missing. Of these two, nothing is missing.
    errors_.emit_message = [](j_common_ptr info, int level) {
      const int code = info->err->msg_code;
      if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_JFIF_MAJOR) info->err->error_exit(info);
    };
  }
  ~Jpeg() { jpeg_destroy_decompress(&info_); }
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;

  bool read_header() {
    if (setjmp(jump_)) return false;
    jpeg_create_decompress(&info_);
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
    jpeg_read_header(&info_, TRUE);
    info_.out_color_space = JCS_RGB;
    return true;
  }
  bool read_pixels(uint8_t* to) {  // [height, width, 3]
    if (setjmp(jump_)) return false;
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = to + static_cast<size_t>(info_.output_scanline) * info_.output_width * 3;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }
  int64_t height() const { return info_.image_height; }
  int64_t width() const { return info_.image_width; }
  const char* message() const { return message_; }

 private:
  static Jpeg& of(j_common_ptr info) { return *static_cast<Jpeg*>(info->client_data); }

  const std::span<const std::byte> bytes_;
  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  std::jmp_buf jump_{};
  char message_[JMSG_LENGTH_MAX] = "";
};

Tensor decode_jpeg(std::span<const std::byte> bytes, const std::string& name) {
  Jpeg jpeg(bytes);
  check(jpeg.read_header(), "decode", "'{}': {}", name, jpeg.message());
  const Tensor pixels = picture_of(name, bytes.size(), jpeg.height(), jpeg.width(), 3);
  check(jpeg.read_pixels(pixels.mutable_data<uint8_t>()), "decode", "'{}': {}", name, jpeg.message());
  return pixels;
}

// Along one axis: the pixels that each new one is made of, and what each of them counts, in units of 2^-22.
struct Taps {
  struct Tap {
    int64_t begin, end;   // of the old pixels
    const int32_t* part;  // [end - begin]
  };
  static constexpr int kBits = 22;  // bytes of 8 bits, sums of up to 2^30: PIL's choice
  std::vector<Tap> taps;            // of the new pixels wanted
  std::vector<int32_t> parts;

  // n old pixels become `scaled` ones, of which `count` from `first` on are wanted.
  Taps(int64_t n, int64_t scaled, int64_t first, int64_t count) {
    const double scale = static_cast<double>(n) / static_cast<double>(scaled), reach = std::max(scale, 1.0);
    const int64_t most = 2 * static_cast<int64_t>(std::ceil(reach)) + 1;
    parts.resize(static_cast<size_t>(count * most));
    std::vector<double> weights;
    for (int64_t i = 0; i < count; ++i) {
      const double middle = (static_cast<double>(first + i) + 0.5) * scale;
      const int64_t begin = std::max<int64_t>(0, static_cast<int64_t>(middle - reach + 0.5));
      const int64_t end = std::min(n, static_cast<int64_t>(middle + reach + 0.5));
      weights.clear();
      double sum = 0;
      for (int64_t k = begin; k < end; ++k) {  // a triangle about the middle
        weights.push_back(std::max(0.0, 1 - std::abs((static_cast<double>(k) - middle + 0.5) * (1 / reach))));
        sum += weights.back();
      }
      int32_t* part = parts.data() + i * most;
      taps.push_back({begin, end, part});
      for (const double weight : weights) *part++ = static_cast<int32_t>(weight / sum * (1 << kBits) + 0.5);
    }
  }
};

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp((sum + (1 << (Taps::kBits - 1))) >> Taps::kBits, 0, 255));
}

}  // namespace

Tensor decode_picture(std::span<const std::byte> bytes, const std::string& name) {
  const auto begins = [&](std::initializer_list<int> magic) {
    return bytes.size() > magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin(),
                                                     [](int a, std::byte b) { return a == std::to_integer<int>(b); });
  };
  if (begins({0x89, 'P', 'N', 'G'})) return decode_png(bytes, name);
  check(begins({0xFF, 0xD8}), "decode", "'{}' ({} bytes) is neither PNG nor JPEG", name, bytes.size());
  return decode_jpeg(bytes, name);
}

Tensor resize_and_crop(const Tensor& picture, int64_t side, int64_t size) {
  check(picture.dtype() == u8 && picture.rank() == 3 && picture.numel() > 0, "resize_and_crop",
        "wants u8 [H, W, C], not {} ({})", picture.shape(), picture.dtype());
  check(size >= 1 && side >= size && side <= 1 << 15, "resize_and_crop",
        "a square of {} pixels from a shorter side of {}: want 1 <= size <= side <= 2^15", size, side);
  const int64_t h = picture.dim(0), w = picture.dim(1), channels = picture.dim(2);
  const int64_t tall = h <= w ? side : side * h / w, wide = w <= h ? side : side * w / h;
  const auto middle = [size](int64_t n) { return std::llrint(static_cast<double>(n - size) / 2); };  // halves to even
  const Taps rows(h, tall, middle(tall), size), columns(w, wide, middle(wide), size);
  const int64_t top = rows.taps.front().begin, bottom = rows.taps.back().end, width = size * channels;

  const Tensor from = picture.contiguous(), narrow({bottom - top, size, channels}, u8), to({size, size, channels}, u8);
  uint8_t* out = narrow.mutable_data<uint8_t>();
  for (int64_t y = top; y < bottom; ++y) {
    const uint8_t* row = from.data<uint8_t>() + y * w * channels;
    for (const Taps::Tap& tap : columns.taps)
      for (int64_t c = 0; c < channels; ++c) {
        int32_t sum = 0;
        for (int64_t x = tap.begin; x < tap.end; ++x) sum += row[x * channels + c] * tap.part[x - tap.begin];
        *out++ = rounded(sum);
      }
  }
  out = to.mutable_data<uint8_t>();
  std::vector<int32_t> sums(static_cast<size_t>(width));
  for (const Taps::Tap& tap : rows.taps) {
    std::fill(sums.begin(), sums.end(), 0);
    for (int64_t y = tap.begin; y < tap.end; ++y) {
      const uint8_t* row = narrow.data<uint8_t>() + (y - top) * width;
      const int32_t part = tap.part[y - tap.begin];
      for (int64_t x = 0; x < width; ++x) sums[static_cast<size_t>(x)] += row[x] * part;
    }
    for (const int32_t sum : sums) *out++ = rounded(sum);
  }
  return to;
}

}  // namespace norma::datasets
