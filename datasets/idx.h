// MNIST's format: folders of IDX files, each two zero bytes, the type of the elements, the rank, the extents (32 bits
// each, big-endian), the elements. Read plain or gzipped, told apart by their first bytes; only unsigned bytes are
// read. Files are taken as hostile: an extent is checked against what the file can hold before anything is allocated.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "norma/nn/data/dataset.h"

namespace norma::datasets {

// A u8 tensor of `rank` axes, none of them empty. Errors name the file and the offset in its (unzipped) content:
// another type or rank, truncation, more data than the header says, a damaged or continued gzip stream.
Tensor load_idx(const std::string& path, int rank);
Tensor parse_idx(std::span<const std::byte> bytes, int rank, const std::string& name);

// Reads `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` (or `t10k-...`) from a folder; each may end in `.gz`.
// The classes are named "0" to "9", or as Fashion-MNIST's if the path says "fashion" in any case, unless names are
// given. Errors: a file that is missing or damaged, other numbers of pictures and labels, a label that has no
// class.
data::ImageDataset load_mnist_folder(const std::string& folder, bool train, std::vector<std::string> class_names = {});

}  // namespace norma::datasets
