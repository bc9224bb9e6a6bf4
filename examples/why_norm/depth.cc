// How much gradient reaches which layer: networks of ten hidden layers at their start, and what they come to.
#include "examples/why_norm/bench.h"

namespace examples::why_norm {
namespace {

constexpr int64_t kHidden = 10;
const std::vector<std::pair<std::string, std::string>> kNorms = {
    {"none", "no norm"}, {"bn", "batch norm"}, {"ln", "layer norm"}};

Result run(Lab& lab) {
  const Recipe recipe{.epochs = 3, .batch = 64, .lr = 0.1, .constant = true};
  const data::Batch probe = first(lab, lab.train, 512);
  Result result;
  Table errors{"What they come to", "activation", "test error, %"};
  errors.bars = true;
  for (const Squash squash : {Squash::sigmoid, Squash::relu}) {
    Table lengths{fmt::format("At the start, {}", text(squash)), "layer", "length of the weight's gradient"};
    lengths.log_y = true;
    for (const uint64_t seed : lab.all_seeds())
      for (const auto& [norm, name] : kNorms) {
        Run net(lab, seed, mlp(lab, {.norm = norm, .squash = squash, .depth = kHidden}), kPlain);
        net.model.train();
        int64_t layer = 0;
        for (const Tensor& part : gradient(net.model, probe).parts)
          if (part.rank() == 2 && ++layer <= kHidden) lengths.add(layer, name, length(std::span(&part, 1)));
        train(lab, net, lab.train, recipe);
        estimate(lab, net.model, lab.train, seed);
        errors.add(text(squash), name, error(lab, net.model, lab.test));
      }
    // By how many decades the first hidden layer's gradient differs from the last one's, up or down.
    const auto uneven = [&](const std::string& name) {
      Values result_ = decades(lengths.at(kHidden, name)) - decades(lengths.at(1, name));
      for (double& v : result_) v = std::abs(v);
      return result_;
    };
    for (const char* name : {"batch norm", "layer norm"})
      result.parts.push_back(exceeds(fmt::format("{}: from the last hidden layer to the first, the gradient changes by "
                                                 "more decades without a norm than with {}",
                                                 text(squash), name),
                                     uneven("no norm"), uneven(name), 0.1, "decades"));
    result.tables.push_back(lengths);
  }
  for (const Squash squash : {Squash::sigmoid, Squash::relu})
    result.parts.push_back(
        exceeds(fmt::format("{}: without a norm, more is wrong after training than with batch norm", text(squash)),
                errors.at(text(squash), "no norm"), errors.at(text(squash), "batch norm")));
  result.tables.push_back(errors);
  return result;
}

}  // namespace

const Experiment kDepth{"depth", "Ioffe & Szegedy 2015, section 3.3", "Gradients by depth",
                        "In a deep network a norm brings gradients of about one length to all layers, and that is why "
                        "it trains.",
                        run};

}  // namespace examples::why_norm
