// Recipes: presets of cifar's options, under the names of those who found them. What the command line says itself
// holds, on whichever side of --recipe it stands.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

namespace examples {

using Recipe = std::map<std::string, std::string>;  // options and their values

// `base` with other values for some options.
inline Recipe with(Recipe changes, const Recipe& base) {
  changes.insert(base.begin(), base.end());
  return changes;
}

inline const std::map<std::string, Recipe>& recipes() {
  // Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (2024), https://arxiv.org/abs/2404.00498; the numbers as
  // in https://github.com/KellerJordan/cifar10-airbench, which counts losses as sums over a batch, here they are means:
  // lr = 11.5 / (1 + 1 / (1 - 0.85)), and weight decay 0.0153 / 11.5.
  static const Recipe airbench94 = {{"--model", "airbench94"},
                                    {"--epochs", "9.9"},
                                    {"--batch", "1024"},
                                    {"--drop-last", "true"},
                                    {"--lr", "1.5"},
                                    {"--momentum", "0.85"},
                                    {"--nesterov", "true"},
                                    {"--weight-decay", "0.00133"},
                                    {"--decay", "all"},
                                    {"--bias-lr", "64"},
                                    {"--stem-lr", "1"},
                                    {"--stem-epochs", "3"},
                                    {"--schedule", "triangle"},
                                    {"--lookahead", "5"},
                                    {"--label-smoothing", "0.2"},
                                    {"--population", "ema:0.4"},
                                    {"--crop", "2"},
                                    {"--padding", "reflect"},
                                    {"--flip", "alternating"},
                                    {"--views", "6"},
                                    {"--eval-every", "1000"}};
  // The same with narrower groups and a little longer, also from there.
  static const Recipe airbench93 = with({{"--model", "airbench93"}, {"--epochs", "11"}}, airbench94);
  // The version with Muon for the filters, also from there. In it the Linear has other units: it begins with a
  // deviation of 1 in place of 1/28, and the logits are divided by 256 in place of 9. In units of here, its rate of
  // 0.67 for a sum over 2,000 pictures is 0.67 * 2000 * (9 / 256)^2 = 1.656 for a mean, and that of the biases, 0.053 *
  // 2000, 64 times this; the weight decay is 2e-6 * 2000 / 1.656.
  static const Recipe fast = with({{"--epochs", "8"},
                                   {"--batch", "2000"},
                                   {"--optimizer", "muon"},
                                   {"--muon-lr", "0.24"},
                                   {"--muon-momentum", "0.6"},
                                   {"--lr", "1.656"},
                                   {"--weight-decay", "0.002415"},
                                   {"--stem-lr", "64"},
                                   {"--schedule", "linear"},
                                   {"--lookahead", "0"}},
                                  airbench94);
  // He et al., "Deep Residual Learning for Image Recognition" (2016), section 4.2: 64,000 steps.
  static const Recipe he2016 = {
      {"--model", "resnet20"}, {"--epochs", "164"},        {"--batch", "128"},      {"--lr", "0.1"},
      {"--schedule", "step"},  {"--momentum", "0.9"},      {"--nesterov", "false"}, {"--weight-decay", "1e-4"},
      {"--decay", "all"},      {"--label-smoothing", "0"}, {"--crop", "4"},         {"--padding", "black"},
      {"--flip", "random"}};
  static const std::map<std::string, Recipe> all = {
      {"airbench93", airbench93}, {"airbench94", airbench94}, {"fast", fast}, {"he2016", he2016}};
  return all;
}

inline std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const auto& [name, _] : recipes()) names.push_back(name);
  return names;
}

// Gives an option a value as the command line would, unless that has given it one.
inline void set_unless_given(CLI::App& app, const std::string& option, const std::string& value) {
  CLI::Option* found = app.get_option(option);
  if (found->count() > 0) return;
  found->add_result(value);
  found->run_callback();
}

}  // namespace examples
