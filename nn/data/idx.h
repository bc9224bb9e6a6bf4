// IDX files, the format of MNIST and its kin: two zero bytes, the type of the elements, the rank, the extents (32 bits
// each, big-endian), the elements. Read plain or gzipped, told apart by their first bytes; only unsigned bytes are
// read. Files are taken as hostile: an extent is checked against what the file can hold before anything is allocated.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "norma/core/tensor.h"

namespace norma::data {

// A u8 tensor of `rank` axes, none of them empty. Errors name the file and the offset in its (unzipped) content:
// another type or rank, truncation, more data than the header says, a damaged or continued gzip stream.
Tensor load_idx(const std::string& path, int rank);
Tensor parse_idx(std::span<const std::byte> bytes, int rank, const std::string& name);

}  // namespace norma::data
