// Exercise of lesson 10: the transpose of a matrix, with as few lines fetched as possible. Fill the gap.
#pragma once

#include "10_cache.h"

// y[c, r] = x[r, c]; x [rows, columns], y [columns, rows]. Whichever loop is the inner one, either x or y is walked
// through with steps of a whole row, and uses 4 bytes of each line before the line is gone. The cache of the model
// holds 512 lines, but only 8 of those whose numbers are the same modulo 64.
inline void transpose(const Array& x, Array& y, size_t rows, size_t columns) {
  // GAP: the numbers are right, the order is not.
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c) y.set(c * rows + r, x.get(r * columns + c));
}
