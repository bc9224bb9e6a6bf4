#include <08_divide.h>

#include "check.h"

// Whether the ids are a division of n samples into sets whose sizes differ by at most one.
bool even(const std::vector<int64_t>& ids, int64_t n, int64_t sets) {
  std::vector<int64_t> size(static_cast<size_t>(sets));
  for (const int64_t id : ids) {
    if (id < 0 || id >= sets) return false;
    ++size[static_cast<size_t>(id)];
  }
  const auto [least, most] = std::minmax_element(size.begin(), size.end());
  return static_cast<int64_t>(ids.size()) == n && *most - *least <= 1;
}

int main() {
  return run_checks([] {
    std::mt19937 random(1);
    expect(even(divide(128, 16, random), 128, 8), "128 samples by 16: 8 sets of 16");
    expect(even(divide(130, 16, random), 130, 8), "130 samples by 16: 8 sets of 16 and 17");
    expect(even(divide(5, 16, random), 5, 1), "5 samples by 16: one set");

    // How often are samples 0 and 1 together, or 0 and 64? Of 128 samples in sets of 16, each two are in 15 of 127
    // draws.
    int neighbours = 0, far = 0;
    for (int draw = 0; draw < 4000; ++draw) {
      const std::vector<int64_t> ids = divide(128, 16, random);
      neighbours += ids[0] == ids[1];
      far += ids[0] == ids[64];
    }
    expect_close(neighbours / 4000., 15 / 127., 0.02, "neighbours are together as often as any two samples");
    expect_close(far / 4000., 15 / 127., 0.02, "and samples far apart, too");
  });
}
