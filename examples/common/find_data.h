// Where the trainers get their pictures from, and the options that say it: a folder in MNIST's or in CIFAR's format, or
// digits that are drawn.
#pragma once

#include <initializer_list>
#include <string>

#include "norma/nn/data/dataset.h"

namespace CLI {
class App;
}

namespace examples {

struct Data {
  norma::data::ImageDataset train, test;
  std::string origin;    // to be shown: "fashion-mnist in /usr/share/datasets/fashion-mnist"
  bool mirrors = false;  // a picture's mirror image may be learned from too: of a boot, not of a digit
};

struct DataOptions {
  std::string folder{};       // may hold any format, itself or in a subfolder of a usual name
  bool synthetic = false;     // drawn digits
  int64_t limit = INT64_MAX;  // of both parts, the first so many pictures

  void add_to(CLI::App& app);  // --data, --synthetic, --limit
};

enum class DataFormat { mnist, cifar10, cifar100 };

// From the folder if one is given, whatever its format. Else the first data set of a format that is `wanted`, in that
// order, in $NORMA_DATA, itself or its subfolders mnist, fashion-mnist, cifar-10-batches-bin, cifar-100-binary; for
// MNIST's format also in /usr/share/datasets/fashion-mnist (Debian's package dataset-fashion-mnist).
// Where there is none: 20,000 and 2,000 drawn digits in place of MNIST's format, and `origin` says so; without that
// among the wanted an error that says where it was looked for and how to get it.
Data find_data(const DataOptions& options, std::initializer_list<DataFormat> wanted);

}  // namespace examples
