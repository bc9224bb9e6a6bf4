#include "examples/common/find_data.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "examples/common/digits.h"
#include "examples/common/program.h"
#include "norma/datasets/cifar.h"
#include "norma/datasets/idx.h"

namespace examples {
namespace {

using namespace norma::data;
using namespace norma::datasets;

constexpr DataFormat kFormats[] = {DataFormat::mnist, DataFormat::cifar10, DataFormat::cifar100};

bool holds(const std::string& folder, DataFormat format) {
  if (format != DataFormat::mnist) return cifar_classes(folder) == (format == DataFormat::cifar10 ? 10 : 100);
  for (const char* name : {"/train-images-idx3-ubyte", "/t10k-images-idx3-ubyte"})
    for (const char* ending : {"", ".gz"})
      if (std::filesystem::exists(folder + name + ending)) return true;
  return false;
}

// The folder itself, and its subfolders as get_data and the archives name them.
std::vector<std::string> places(const std::string& folder, DataFormat format) {
  std::vector<std::string> result = {folder};
  if (format == DataFormat::cifar10) result.push_back(folder + "/cifar-10-batches-bin");
  if (format == DataFormat::cifar100) result.push_back(folder + "/cifar-100-binary");
  if (format == DataFormat::mnist)
    for (const char* name : {"/fashion-mnist", "/mnist"}) result.push_back(folder + name);
  return result;
}

struct Found {
  std::string folder;
  DataFormat format;
};

// folder empty: nothing; `looked_in` then says where there is nothing.
Found search(const std::string& given, std::span<const DataFormat> formats, std::vector<std::string>& looked_in) {
  for (const DataFormat format : formats) {
    std::vector<std::string> folders;
    if (!given.empty()) folders = places(given, format);
    else if (const char* folder = std::getenv("NORMA_DATA"); folder && *folder) folders = places(folder, format);
    if (given.empty() && format == DataFormat::mnist) folders.push_back("/usr/share/datasets/fashion-mnist");
    for (const std::string& folder : folders) {
      if (holds(folder, format)) return {folder, format};
      if (std::find(looked_in.begin(), looked_in.end(), folder) == looked_in.end()) looked_in.push_back(folder);
    }
  }
  return {};
}

}  // namespace

void DataOptions::add_to(CLI::App& app) {
  CLI::Option* data = app.add_option("--data", folder, "folder of the data set; default: look in $NORMA_DATA");
  app.add_flag("--synthetic", synthetic, "drawn digits, without any file")->excludes(data);
  app.add_option("--limit", limit, "use the first so many pictures only, of both parts")
      ->check(at_least(1))
      ->default_str("all");
}

Data find_data(const DataOptions& options, std::initializer_list<DataFormat> wanted) {
  std::vector<std::string> looked_in;
  const std::span<const DataFormat> formats(options.folder.empty() ? std::span(wanted.begin(), wanted.size())
                                                                   : std::span(kFormats));
  const Found found = options.synthetic ? Found{} : search(options.folder, formats, looked_in);
  if (found.folder.empty()) {
    const bool draw = options.synthetic || (options.folder.empty() &&
                                            std::find(wanted.begin(), wanted.end(), DataFormat::mnist) != wanted.end());
    norma::check(draw, "find_data",
                 "no data set in {}. scripts/get_data fetches one; --data FOLDER or $NORMA_DATA says where it is",
                 looked_in.empty() ? "$NORMA_DATA, which is not set" : fmt::format("{}", fmt::join(looked_in, ", ")));
    const std::string why =
        options.synthetic ? "" : fmt::format(" (no data set in {}: see --data)", fmt::join(looked_in, ", "));
    return {draw_digits(std::min<int64_t>(options.limit, 20'000), 1),
            draw_digits(std::min<int64_t>(options.limit, 2'000), 2), "drawn digits" + why};
  }
  const auto load = [&](bool train) {
    const std::string& folder = found.folder;
    return (found.format == DataFormat::mnist ? load_mnist_folder(folder, train) : load_cifar_folder(folder, train))
        .first(options.limit);
  };
  Data data{load(true), load(false), {}};
  norma::check(data.train.images.shape().without(0) == data.test.images.shape().without(0), "find_data",
               "'{}': pictures for training are {}, those for testing {}", found.folder, data.train.images.shape(),
               data.test.images.shape());
  data.mirrors = found.format != DataFormat::mnist || data.train.class_names[0] != "0";
  data.origin = fmt::format("{} in {}", data.train.name, found.folder);
  return data;
}

}  // namespace examples
