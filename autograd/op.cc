#include "norma/autograd/op.h"

#include <mutex>
#include <set>
#include <unordered_map>

namespace norma {

// Tapes and storages point to names. Few threads ask for many: each remembers what it was told.
const char* Op::kept(std::string_view name) {
  static std::mutex mutex;
  static auto* const names = new std::set<std::string, std::less<>>;
  thread_local std::unordered_map<std::string_view, const char*> known;
  if (const auto found = known.find(name); found != known.end()) return found->second;
  const std::lock_guard lock(mutex);
  const std::string& kept = *names->emplace(name).first;
  return known[kept] = kept.c_str();
}

bool Op::records(std::span<const Tensor> inputs) {
  const Tape* tape = Tape::current();
  return tape && std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& x) { return tape->follows(x); });
}

void Op::check_same(std::initializer_list<Tensor> tensors, bool floating) const {
  const Tensor* first = nullptr;
  for (const Tensor& x : tensors) {
    if (!x.defined()) continue;
    check(!floating || x.is_floating(), "wants floating tensors, not {}: shape {}", x.dtype(), x.shape());
    if (!first) first = &x;
    check(x.dtype() == first->dtype(), "dtypes differ: {} of shape {} and {} of shape {}", first->dtype(),
          first->shape(), x.dtype(), x.shape());
    check(x.device() == first->device(), "devices differ: {} of shape {} and {} of shape {}", first->device(),
          first->shape(), x.device(), x.shape());
  }
}

}  // namespace norma
