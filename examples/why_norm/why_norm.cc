// Why normalize: what normalization does to a network while it learns, measured at a small scale, with seeds, and
// judged by rules that were there before (examples/common/verdict.h). Each experiment is a file of its own in this
// folder; docs/why_norm.md explains them.
//
//   why_norm --list
//   why_norm depth --quick --synthetic --out runs/why     some seconds
//   why_norm all --synthetic --out runs/why               all ten, and runs/why/report.html
#include "examples/common/laboratory.h"
#include "examples/why_norm/bench.h"

int main(int argc, char** argv) {
  using namespace examples;
  using namespace examples::why_norm;
  const Study study{.name = "why_norm",
                    .description = "Measures why networks with normalization train better, at a small scale.",
                    .title = "Why normalize",
                    .about =
                        "What is said of normalization, from Ioffe &amp; Szegedy (2015, arXiv:1502.03167) to Santurkar "
                        "et al. (2018, arXiv:1805.11604), measured at a small scale",
                    .experiments = {&kActivations, &kCovariateShift, &kNoise, &kSmoothness, &kDepth, &kLearningRate,
                                    &kInputScale, &kAffine, &kBatchAndRate, &kBatchOfOne}};
  return laboratory(study, argc, argv);
}
