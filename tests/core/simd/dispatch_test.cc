#include "norma/core/simd/dispatch.h"

#include <array>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

// The levels that are built and that this CPU has come first; those above are refused, as are other names.
TEST(SimdLevel, NamesWhatCanRun) {
  constexpr std::array names = {"base", "avx2", "avx512"};
  const cpu::SimdLevel before = cpu::simd_level();
  bool refused = false;
  for (size_t level = 0; level < names.size(); ++level) {
    try {
      cpu::set_simd_level(cpu::simd_level(names[level]));
      EXPECT_FALSE(refused) << names[level];
      EXPECT_EQ(static_cast<size_t>(cpu::simd_level()), level);
    } catch (const Error& error) {
      refused = true;
      expect_error([&] { cpu::simd_level(names[level]); }, fmt::format("this CPU or this build goes up to '{}'",
                                                                       names[static_cast<size_t>(cpu::simd_level())]));
    }
  }
  cpu::set_simd_level(before);
  for (const char* name : {"mmx", "", "AVX2"})
    expect_error([&] { cpu::simd_level(name); },
                 fmt::format("[simd] NORMA_SIMD is '{}', wants one of base, avx2, avx512", name));
}

}  // namespace
}  // namespace norma
