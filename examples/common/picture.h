// Small pictures with a word on each, shown in the terminal or written to a PNG file.
#pragma once

#include <string>
#include <vector>

#include "norma/core/tensor.h"

namespace examples {

struct Picture {
  norma::Tensor pixels;  // u8 [H, W, C]; channels are averaged for the terminal, C is 1 or 3 for a file
  std::string caption{};
  bool good = true;  // green, else red
};

// Side by side as the terminal is wide. Half blocks in 24 greys on a terminal with UTF-8, else letters of ASCII.
std::string draw(const std::vector<Picture>& pictures);

// What a classifier says to pictures, in the captions: "cat 87%", or where that is wrong "dog 51% (is cat)".
// pixels u8 [N, H, W, C], logits [N, classes], labels i64 [N].
std::vector<Picture> labelled(const norma::Tensor& pixels, const norma::Tensor& logits, const norma::Tensor& labels,
                              const std::vector<std::string>& class_names);

struct Png {
  std::string bytes;
  int64_t height, width;
};
// A grid of `across` columns (0: about square), each picture enlarged, in a frame of its colour, and above its caption.
// Error: no pictures, pictures of different shapes, or of other than 1 or 3 channels.
Png encode_png(const std::vector<Picture>& pictures, int64_t across = 0);
void write_png(const std::string& path, const std::vector<Picture>& pictures, int64_t across = 0);  // atomic

}  // namespace examples
