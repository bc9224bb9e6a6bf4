// Measures the claims of Wu & Johnson, "Rethinking 'Batch' in BatchNorm" (2021, arXiv:2105.07576), again: at a small
// scale, with seeds, and judged by rules that were there before (verdict.h). Each experiment is a file of its own in
// this folder; docs/rethinking_batch.md explains them.
//
//   rethinking_batch --list
//   rethinking_batch leakage --quick --out runs/rb     a minute or two
//   rethinking_batch all --out runs/rb                 all ten, and runs/rb/report.html
//   rethinking_batch all --out runs/rb --resume        goes on where that was stopped
#include "examples/common/laboratory.h"
#include "examples/rethinking_batch/experiments.h"

int main(int argc, char** argv) {
  using namespace examples;
  const Study study{
      .name = "rethinking_batch",
      .description = "Measures the claims of \"Rethinking 'Batch' in BatchNorm\" again, at a small scale.",
      .title = "Rethinking &ldquo;batch&rdquo;",
      .about =
          "Claims of Wu &amp; Johnson, <i>Rethinking \"Batch\" in BatchNorm</i> (2021, arXiv:2105.07576), measured "
          "again at a small scale",
      .experiments = {&kPopulation, &kSamples, &kAccumulation, &kBatchSize, &kMinibatchEval, &kFrozen, &kDomainShift,
                      &kMultiDomain, &kLeakage, &kSmallBatch}};
  return laboratory(study, argc, argv);
}
