#include "examples/common/evaluation.h"

#include "examples/common/workers.h"

namespace examples {

using namespace norma;

Tensor mirrored(const Tensor& x) {
  const int64_t width = x.dim(2);
  const Tensor columns({width}, i64);
  for (int64_t i = 0; i < width; ++i) columns.mutable_data<int64_t>()[i] = width - 1 - i;
  return index_select(x, 2, columns.to(x.device()));
}

Evaluation evaluate(nn::Module& model, data::DataLoader& loader, Device device, bool flips) {
  const nn::EvalMode evaluation(model);
  Evaluation result{ConfusionTable(dynamic_cast<const data::ImageDataset&>(loader.dataset()).class_names)};
  for (const data::Batch& batch : loader) {
    const Tensor images = batch.images.to(device), labels = batch.labels.to(device);
    const Tensor logits = flips ? (model(images) + model(mirrored(images))) * 0.5 : model(images);
    if (batch.size() == 0) continue;  // a worker's share of a small batch
    result.loss += cross_entropy(logits, labels).item() * static_cast<double>(batch.size());
    result.table.add(batch.labels, argmax(logits, -1));
  }
  if (Communicator* worker = loader.options().worker.worker) {
    result.table.add_workers(*worker);
    result.loss = sum_of_workers(*worker, {result.loss})[0];
  }
  result.loss /= static_cast<double>(loader.dataset().size());
  return result;
}

}  // namespace examples
