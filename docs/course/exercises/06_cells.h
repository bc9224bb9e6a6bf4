// Exercise of lesson 6: who shares statistics with whom, as numbers of cells.
#pragma once

#include <vector>

// Samples n from 0 to 7, positions p from 0 to 5 (2 rows of 3 pixels, row by row), channels c from 0 to 3. Each
// function gives the number of the cell that an element belongs to. Any numbers below the stated count will do, as long
// as elements have the same number exactly if they share statistics.

// GAP: half of the batch and half of the channels: samples in chunks of 4, channels in 2 groups. 4 cells.
inline int chunks_and_groups(int n, int /*p*/, int c) { return n * 0 + c * 0; }

// GAP: each row of pixels by itself, for each sample and channel. 64 cells.
inline int rows_of_pixels(int /*n*/, int /*p*/, int c) { return c; }

// GAP: half instance norm: the first two channels as in instance norm, the others as in batch norm. 18 cells.
inline int half_instance(int /*n*/, int /*p*/, int c) { return c; }
