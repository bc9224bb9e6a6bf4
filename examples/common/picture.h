// Small pictures with a word on each, shown in the terminal or written to a PNG file.
#pragma once

#include <string>
#include <vector>

#include "norma/core/tensor.h"

namespace examples {

struct Picture {
  norma::Tensor pixels;  // u8 [H, W, C]; channels are averaged for the terminal, C is 1 or 3 for a file
  std::string caption;
  bool good = true;  // green, else red
};

// Side by side as the terminal is wide. Half blocks in 24 greys on a terminal with UTF-8, else letters of ASCII.
std::string draw(const std::vector<Picture>& pictures);

// A grid of `across` columns (0: about square), each picture enlarged and in a frame of its colour; captions are left
// out. Atomic.
void write_png(const std::string& path, const std::vector<Picture>& pictures, int64_t across = 0);

}  // namespace examples
