// Solution of exercise 10_transpose.
#pragma once

#include "10_cache.h"

// y[c, r] = x[r, c]; x [rows, columns], y [columns, rows]. Whichever loop is the inner one, either x or y is walked
// through with steps of a whole row, and uses 4 bytes of each line before the line is gone. The cache of the model
// holds 512 lines, but only 8 of those whose numbers are the same modulo 64.
inline void transpose(const Array& x, Array& y, size_t rows, size_t columns) {
  constexpr size_t line = 16;  // floats; a square of 16 x 16 is 16 lines of x and 16 of y
  for (size_t r0 = 0; r0 < rows; r0 += line)
    for (size_t c0 = 0; c0 < columns; c0 += line)
      for (size_t r = r0; r < std::min(r0 + line, rows); ++r)
        for (size_t c = c0; c < std::min(c0 + line, columns); ++c) y.set(c * rows + r, x.get(r * columns + c));
}
