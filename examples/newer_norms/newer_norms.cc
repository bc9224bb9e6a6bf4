// Measures what papers since 2020 say of norms: at a small scale, with seeds, and judged by rules that were there
// before (examples/common/verdict.h). Each experiment is a file of its own in this folder; docs/newer_norms.md explains
// them.
//
//   newer_norms --list
//   newer_norms extended --quick --out runs/newer     a minute or two
//   newer_norms all --out runs/newer                  all five, and runs/newer/report.html
#include "examples/common/laboratory.h"
#include "examples/newer_norms/experiments.h"

int main(int argc, char** argv) {
  using namespace examples;
  using namespace examples::newer_norms;
  const Study study{.name = "newer_norms",
                    .description = "Measures what papers since 2020 say of norms, at a small scale.",
                    .title = "Newer norms",
                    .about = "Claims of papers from 2020 to 2025 on norms, measured again at a small scale",
                    .experiments = {&kMixing, &kEntropy, &kExtended, &kFilterResponse, &kDynamicTanh}};
  return laboratory(study, argc, argv);
}
