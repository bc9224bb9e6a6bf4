#include "norma/nn/module.h"

#include <cxxabi.h>

#include <cstdlib>
#include <mutex>
#include <set>
#include <typeinfo>
#include <unordered_map>

#include "norma/autograd/op.h"

namespace norma::nn {
namespace {

std::string join(const std::string& path, const std::string& name) {
  return path.empty() || name.empty() ? path + name : path + "." + name;
}

struct Members {
  std::mutex mutex;
  std::set<const Place*, std::less<>> all;
};
Members& members() {
  static auto* const here = new Members;  // never destroyed: parameters may have static lifetime
  return *here;
}

// Calls f(path, tensor, whether it is a parameter) for each parameter and buffer that is there. Throws, before the
// first call, where a module has one in its memory that neither it lists nor another.
void for_each_tensor(Module& model, auto&& f) {
  PoolVector<std::tuple<std::string, Tensor*, bool>> all;
  std::map<const Module*, std::string> paths;
  std::map<const Module*, const void*> ends;
  model.for_each([&](const std::string& path, Module& module) {
    Visitor own;
    module.visit(own);
    for (const auto& [name, p] : own.parameters) all.emplace_back(join(path, name), p, true);
    for (const auto& [name, b] : own.buffers) all.emplace_back(join(path, name), b, false);
    for (const auto& [at, end] : own.ends) ends[at] = std::max(ends[at], end, std::less<>());
    paths.try_emplace(&module, path);
  });
  std::set<const void*> listed;
  for (const auto& [path, tensor, is_parameter] : all) listed.insert(tensor->identity());
  std::unique_lock lock(members().mutex);
  for (auto it = ends.rbegin(); it != ends.rend(); ++it) {  // inner ones before those around them
    const auto& [module, end] = *it;
    auto at = members().all.lower_bound<const void*>(module);
    for (; at != members().all.end() && std::less<>()(*at, end); ++at) {
      const Tensor& x = static_cast<const Member&>(**at);
      if (!x.defined() || listed.contains(x.identity())) continue;
      const std::string& path = paths[module];
      fail(module->type(),
           "{}holds a tensor of shape {} that visit() does not list: name the member in NORMA_VISIT, or "
           "hold it by a pointer if it is to be neither trained nor saved",
           path.empty() ? "" : fmt::format("(at '{}') ", path), x.shape());
    }
  }
  lock.unlock();
  for (const auto& [path, tensor, is_parameter] : all)
    if (tensor->defined()) f(path, *tensor, is_parameter);
}

// All parameters or all buffers; those that are tied once.
NamedTensors collect(Module& model, bool parameters) {
  NamedTensors result;
  std::set<const void*> seen;
  for_each_tensor(model, [&](const std::string& path, const Tensor& x, bool is_parameter) {
    if (is_parameter == parameters && seen.insert(x.identity()).second) result.emplace_back(path, x);
  });
  return result;
}

void convert(Module& model, auto target, bool with_buffers) {
  std::map<const void*, Tensor> converted;  // so that tied tensors stay tied
  for_each_tensor(model, [&](const std::string&, Tensor& x, bool is_parameter) {
    if (!is_parameter && !with_buffers) return;
    const Tensor there = x.to(target);
    if (there.identity() == x.identity()) return;
    const auto [found, fresh] = converted.try_emplace(x.identity(), there);
    if (fresh) {
      if (x.requires_grad()) found->second.set_requires_grad();
      if (const Tensor grad = x.grad(); grad.defined()) found->second.set_grad(grad.to(target));
    }
    x = found->second;
  });
}

}  // namespace

Place::Place() {
  const std::lock_guard lock(members().mutex);
  members().all.insert(this);
}
Place::~Place() {
  const std::lock_guard lock(members().mutex);
  members().all.erase(this);
}

std::string Visitor::next(std::string_view& names) {
  const size_t comma = std::min(names.find(','), names.size());
  std::string_view name = names.substr(0, comma);
  names.remove_prefix(std::min(comma + 1, names.size()));
  name.remove_prefix(std::min(name.find_first_not_of(" \n\t"), name.size()));
  return std::string(name.substr(0, name.find_last_not_of(" \n\t_") + 1));
}

Tensor Module::forward(const Tensor& x) {
  fail(type(), "has no forward(x) of one tensor: input {}", x.defined() ? x.shape().str() : "undefined");
}

// To find a path takes a list of all modules, so each thread remembers what it has found.
Module::Running::Running(Module& module) : root_(outermost_, outermost_ ? outermost_ : &module) {
  Module& root = *outermost_;
  const auto key = [&](const Module& m) { return uint64_t{root.serial_} << 32 | m.serial_; };
  thread_local std::unordered_map<uint64_t, const char*> paths;
  if (paths.size() > 1 << 16) paths.clear();  // most are of modules that are long gone
  const char*& own = paths[key(module)];
  if (!own)
    root.for_each([&](const std::string& path, Module& m) {
      if (const char*& found = paths[key(m)]; !found) found = Op::kept(path.empty() ? m.type() : path);
    });
  if (!own) own = Op::kept(join(running_module, module.type()));
  running_module = own;
}

Tensor Module::operator()(const Tensor& x) {
  const Running here(*this);
  const Tensor y = forward(x);
  if (!y.defined()) fail(type(), "forward returned an undefined tensor: input {}", x.defined() ? x.shape().str() : "");
  for (Observer* observer = Observer::innermost_; observer; observer = observer->here_.before)
    observer->after_(*this, x, y);
  return y;
}

NamedTensors Module::named_parameters() { return collect(*this, true); }
NamedTensors Module::named_buffers() { return collect(*this, false); }

NamedTensors Module::state_dict() {
  NamedTensors result;
  for_each_tensor(*this, [&](const std::string& path, const Tensor& x, bool) { result.emplace_back(path, x); });
  return result;
}

std::vector<Tensor> Module::parameters() {
  std::vector<Tensor> result;
  for (const auto& [_, p] : named_parameters()) result.push_back(p);
  return result;
}

void Module::for_each(const std::function<void(const std::string&, Module&)>& f, const std::string& path) {
  check(f != nullptr, "for_each", "an empty function");
  f(path, *this);
  Visitor members;
  visit(members);
  for (const auto& [name, child] : members.children) child->for_each(f, join(path, name));
}

void Module::to(Device device) { convert(*this, device, true); }

void Module::to(DType dtype) {
  check(is_floating(dtype), "to", "parameters are f32 or f64, not {}", dtype);
  convert(*this, dtype, false);
}

std::string Module::type() const {
  const char* mangled = typeid(*this).name();
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr), std::free);
  std::string name = text ? text.get() : mangled;
  const size_t parameters = name.find('<');  // those of a template may hold "::"
  const size_t scope = name.rfind("::", parameters);
  return scope == std::string::npos ? name : name.substr(scope + 2);
}

}  // namespace norma::nn
