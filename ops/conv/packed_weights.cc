#include "norma/ops/conv/packed_weights.h"

namespace norma {

static std::mutex mutex;  // of all that follows, and of each one's forms
static std::vector<PackedWeights*> living;

PackedWeights::PackedWeights(const std::vector<Tensor>& weights) {
  const Scoped running(running_op, "PackedWeights");
  for (const Tensor& w : weights)
    if (w.dtype() == f32 && w.device().is_cpu() && w.is_contiguous())
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

const float* PackedWeights::find(const Form& form, int64_t size, float* scratch,
                                 const std::function<void(float*)>& pack) {
  {
    const std::lock_guard lock(mutex);
    for (PackedWeights* one : living) {
      if (!one->weights_.contains(form.first)) continue;
      Tensor& kept = one->forms_[form];
      if (!kept.defined()) {
        const Tensor made({size});
        pack(made.mutable_data<float>());
        kept = made;
      }
      return kept.data<float>();
    }
  }
  return pack(scratch), scratch;
}

}  // namespace norma
