#include "examples/common/find_data.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "examples/common/digits.h"
#include "examples/common/idx.h"

namespace examples {
namespace {

bool holds_mnist(const std::string& folder) {
  const std::string file = folder + "/train-images-idx3-ubyte";
  return std::filesystem::exists(file) || std::filesystem::exists(file + ".gz");
}

std::string search(std::string& looked_in) {
  std::vector<std::string> folders = {"/usr/share/datasets/fashion-mnist"};
  if (const char* folder = std::getenv("NORMA_DATA"); folder && *folder)
    for (const char* below : {"/mnist", "/fashion-mnist", ""})
      folders.insert(folders.begin(), std::string(folder) + below);
  for (const std::string& folder : folders) {
    if (holds_mnist(folder)) return folder;
    looked_in += (looked_in.empty() ? "" : ", ") + folder;
  }
  return {};
}

}  // namespace

Data find_mnist(const std::string& given, bool synthetic, int64_t limit) {
  using namespace norma::data;
  std::string looked_in;
  const std::string folder = synthetic ? "" : given.empty() ? search(looked_in) : given;
  if (folder.empty()) {
    const std::string why = synthetic ? "" : fmt::format(" (no data set in {}: see --data)", looked_in);
    return {draw_digits(std::min<int64_t>(limit, 20'000), 1), draw_digits(std::min<int64_t>(limit, 2'000), 2),
            "drawn digits" + why};
  }
  Data data{load_mnist_folder(folder, true).first(limit), load_mnist_folder(folder, false).first(limit), {}};
  norma::check(data.train.images.shape().without(0) == data.test.images.shape().without(0), "find_mnist",
               "'{}': pictures for training are {}, those for testing {}", folder, data.train.images.shape(),
               data.test.images.shape());
  data.mirrors = data.train.class_names[0] != "0";
  data.origin = fmt::format("{} in {}", data.train.name, folder);
  return data;
}

}  // namespace examples
