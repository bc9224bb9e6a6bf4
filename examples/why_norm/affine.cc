// What gamma and beta give back: batch norm with both learned, and with both fixed to 1 and 0.
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

Result run(Lab& lab) {
  Table errors{"gamma and beta", "activation", "test error, %"};
  errors.bars = true;
  for (const uint64_t seed : lab.all_seeds())
    for (const Squash squash : {Squash::sigmoid, Squash::relu})
      for (const bool learned : {true, false}) {
        Run net(lab, seed, mlp(lab, {.norm = "bn", .squash = squash, .affine = learned}), kPlain);
        train(lab, net, lab.train, {.epochs = lab.choose<int64_t>(6, 10), .batch = 64, .lr = 0.5});
        estimate(lab, net.model, lab.train, seed);
        errors.add(text(squash), learned ? "learned" : "fixed to 1 and 0", error(lab, net.model, lab.test));
      }
  Result result{{errors}, {}};
  for (const Squash squash : {Squash::sigmoid, Squash::relu})
    result.parts.push_back(exceeds(fmt::format("{}: fixed, the error is higher", text(squash)),
                                   errors.at(text(squash), "fixed to 1 and 0"), errors.at(text(squash), "learned")));
  return result;
}

}  // namespace

const Experiment kAffine{"affine", "Ioffe & Szegedy 2015, section 3", "Gamma and beta, learned or fixed",
                         "Normalizing takes something away from what a layer can say; gamma and beta, learned, give it "
                         "back.",
                         run};

}  // namespace examples::why_norm
