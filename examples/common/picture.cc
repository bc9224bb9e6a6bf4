#include "examples/common/picture.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "examples/common/font.h"
#include "examples/common/terminal.h"
#include "norma/norma.h"

namespace examples {
namespace {

using norma::Tensor;

int grey(const Tensor& pixels, int64_t y, int64_t x) {  // 0 outside
  if (y >= pixels.dim(0)) return 0;
  double sum = 0;
  for (int64_t c = 0; c < pixels.dim(2); ++c) sum += pixels.at({y, x, c});
  return static_cast<int>(sum / static_cast<double>(pixels.dim(2)));
}

// The text in lines of at most so many letters, broken before a bracket or else at a blank; a word that is too long is
// cut.
std::vector<std::string> lines_of(std::string_view text, size_t letters) {
  std::vector<std::string> lines;
  while (text.size() > letters) {
    size_t end = text.rfind(" (", letters);
    if (end == std::string_view::npos || end == 0) end = text.rfind(' ', letters);
    if (end == std::string_view::npos || end == 0) end = letters;
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(text[end] == ' ' ? end + 1 : end);
  }
  if (!text.empty()) lines.emplace_back(text);
  return lines;
}

using Color = std::array<uint8_t, 3>;

struct Canvas {
  static constexpr int64_t kZoom = 2;                            // pixels a pixel of a letter
  static constexpr int64_t kLine = kZoom * (kLetterHeight + 1);  // from a line of text to the next

  Canvas(int64_t h, int64_t w) : height(h), width(w), pixels(h * w * 3, 255) {}
  void set(int64_t y, int64_t x, const Color& color) { std::ranges::copy(color, pixels.begin() + (y * width + x) * 3); }
  void draw(const Tensor& picture, int64_t scale, int64_t top, int64_t left) {  // [H, W, C], contiguous
    const int64_t h = picture.dim(0), w = picture.dim(1), channels = picture.dim(2);
    const uint8_t* from = picture.data<uint8_t>();
    for (int64_t y = 0; y < h * scale; ++y)
      for (int64_t x = 0; x < w * scale; ++x) {
        const uint8_t* pixel = from + (y / scale * w + x / scale) * channels;
        set(top + y, left + x,
            channels == 1 ? Color{pixel[0], pixel[0], pixel[0]} : Color{pixel[0], pixel[1], pixel[2]});
      }
  }
  void write(const std::string& text, const Color& color, int64_t top, int64_t left) {
    for (char letter : text) {
      for (int y = 0; y < kZoom * kLetterHeight; ++y)
        for (int x = 0; x < kZoom * kLetterWidth; ++x)
          if (letter_has(letter, y / kZoom, x / kZoom)) set(top + y, left + x, color);
      left += kZoom * kLetterWidth;
    }
  }
  Png encode() const {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(width);
    image.height = static_cast<png_uint_32>(height);
    image.format = PNG_FORMAT_RGB;
    png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
    std::string file(bytes, '\0');
    norma::check(png_image_write_to_memory(&image, file.data(), &bytes, 0, pixels.data(), 0, nullptr) != 0,
                 "encode_png", "{}", image.message);
    file.resize(bytes);
    return {std::move(file), height, width};
  }

  int64_t height, width;
  std::vector<uint8_t> pixels;  // [height, width, 3], white at first
};

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

std::vector<Picture> labelled(const Tensor& pixels, const Tensor& logits, const Tensor& labels,
                              const std::vector<std::string>& class_names) {
  const Tensor probabilities = norma::softmax(logits.detach()).to(norma::cpu_device);
  const std::vector<int64_t> truths = labels.to(norma::cpu_device).to_vector<int64_t>();
  std::vector<Picture> pictures;
  for (int64_t i = 0; i < pixels.dim(0); ++i) {
    const Tensor row = norma::view::slice(probabilities, 0, i, i + 1);
    const int64_t guess = static_cast<int64_t>(norma::argmax(row, -1).item()), truth = truths[i];
    const auto name = [&](int64_t label) { return class_names.at(static_cast<size_t>(label)); };
    std::string caption = fmt::format("{} {:.0f}%", name(guess), 100 * row.at({0, guess}));
    if (guess != truth) caption += fmt::format(" (is {})", name(truth));
    const Tensor picture = norma::view::slice(pixels, 0, i, i + 1);
    pictures.push_back({norma::view::reshape(picture, picture.shape().without(0)), caption, guess == truth});
  }
  return pictures;
}

Png encode_png(const std::vector<Picture>& pictures, int64_t across) {
  norma::check(!pictures.empty(), "encode_png", "no pictures");
  const norma::Shape shape = pictures[0].pixels.shape();
  norma::check(shape[2] == 1 || shape[2] == 3, "encode_png", "pictures {}: want 1 or 3 channels", shape);
  for (const Picture& picture : pictures)
    norma::check(picture.pixels.shape() == shape, "encode_png", "pictures {} and {}", shape, picture.pixels.shape());
  constexpr int64_t kFrame = 3, kGap = 5;
  const bool captioned = std::ranges::any_of(pictures, [](const Picture& p) { return !p.caption.empty(); });
  // With captions, pictures are so wide that most of these go into one line or two.
  const int64_t scale = captioned ? std::max<int64_t>(1, 224 / shape[1]) : 4;
  const int64_t framed_h = shape[0] * scale + 2 * kFrame, framed_w = shape[1] * scale + 2 * kFrame;
  const auto letters = static_cast<size_t>(std::max<int64_t>(1, framed_w / (Canvas::kZoom * kLetterWidth)));
  size_t most_lines = 0;
  for (const Picture& picture : pictures) most_lines = std::max(most_lines, lines_of(picture.caption, letters).size());

  const int64_t count = std::ssize(pictures);
  if (across == 0) across = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const int64_t cell_h = framed_h + static_cast<int64_t>(most_lines) * Canvas::kLine + kGap, cell_w = framed_w + kGap;
  Canvas canvas((count + across - 1) / across * cell_h + kGap, across * cell_w + kGap);
  for (int64_t i = 0; i < count; ++i) {
    const Picture& picture = pictures[i];
    const Color color = picture.good ? Color{30, 160, 30} : Color{210, 30, 30};
    const int64_t top = kGap + i / across * cell_h, left = kGap + i % across * cell_w;
    for (int64_t y = 0; y < framed_h; ++y)
      for (int64_t x = 0; x < framed_w; ++x) canvas.set(top + y, left + x, color);
    canvas.draw(picture.pixels.contiguous(), scale, top + kFrame, left + kFrame);
    int64_t line = top + framed_h;
    for (const std::string& text : lines_of(picture.caption, letters)) {
      canvas.write(text, color, line + Canvas::kZoom, left);
      line += Canvas::kLine;
    }
  }
  return canvas.encode();
}

void write_png(const std::string& path, const std::vector<Picture>& pictures, int64_t across) {
  norma::write_file_atomic(path, encode_png(pictures, across).bytes);
}

}  // namespace examples
