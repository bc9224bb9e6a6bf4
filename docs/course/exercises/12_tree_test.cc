#include <12_tree.h>

#include "check.h"

// What every process does with all that was sent: adds it up to the end.
double receive(const Sums& sums, int begin, int end) {
  const auto found = sums.find({begin, end});
  if (found != sums.end()) return found->second;
  if (end - begin == 1) return NAN;  // nobody has sent it
  const int half = middle(begin, end);
  return receive(sums, begin, half) + receive(sums, half, end);
}

int main() {
  return run_checks([] {
    const std::vector<double> four = {1e16, 1, -1e16, 1};
    expect_close(tree_sum(four, 0, 4), 0, 0, "1e16, 1, -1e16, 1 make 0 along the tree (and 1 one by one)");
    const std::vector<double> five = {1e16, 1, -1e16, 1, 3};
    expect_close(tree_sum(five, 0, 5), 3, 0, "the fifth is added last");

    bool same = true, few = true;
    for (int workers = 1; workers <= 13; ++workers) {
      std::vector<double> values;
      for (int w = 0; w < workers; ++w) values.push_back(1 / (w + 3.) * (w % 3 == 1 ? -1e3 : 1));
      const double one = tree_sum(values, 0, workers);
      for (int processes = 1; processes <= workers; ++processes) {
        Sums sent;
        for (int p = 0; p < processes; ++p)
          sums_to_send(values, workers * p / processes, workers * (p + 1) / processes, 0, workers, sent);
        same = same && receive(sent, 0, workers) == one;
        if (processes == 1) few = few && sent.size() == 1;
        if (workers == 8 && processes == 2) few = few && sent.size() == 2;
        if (workers == 5 && processes == 2) few = few && sent.size() == 3;  // 0+1, and 2+3, 4
      }
    }
    expect(same, "1 to 13 workers in any number of processes: always the bits of one process");
    expect(few, "no more is sent than necessary");
  });
}
