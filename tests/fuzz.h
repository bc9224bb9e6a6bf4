// Fuzzing: parsers of files from outside, fed with mutated files: each must throw norma::Error or succeed, and not
// allocate more than a file of that size can hold. Reproducible: mutation i is a function of i. Test support only.
#pragma once

#include "tests/files.h"
#include "tests/golden.h"

namespace norma::test {

inline constexpr int kMutations = 100'000;

inline void mutate(Bytes& file, Generator& random) {
  const auto place = [&](size_t room = 0) {
    return static_cast<size_t>(random.below(static_cast<int64_t>(file.size() + room)));
  };
  for (int64_t i = random.below(3); i >= 0; --i) {
    if (file.empty()) return;
    const size_t at = place();
    switch (random.below(8)) {
      case 0: file[at] ^= static_cast<std::byte>(1 << random.below(8)); break;
      case 1: file[at] = static_cast<std::byte>(random.below(256)); break;
      case 2: file.resize(at); break;
      case 3: file.insert(file.end(), 1 + at, static_cast<std::byte>(random.below(256))); break;
      case 4: file.erase(file.begin() + static_cast<long>(at)); break;
      case 5: file.insert(file.begin() + static_cast<long>(at), static_cast<std::byte>(random.below(256))); break;
      case 6:  // a whole number of 4 or 8 bytes becomes an extreme one
        for (size_t k = at / 4 * 4, end = k + (random.uniform() < 0.5 ? 4 : 8); k < std::min(end, file.size()); ++k)
          file[k] = random.uniform() < 0.7 ? std::byte{0xFF} : std::byte{0x7F};
        break;
      default: {  // a piece is repeated elsewhere
        const size_t n = std::min<size_t>(static_cast<size_t>(1 + random.below(12)), file.size() - at);
        const Bytes piece(file.begin() + static_cast<long>(at), file.begin() + static_cast<long>(at + n));
        file.insert(file.begin() + static_cast<long>(place(1)), piece.begin(), piece.end());
      }
    }
  }
}

// Half of the mutations are made of `seeds`, half are made before `wrap`, so that they get past a checksum.
template <class Parse, class Wrap>
void fuzz(const std::vector<Bytes>& seeds, Wrap wrap, int64_t most_inflation, Parse parse, int mutations = kMutations) {
  cpu_memory().trim();
  int64_t good = 0, refused = 0;
  for (int i = 0; i < mutations; ++i) {
    Generator random(1, static_cast<uint64_t>(i));
    Bytes file = seeds[static_cast<size_t>(i / 2) % seeds.size()];
    if (i % 2 == 0) file = wrap(file);
    mutate(file, random);
    if (i % 2 == 1) file = wrap(file);
    cpu_memory().reset_peak();
    const int64_t before = cpu_memory().stats().bytes_in_use;
    try {
      parse(file);
      ++good;
    } catch (const Error&) {
      ++refused;
    } catch (const std::exception& error) {
      FAIL() << "mutation " << i << ": " << error.what();
    }
    ASSERT_LE(cpu_memory().stats().peak_bytes - before, 4096 + 2 * most_inflation * static_cast<int64_t>(file.size()))
        << "mutation " << i;
  }
  EXPECT_GT(good, mutations / 1000);  // some mutations do no harm: else the parser were never past its first check
  EXPECT_GT(refused, mutations / 4);
  ::testing::Test::RecordProperty("accepted", static_cast<int>(good));
}

}  // namespace norma::test
