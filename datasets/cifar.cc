#include "norma/datasets/cifar.h"

#include <cstring>
#include <filesystem>

#include "norma/core/file.h"
#include "norma/core/parallel.h"

namespace norma::datasets {
namespace {

constexpr int64_t kSide = 32, kPlane = kSide * kSide, kPixels = 3 * kPlane;

int64_t record_size(int64_t classes) { return (classes == 100 ? 2 : 1) + kPixels; }

int64_t count_records(int64_t bytes, int64_t classes, const std::string& name) {
  const int64_t size = record_size(classes);
  check(bytes > 0 && bytes % size == 0, "cifar", "'{}' has {} bytes: wanted are whole records of {} (truncated?)", name,
        bytes, size);
  return bytes / size;
}

void decode(std::span<const std::byte> bytes, int64_t classes, const std::string& name, uint8_t* images,
            int64_t* labels) {
  const int64_t size = record_size(classes), n = count_records(std::ssize(bytes), classes, name);
  const uint8_t* records = reinterpret_cast<const uint8_t*>(bytes.data());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = i * size + size - kPixels - 1;
    labels[i] = records[at];
    check(labels[i] < classes, "cifar", "'{}': label {} at offset {}, there are {} classes", name, labels[i], at,
          classes);
  }
  parallel_for(n, 64, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* from = records + i * size + size - kPixels;  // [3, 32, 32]
      uint8_t* to = images + i * kPixels;                         // [32, 32, 3]
      for (int64_t p = 0; p < kPlane; ++p)
        for (int64_t c = 0; c < 3; ++c) to[3 * p + c] = from[c * kPlane + p];
    }
  });
}

struct File {
  std::string path;
  int64_t records;
};

// The files of a part, with their sizes. Without any of them: an error that names the first.
std::vector<File> files_of(const std::filesystem::path& folder, int64_t classes, bool train) {
  std::vector<std::string> names = {train ? "train.bin" : "test.bin"};
  if (classes == 10) names = {"test_batch.bin"};
  if (classes == 10 && train)
    names = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
  std::vector<File> files;
  for (const std::string& name : names) {
    const std::string path = (folder / name).string();
    check(std::filesystem::is_regular_file(path), "cifar", "no '{}' in '{}'", name, folder.string());
    files.push_back({path, count_records(static_cast<int64_t>(std::filesystem::file_size(path)), classes, path)});
  }
  return files;
}

std::vector<std::string> class_names(const std::filesystem::path& folder, int64_t classes) {
  constexpr size_t kLongest = 64 * 1024;
  const std::string path = (folder / (classes == 10 ? "batches.meta.txt" : "fine_label_names.txt")).string();
  std::vector<std::string> names;
  if (!std::filesystem::exists(path)) {
    for (int64_t c = 0; c < classes; ++c) names.push_back(std::to_string(c));
    return names;
  }
  std::string name;
  for (const std::byte byte : read_file(path, kLongest)) {
    const char letter = static_cast<char>(byte);
    if (letter != '\n') {
      if (letter > ' ' && letter < 127) name += letter;
    } else if (!name.empty()) {
      names.push_back(std::exchange(name, {}));
    }
  }
  if (!name.empty()) names.push_back(name);
  check(std::ssize(names) == classes, "cifar", "'{}' names {} classes, there are {}", path, names.size(), classes);
  return names;
}

std::string name_of(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder.lexically_normal();
  const std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
  return name == "cifar-10-batches-bin" ? "CIFAR-10" : name == "cifar-100-binary" ? "CIFAR-100" : name;
}

}  // namespace

CifarRecords parse_cifar(std::span<const std::byte> bytes, int64_t classes, const std::string& name) {
  check(classes == 10 || classes == 100, "cifar", "{} classes: there are sets of 10 and of 100", classes);
  const int64_t n = count_records(std::ssize(bytes), classes, name);
  const CifarRecords records{Tensor({n, kSide, kSide, 3}, u8), Tensor({n}, i64)};
  decode(bytes, classes, name, records.images.mutable_data<uint8_t>(), records.labels.mutable_data<int64_t>());
  return records;
}

int64_t cifar_classes(const std::string& folder) {
  const auto holds = [&](const char* name) {
    return std::filesystem::is_regular_file(std::filesystem::path(folder) / name);
  };
  if (holds("test_batch.bin") || holds("data_batch_1.bin")) return 10;
  return holds("test.bin") || holds("train.bin") ? 100 : 0;
}

data::ImageDataset load_cifar_folder(const std::string& folder, bool train) {
  const int64_t classes = cifar_classes(folder);
  check(classes > 0, "cifar", "no 'test_batch.bin' (CIFAR-10) or 'test.bin' (CIFAR-100) in '{}'", folder);
  const std::vector<File> files = files_of(folder, classes, train), others = files_of(folder, classes, !train);
  const std::vector<File>&training = train ? files : others, &test = train ? others : files;
  const int64_t each = test[0].records * 5 / std::ssize(training);  // in each training file
  int64_t n = 0;
  for (const File& file : training)
    check(file.records == each, "cifar",
          "'{}' has {} pictures where {} go with the {} of '{}': one of them is truncated", file.path, file.records,
          each, test[0].records, test[0].path);
  for (const File& file : files) n += file.records;

  data::ImageDataset dataset{name_of(folder), Tensor({n, kSide, kSide, 3}, u8), Tensor({n}, i64),
                             class_names(folder, classes)};
  uint8_t* images = dataset.images.mutable_data<uint8_t>();
  int64_t* labels = dataset.labels.mutable_data<int64_t>();
  for (const File& file : files) {
    const size_t size = static_cast<size_t>(file.records * record_size(classes));
    const std::vector<std::byte> bytes = read_file(file.path, size);
    check(bytes.size() == size, "cifar", "'{}' changes while it is read", file.path);
    decode(bytes, classes, file.path, images, labels);
    images += file.records * kPixels;
    labels += file.records;
  }
  return dataset;
}

}  // namespace norma::datasets
