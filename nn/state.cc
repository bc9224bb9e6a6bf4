#include "norma/nn/state.h"

#include "norma/nn/layers.h"
#include "norma/ops/shape/index.h"

namespace norma::nn {
namespace {

// Puts tensors into the order of the other layout. For that it finds the parameters one of whose axes runs over the
// pixels and channels of an image.
class Converter {
 public:
  Converter(Module& model, const StateOptions& options) {
    const Shape& input = options.input;
    const NamedTensors parameters = model.named_parameters();
    bool matrices = false, images = false;
    for (const auto& [_, p] : parameters) matrices |= p.rank() == 2, images |= p.rank() == 4;
    model.for_each([&](const std::string& path, Module& m) {
      images |= dynamic_cast<Flatten*>(&m) != nullptr;
      if (auto* norm = dynamic_cast<Norm*>(&m)) norms_[path] = norm;
    });
    check(!matrices || !images || input.rank() > 0, "state",
          "Layout::torch wants StateOptions::input, the shape [H, W, C] of a sample, to find the Linears of this model "
          "that read a flattened image");
    if (!matrices || input.rank() == 0) return;

    struct Frozen {  // The tape sees only what requires grad: frozen parameters do, for this pass.
      std::vector<Tensor> parameters;
      ~Frozen() {
        for (Tensor& p : parameters) p.set_requires_grad(false);
      }
    } frozen;
    for (auto [_, p] : parameters)
      if (!p.requires_grad()) frozen.parameters.push_back(p.set_requires_grad());

    const EvalMode evaluation(model);
    const Tape tape;
    const Tensor& like = parameters[0].second;
    model(unsqueeze(zeros(input, like.dtype(), like.device()), 0).set_requires_grad());
    check(!tape.entries().empty(), "state", "Layout::torch records a forward pass, which does not go under NoGrad");
    for (const auto& [name, p] : parameters) leaves_[tape.leaf_id(p)] = {name, p.identity()};
    leaves_.erase(-1);  // those that the pass did not use
    for (const auto& [name, p] : parameters)
      if (const auto of = options.features.find(name); of != options.features.end())
        images_[1][p.identity()] = of->second;
    check(images_[1].size() == options.features.size(), "state", "StateOptions::features names what is no parameter");

    Marks made, wanted;  // values that were an image, and values that become one
    for (const Tape::Entry& e : tape.entries())
      for (const Tape::Value& x : e.inputs) follow(e, x, e.outputs[0], made, 1);
    for (auto e = tape.entries().rbegin(); e != tape.entries().rend(); ++e)
      for (const Tape::Value& x : e->inputs)
        if (x.id >= 0 && !made.contains(x.id)) follow(*e, e->outputs[0], x, wanted, 0);
  }

  // x in the other layout's order. `owner` is the model's tensor that x belongs to.
  Tensor convert(const Tensor& owner, Tensor x, bool to_torch) const {
    if (x.rank() == 4) x = view::permute(x, to_torch ? Shape{0, 3, 1, 2} : Shape{0, 2, 3, 1});
    for (int axis = 0; axis < 2; ++axis) {
      const auto found = images_[axis].find(owner.identity());
      if (found == images_[axis].end()) continue;
      std::vector<Tensor> order;  // the places that the features come from
      int64_t at = 0;
      for (const Shape& image : found->second) {
        const Shape hwc = image.rank() == 3 ? image : Shape{1, 1, image.numel()};
        const Tensor from = view::reshape(arange(at, at + hwc.numel()), to_torch ? hwc : Shape{hwc[2], hwc[0], hwc[1]});
        order.push_back(view::reshape(view::permute(from, to_torch ? Shape{2, 0, 1} : Shape{1, 2, 0}), {-1}));
        at += hwc.numel();
      }
      check(at == x.dim(axis), "state", "StateOptions::features: {} of {} in all", at, x.shape());
      x = index_select(x, axis, concat(order, 0).to(x.device()));
    }
    return x;
  }

 private:
  using Marks = std::map<int64_t, Shape>;  // value -> the [H, W, C] its features are; rank 0: in no known order

  // One entry, from its value `x` to its value `y`, along the flow or against it: the order of x's features is that of
  // y's too, or the entry is a linear op and the order that of its weight's axis `axis`.
  void follow(const Tape::Entry& entry, const Tape::Value& x, const Tape::Value& y, Marks& marks, int axis) {
    if (x.shape.rank() == 4 && y.shape == Shape{x.shape[0], x.shape.without(0).numel()}) {
      const Shape image = x.shape.without(0);
      if (image[2] > 1 && image[0] * image[1] > 1) marks[y.id] = image;  // else both orders are the same
      return;
    }
    const auto mark = marks.find(x.id);
    if (mark == marks.end()) return;
    const bool linear = std::string_view(entry.op) == "linear";
    const auto norm = norms_.find(entry.module);
    if (norm != norms_.end() && mark->second.rank() == 3 && norm->second->grouping.channels.count <= 1) {
      const Norm& n = *norm->second;
      for (const Tensor& of : std::initializer_list<Tensor>{n.weight, n.bias, n.running_mean, n.running_var})
        if (of.defined() && of.shape().back() == mark->second.numel())
          images_[of.rank() - 1][of.identity()] = {mark->second};
      marks[y.id] = mark->second;
      return;
    }
    for (size_t i = 0; i < entry.inputs.size(); ++i) {
      const auto leaf = leaves_.find(entry.inputs[i].id);
      const bool known = leaf != leaves_.end(), weight = linear && i == 1;
      if (!known && !weight) continue;
      if (known && weight && axis == 1 && images_[1].contains(leaf->second.second)) return;
      check(known && linear && mark->second.rank() == 3, "state",
            "Layout::torch cannot tell how PyTorch orders {}: op '{}' uses it on a flattened image",
            known ? "parameter '" + leaf->second.first + "'" : "a weight that is no parameter", entry.op);
      if (weight || axis == 0) images_[axis][leaf->second.second] = {mark->second};
    }
    if (!linear) marks[y.id] = y.shape == x.shape ? mark->second : Shape{};
  }

  std::map<int64_t, std::pair<std::string, const void*>> leaves_;  // value -> a parameter's name and identity
  std::map<std::string, Norm*> norms_;                             // by path
  std::map<const void*, std::vector<Shape>> images_[2];            // identity -> what its axis 0, 1 runs over
};

// A NaN is as another.
bool same_values(const Tensor& a, const Tensor& b) {
  return std::ranges::equal(a.to_vector<double>(), b.to_vector<double>(),
                            [](double u, double v) { return u == v || (u != u && v != v); });
}

}  // namespace

void assign(std::string_view op, std::string_view owner, const NamedTensors& targets, const NamedTensors& values,
            bool exact) {
  std::map<std::string, Tensor> rest(values.begin(), values.end());
  std::vector<Tensor> found;  // for each target
  std::map<const void*, size_t> tied;
  std::string problems;
  for (const auto& [name, target] : targets) {
    const auto node = rest.extract(name);
    const Tensor value = found.emplace_back(node ? node.mapped() : Tensor());
    if (!node) {
      problems += fmt::format("\n  missing: {} {}", name, target.shape());
    } else if (value.shape() != target.shape()) {
      problems += fmt::format("\n  {}: shape {}, {} has {}", name, value.shape(), owner, target.shape());
    } else if (value.dtype() != target.dtype() && (exact || !value.is_floating() || !target.is_floating())) {
      problems += fmt::format("\n  {}: {}, {} has {}", name, value.dtype(), owner, target.dtype());
    } else if (const Storage& s = *target.storage(); s.pinned()) {
      problems += fmt::format("\n  {}: saved by PackedWeights or a pending tape entry ('{}')", name, s.pinned_by());
    } else if (const auto [first, fresh] = tied.try_emplace(target.identity(), found.size() - 1);
               !fresh && !same_values(value, found[first->second])) {
      problems +=
          fmt::format("\n  {}: tied to {} in {}, of another value here", name, targets[first->second].first, owner);
    }
  }
  for (const auto& [name, value] : rest) problems += fmt::format("\n  unknown: {} {}", name, value.shape());
  check(problems.empty(), op, "does not fit {}:{}", owner, problems);
  for (size_t i = 0; i < targets.size(); ++i) targets[i].second.copy_from(found[i]);
}

void save(Module& model, const std::string& path, const StateOptions& options) {
  NamedTensors state = model.state_dict();
  if (options.layout == Layout::norma) return save_safetensors(path, state, {{"layout", "norma"}});
  const Converter converter(model, options);
  for (auto& [_, x] : state) x = converter.convert(x, x, true).to(x.dtype() == f64 ? f32 : x.dtype());
  save_safetensors(path, state, {{"format", "pt"}});
}

Rename::Rename(std::initializer_list<std::pair<const std::string, std::string>> names)
    : function([names = std::map(names)](const std::string& name) {
        return names.contains(name) ? names.at(name) : name;
      }) {}

std::string LoadResult::str() const {
  return fmt::format("loaded: {}\nleft: {}\nmissing: {}", fmt::join(loaded, ", "), fmt::join(left, ", "),
                     fmt::join(missing, ", "));
}

LoadResult load(Module& model, const std::string& path, const StateOptions& options) {
  TensorFile file = load_safetensors(path);
  const std::string op = fmt::format("load '{}'", path);
  const bool torch = options.layout == Layout::torch, own = file.metadata["layout"] == "norma";
  check(!torch || !own, op, "the file is in norma's own layout, not in PyTorch's");
  check(torch || own, op,
        "the file's metadata do not say \"layout\": \"norma\"; if PyTorch wrote it: {{.layout = Layout::torch}}");

  LoadResult result;
  NamedTensors targets = model.state_dict(), values;
  std::map<std::string, std::string> origins;  // for each of the model's names, the file's
  for (const auto& [name, x] : targets) origins[name];
  const std::string part = file.metadata.contains("checkpoint") ? "model/" : "";
  for (const auto& [key, x] : file.tensors) {
    if (!key.starts_with(part)) continue;
    const std::string origin = key.substr(part.size());
    bool wanted = origin.starts_with(options.prefix);
    std::string name = wanted ? origin.substr(options.prefix.size()) : "";
    if (wanted && options.rename.function) name = options.rename.function(name), wanted = !name.empty();
    wanted &= options.strict || origins.contains(name);
    (wanted ? result.loaded : result.left).push_back(origin);
    if (!wanted) continue;
    check(origins[name].empty(), op, "both '{}' and '{}' become '{}'", origins[name], origin, name);
    origins[name] = origin;
    values.emplace_back(name, x);
  }
  check((options.strict && options.prefix.empty()) || !result.loaded.empty(), op,  // or assign() lists what is missing
        "it has nothing for the model under names that begin with '{}'", options.prefix);
  for (const auto& [name, _] : targets)
    if (origins[name].empty()) result.missing.push_back(name);
  if (!options.strict) std::erase_if(targets, [&](const auto& entry) { return origins[entry.first].empty(); });
  if (torch) {
    const Converter converter(model, options);
    NamedTensors read = targets;
    for (auto& [_, x] : read) x = converter.convert(x, x, true).clone();
    assign(op, "the model", read, values, false);
    values = read;
    for (size_t i = 0; i < values.size(); ++i)
      values[i].second = converter.convert(targets[i].second, read[i].second, false);
  }
  assign(op, "the model", targets, values, false);
  return result;
}

}  // namespace norma::nn
