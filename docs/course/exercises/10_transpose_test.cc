#include <10_transpose.h>

#include "check.h"

int main() {
  return run_checks([] {
    struct Case {
      size_t rows, columns;
    };
    for (const auto [rows, columns] : {Case{1040, 528}, Case{528, 1040}, Case{1000, 37}, Case{3, 5}, Case{1, 1}}) {
      Cache cache;
      Array x(cache, rows * columns), y(cache, rows * columns);
      for (size_t i = 0; i < rows * columns; ++i) x.values()[i] = static_cast<float>(i);
      transpose(x, y, rows, columns);
      bool right = true;
      for (size_t r = 0; r < rows; ++r)
        for (size_t c = 0; c < columns; ++c) right = right && y.values()[c * rows + r] == x.values()[r * columns + c];
      const auto least = static_cast<double>(2 * rows * columns) / 16;
      std::printf("[%zu, %zu]: %ld lines fetched, %.0f at least\n", rows, columns, static_cast<long>(cache.misses()),
                  least);
      expect(right, "each number is in its place");
      expect(x.reads == static_cast<int64_t>(rows * columns) && y.writes == x.reads, "each is read and written once");
      if (columns % 16 == 0)
        expect(static_cast<double>(cache.misses()) < 1.1 * least, "at most a tenth more lines than that");
    }
  });
}
