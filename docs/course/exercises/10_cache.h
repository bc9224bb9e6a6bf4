// A model of a first-level cache: 32 KiB, lines of 64 bytes, 64 sets of 8 lines. A line can be in one set only; there
// the line that was used longest ago makes room.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

class Cache {
 public:
  Cache() {
    for (auto& set : sets_) set.fill(~uint64_t{0});  // no line has this number
  }
  void touch(uint64_t address) {
    const uint64_t line = address / 64;
    auto& set = sets_[line % 64];
    auto at = std::find(set.begin(), set.end(), line);
    if (at == set.end()) {
      ++misses_;
      --at;  // the one that makes room
    }
    std::rotate(set.begin(), at, at + 1);
    set[0] = line;
  }
  int64_t misses() const { return misses_; }
  uint64_t place(size_t bytes) {  // of an array in the model's memory
    const uint64_t at = next_;
    next_ += (bytes + 4095) / 4096 * 4096;
    return at;
  }

 private:
  std::array<std::array<uint64_t, 8>, 64> sets_;
  int64_t misses_ = 0;
  uint64_t next_ = 0;
};

// An array of floats that counts how often its elements are read and written, and tells the cache.
class Array {
 public:
  Array(Cache& cache, size_t n, float value = 0) : cache_(cache), at_(cache.place(4 * n)), values_(n, value) {}
  float get(size_t i) const {
    ++reads;
    cache_.touch(at_ + 4 * i);
    return values_.at(i);
  }
  void set(size_t i, float value) {
    ++writes;
    cache_.touch(at_ + 4 * i);
    values_.at(i) = value;
  }
  const std::vector<float>& values() const { return values_; }  // uncounted
  std::vector<float>& values() { return values_; }
  mutable int64_t reads = 0;
  int64_t writes = 0;

 private:
  Cache& cache_;
  uint64_t at_;
  std::vector<float> values_;
};
