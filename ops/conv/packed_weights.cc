#include "norma/ops/conv/packed_weights.h"

namespace norma {

static std::mutex mutex;                                 // of all that follows, and of each one's forms
static auto& living = *new std::vector<PackedWeights*>;  // never destroyed: one of them may be static, too

PackedWeights::PackedWeights(const std::vector<Tensor>& weights) {
  const Scoped running(running_op, "PackedWeights");
  for (const Tensor& w : weights)
    if (w.dtype() == f32 && w.device().is_cpu() && w.is_contiguous() && w.numel() > 0)
      weights_.try_emplace(w.data<float>(), w.detach(), "PackedWeights");
  const std::lock_guard lock(mutex);
  living.push_back(this);
}

PackedWeights::~PackedWeights() {
  const std::lock_guard lock(mutex);
  std::erase(living, this);
}

int64_t PackedWeights::bytes() const {
  const std::lock_guard lock(mutex);
  int64_t sum = 0;
  for (const auto& [form, packed] : forms_) sum += packed.bytes();
  return sum;
}

Tensor PackedWeights::find(const Form& form, int64_t size, const std::function<void(float*)>& pack) {
  std::unique_lock lock(mutex);
  const auto holds = [&](const PackedWeights* one) { return one->weights_.contains(form.first); };
  const auto holder = std::find_if(living.begin(), living.end(), holds);
  if (holder == living.end()) lock.unlock();
  else if (const auto kept = (*holder)->forms_.find(form); kept != (*holder)->forms_.end()) return kept->second;
  const Tensor made({size});
  pack(made.mutable_data<float>());
  if (lock) (*holder)->forms_.emplace(form, made);
  return made;
}

}  // namespace norma
