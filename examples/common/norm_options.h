// What command lines say of norms: which one, where its population comes from, what evaluation uses.
#pragma once

#include <norma/norma.h>

#include <functional>
#include <map>

namespace CLI {
class App;
}

namespace examples {

// A norm by its name:
//   bn      batch norm                 ln      layer norm over the features    in    instance norm
//   bn:16   in chunks of 16 samples    gn:8    group norm, 8 groups            hin   half instance norm
//   sync    bn over all workers        sync:2  over two workers each: 0 and 1, 2 and 3, ...
//   brn     batch renorm               rms     RMS norm                        none  the activation only
//   ebn     a variance of all channels, a mean of each
//   frn     filter response norm with a threshold; the activation stands behind it
//   dyt     tanh(a x) in place of a norm            dye   erf(a x + s)
//   evo     EvoNorm-S0 of 8 groups     evo:4  of 4 groups; the activation stands behind it
//   frozen  an affine map by constants, mean 0 and variance 1
// Before any but `none` may stand "ws+": convolutions with standardized weights.
struct NormChoice {
  bool standardized = false;                               // for nn::Conv2d::standardized
  std::function<norma::nn::Norm(int64_t channels)> layer;  // without an activation
};
// Of several workers, each calls this with itself, and then no norm may outlive it; without, and for a single one, sync
// is bn. Error: anything else, with a list.
NormChoice parse_norm(std::string_view text, norma::Communicator* me = nullptr);

struct NormOptions {
  std::string norm = "bn", population, eval_stats = "population";  // norm: for parse_norm

  void add_to(CLI::App& app);  // --norm, --population, --eval-stats
  // Puts the choices into the norms of a model. Error: options that say nothing sensible.
  void configure(norma::nn::Module& model) const;
  // Before an evaluation, if the population is to be precise.
  void estimate(norma::nn::Module& model, const norma::data::DataLoader& train) const;
  std::map<std::string, std::string> fingerprint() const;

 private:
  int64_t precise_samples() const;  // 0: the population is not to be precise
};

}  // namespace examples
