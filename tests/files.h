// Makes IDX and CIFAR files, and folders that live as long as a test. Test support only.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "norma/core/file.h"
#include "norma/core/tensor.h"

namespace norma::test {

using Bytes = std::vector<std::byte>;

inline void put32(Bytes& to, uint32_t value, bool big_endian = true) {
  for (int i = 0; i < 4; ++i) to.push_back(static_cast<std::byte>(value >> 8 * (big_endian ? 3 - i : i)));
}

inline Bytes idx(const std::vector<uint32_t>& dims, const std::vector<uint8_t>& values) {
  Bytes file;
  put32(file, 0x0800 | static_cast<uint32_t>(dims.size()));
  for (uint32_t extent : dims) put32(file, extent);
  for (uint8_t value : values) file.push_back(std::byte{value});
  return file;
}

// CIFAR records of noise around a level that grows with the label, so that there is something to learn; labels go
// round.
inline Bytes cifar(int64_t count, int64_t classes = 10, int first_label = 0) {
  Bytes file;
  uint32_t noise = 1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t label = (i + first_label) % classes;
    if (classes == 100) file.push_back(static_cast<std::byte>(label / 5));
    file.push_back(static_cast<std::byte>(label));
    for (int k = 0; k < 3072; ++k) {
      noise = noise * 1664525 + 1013904223;
      file.push_back(static_cast<std::byte>(label * 190 / (classes - 1) + (noise >> 26)));
    }
  }
  return file;
}

// A folder that lives as long as the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = ::testing::TempDir() + "norma.XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

  void write(const std::string& name, const Bytes& bytes) const {
    write_file_atomic(*this / name, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  // A set in CIFAR-10's layout: `each` pictures in each of its six files.
  void write_cifar10(int64_t each) const {
    for (int i = 1; i <= 5; ++i) write("data_batch_" + std::string(1, char('0' + i)) + ".bin", cifar(each, 10, i));
    write("test_batch.bin", cifar(each));
  }

 private:
  std::string path_;
};

}  // namespace norma::test
