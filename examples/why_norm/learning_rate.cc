// The largest learning rate that still trains: a short training at each of a row of rates, by norm.
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

constexpr double kTrained = 30;  // percent of test error: what is below has trained
const std::vector<std::pair<std::string, std::string>> kNorms = {
    {"none", "no norm"}, {"bn", "batch norm"}, {"ln", "layer norm"}};

std::string rate(int exponent) { return fmt::format("{:.2g}", std::exp2(exponent)); }  // short enough for an axis

// The largest of the rates 2^e that trained, seed by seed, as e; where none did, one below the least.
Values largest(const Table& errors, const std::vector<int>& exponents, const std::string& name, int64_t seeds) {
  Values result(static_cast<size_t>(seeds), exponents.front() - 1);
  for (const int e : exponents) {
    const Values& values = errors.at(rate(e), name);
    for (size_t s = 0; s < values.size(); ++s)
      if (values[s] < kTrained) result[s] = e;
  }
  return result;
}

Result run(Lab& lab) {
  const auto exponents =
      lab.choose<std::vector<int>>({-6, -4, -2, 0, 2, 4}, {-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5});
  Result result;
  for (const Squash squash : {Squash::sigmoid, Squash::relu}) {
    Table errors{fmt::format("After a short training, {}", text(squash)), "learning rate", "test error, %", true};
    for (const uint64_t seed : lab.all_seeds())
      for (const auto& [norm, name] : kNorms)
        for (const int e : exponents) {
          Run net(lab, seed, mlp(lab, {.norm = norm, .squash = squash}), kPlain);
          train(lab, net, lab.train, {.epochs = 3, .batch = 64, .lr = std::exp2(e), .constant = true});
          estimate(lab, net.model, lab.train, seed);
          errors.add(rate(e), name, error(lab, net.model, lab.test));
        }
    for (const char* name : {"batch norm", "layer norm"})
      result.parts.push_back(exceeds(
          fmt::format("{}: the largest rate that trains is higher with {} than without a norm", text(squash), name),
          largest(errors, exponents, name, lab.seeds), largest(errors, exponents, "no norm", lab.seeds), 1,
          "doublings"));
    result.tables.push_back(errors);
  }
  return result;
}

}  // namespace

const Experiment kLearningRate{"learning_rate", "Ioffe & Szegedy 2015, section 3.3",
                               "The largest learning rate that still trains",
                               "A norm makes much larger learning rates possible.", run};

}  // namespace examples::why_norm
