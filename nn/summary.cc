#include "norma/nn/summary.h"

namespace norma::nn {

std::string summary(Module& model, const Shape& input) {
  const std::vector<Tensor> parameters = model.parameters();
  const Tensor like = parameters.empty() ? empty({}) : parameters[0];
  return summary(model, zeros(input, like.dtype(), like.device()));
}

std::string summary(Module& model, const std::function<void()>& pass) {
  check(pass != nullptr, "summary", "an empty function");
  const std::vector<Tensor> parameters = model.parameters();
  std::map<const Module*, std::string> outputs;
  {
    const EvalMode evaluation(model);
    const NoGrad unrecorded;
    const Observer observer([&](Module& m, const Tensor&, const Tensor& y) { outputs[&m] = y.shape().str(); });
    pass();
  }

  std::vector<std::array<std::string, 4>> rows = {{"module", "type", "output", "parameters"}};
  std::array<size_t, 4> width{};
  model.for_each([&](const std::string& path, Module& module) {
    Visitor own;
    module.visit(own);
    int64_t count = 0;
    for (const auto& [_, p] : own.parameters) count += p->defined() ? p->numel() : 0;
    rows.push_back({path.empty() ? "(model)" : path, module.type(), outputs.try_emplace(&module, "-").first->second,
                    count ? std::to_string(count) : "-"});
  });
  for (const auto& row : rows)
    for (size_t i = 0; i < 4; ++i) width[i] = std::max(width[i], row[i].size());
  std::string text;
  for (const auto& [path, type, output, count] : rows)
    text += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>{}}\n", path, width[0], type, width[1], output, width[2], count,
                        width[3]);

  int64_t total = 0, trained = 0, bytes = 0;
  for (const Tensor& p : parameters)
    total += p.numel(), trained += p.requires_grad() ? p.numel() : 0, bytes += p.bytes();
  return text + fmt::format("{} parameters, {} of them trained, {} bytes\n", total, trained, bytes);
}

}  // namespace norma::nn
