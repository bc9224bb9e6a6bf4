#include "examples/common/picture.h"

#include <png.h>

#include <algorithm>
#include <cmath>

#include "examples/common/terminal.h"
#include "norma/core/file.h"

namespace examples {
namespace {

using norma::Tensor;

int grey(const Tensor& pixels, int64_t y, int64_t x) {  // 0 outside
  if (y >= pixels.dim(0)) return 0;
  double sum = 0;
  for (int64_t c = 0; c < pixels.dim(2); ++c) sum += pixels.at({y, x, c});
  return static_cast<int>(sum / static_cast<double>(pixels.dim(2)));
}

// A row of letters shows two rows of pixels.
std::string row_of_letters(const Tensor& pixels, int64_t row) {
  std::string text;
  for (int64_t x = 0; x < pixels.dim(1); ++x) {
    const int above = grey(pixels, 2 * row, x), below = grey(pixels, 2 * row + 1, x);
    if (is_utf8()) text += fmt::format("\033[38;5;{};48;5;{}m▀", 232 + above * 24 / 256, 232 + below * 24 / 256);
    else text += " .:-=+*#%@"[(above + below) * 10 / 512];
  }
  return is_utf8() ? text + "\033[0m" : text;
}

}  // namespace

std::string draw(const std::vector<Picture>& pictures) {
  if (pictures.empty()) return {};
  const int64_t height = (pictures[0].pixels.dim(0) + 1) / 2, width = pictures[0].pixels.dim(1);
  size_t pitch = width;  // of the columns, in letters
  for (const Picture& picture : pictures) pitch = std::max(pitch, picture.caption.size());
  pitch += 2;
  const size_t across = std::max<size_t>(1, static_cast<size_t>(columns() + 2) / pitch);
  std::string text;
  for (size_t first = 0; first < pictures.size(); first += across) {
    const size_t end = std::min(first + across, pictures.size());
    for (int64_t row = 0; row < height; ++row) {
      for (size_t i = first; i < end; ++i)
        text += row_of_letters(pictures[i].pixels, row) + std::string(pitch - static_cast<size_t>(width), ' ');
      text += "\n";
    }
    for (size_t i = first; i < end; ++i)
      text += colored(fmt::format("{:<{}}", pictures[i].caption, pitch), pictures[i].good ? kGreen : kRed);
    text += "\n\n";
  }
  return text;
}

void write_png(const std::string& path, const std::vector<Picture>& pictures, int64_t across) {
  norma::check(!pictures.empty(), "write_png", "no pictures for '{}'", path);
  const norma::Shape shape = pictures[0].pixels.shape();
  norma::check(shape[2] == 1 || shape[2] == 3, "write_png", "pictures {}: want 1 or 3 channels", shape);
  constexpr int64_t kScale = 4, kFrame = 3, kGap = 5;
  const int64_t count = static_cast<int64_t>(pictures.size());
  if (across == 0) across = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const int64_t cell_h = shape[0] * kScale + 2 * kFrame + kGap, cell_w = shape[1] * kScale + 2 * kFrame + kGap;
  const int64_t height = (count + across - 1) / across * cell_h + kGap, width = across * cell_w + kGap;
  std::vector<uint8_t> canvas(height * width * 3, 255);  // [height, width, 3]

  for (int64_t i = 0; i < count; ++i) {
    const Picture& picture = pictures[i];
    const int64_t top = kGap + i / across * cell_h, left = kGap + i % across * cell_w;
    for (int64_t y = 0; y < cell_h - kGap; ++y)
      for (int64_t x = 0; x < cell_w - kGap; ++x) {
        uint8_t* to = canvas.data() + ((top + y) * width + left + x) * 3;
        const int64_t v = y - kFrame, u = x - kFrame;
        const bool inside = v >= 0 && u >= 0 && v < shape[0] * kScale && u < shape[1] * kScale;
        for (int64_t c = 0; c < 3; ++c) {
          const int frame = picture.good ? (c == 1 ? 160 : 30) : (c == 0 ? 210 : 30);
          to[c] = static_cast<uint8_t>(inside ? picture.pixels.at({v / kScale, u / kScale, std::min(c, shape[2] - 1)})
                                              : frame);
        }
      }
  }

  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string file(bytes, '\0');
  norma::check(png_image_write_to_memory(&image, file.data(), &bytes, 0, canvas.data(), 0, nullptr) != 0, "write_png",
               "'{}': {}", path, image.message);
  norma::write_file_atomic(path, std::string_view(file).substr(0, bytes));
}

}  // namespace examples
