// What command lines say of norms: which one, where its population comes from, what evaluation uses.
#pragma once

#include <norma/norma.h>

#include <map>

namespace CLI {
class App;
}

namespace examples {

struct NormOptions {
  std::string norm = "bn", population, eval_stats = "population";  // norm: for nn::parse_norm

  void add_to(CLI::App& app);  // --norm, --population, --eval-stats
  // Puts the choices into the norms of a model. Error: options that say nothing sensible.
  void configure(norma::nn::Module& model);
  // Before an evaluation, if the population is to be precise.
  void estimate(norma::nn::Module& model, const norma::data::DataLoader& train) const;
  std::map<std::string, std::string> fingerprint() const;

 private:
  int64_t precise_samples_ = 0;
};

}  // namespace examples
