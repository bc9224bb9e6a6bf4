#include "examples/common/evaluation.h"

#include "examples/common/workers.h"

namespace examples {

using namespace norma;

// Along one axis of x, what f says is at place i, for each i.
template <class F>
static Tensor rearranged(const Tensor& x, int64_t axis, F&& f) {
  const Tensor places({x.dim(axis)}, i64);
  for (int64_t i = 0; i < x.dim(axis); ++i) places.mutable_data<int64_t>()[i] = f(i);
  return index_select(x, axis, places.to(x.device()));
}

Tensor mirrored(const Tensor& x) {
  return rearranged(x, 2, [width = x.dim(2)](int64_t i) { return width - 1 - i; });
}

Tensor shifted(const Tensor& x, int64_t by) {
  check(std::min(x.dim(1), x.dim(2)) > std::abs(by), "shifted", "by {} pixels: {}", by, x.shape());
  const auto along = [by](const Tensor& t, int64_t axis) {
    return rearranged(t, axis, [by, n = t.dim(axis)](int64_t i) {
      const int64_t from = std::abs(i - by);
      return from < n ? from : 2 * (n - 1) - from;
    });
  };
  return along(along(x, 1), 2);
}

// The logits of the views, see evaluate(), of which `single` are those of the first.
static Tensor logits_of(nn::Module& model, const Tensor& x, const Tensor& single, int64_t views) {
  if (views == 1) return single;
  const Tensor both = (single + model(mirrored(x))) * 0.5;
  if (views == 2) return both;
  Tensor sum = both * 2;
  for (const int64_t by : {-1, 1}) sum = sum + (model(shifted(x, by)) + model(mirrored(shifted(x, by)))) * 0.5;
  return sum * 0.25;
}

Evaluation evaluate(nn::Module& model, data::DataLoader& loader, Device device, int64_t views) {
  check(views == 1 || views == 2 || views == 6, "evaluate", "by {} views: want 1, 2 or 6", views);
  const nn::EvalMode evaluation(model);
  Evaluation result{ConfusionTable(dynamic_cast<const data::ImageDataset&>(loader.dataset()).class_names)};
  for (const data::Batch& batch : loader) {
    const Tensor images = batch.images.to(device), labels = batch.labels.to(device);
    const Tensor single = model(images), logits = logits_of(model, images, single, views);
    if (batch.size() == 0) continue;  // a worker's share of a small batch
    result.loss += cross_entropy(logits, labels).item() * static_cast<double>(batch.size());
    result.table.add(batch.labels, argmax(logits, -1));
    result.single_accuracy += sum(eq(argmax(single, -1), labels).to(f64)).item();
  }
  if (Communicator* worker = loader.options().worker.worker) {
    result.table.add_workers(*worker);
    const std::vector<double> sums = sum_of_workers(*worker, {result.loss, result.single_accuracy});
    result.loss = sums[0];
    result.single_accuracy = sums[1];
  }
  for (double* total : {&result.loss, &result.single_accuracy}) *total /= static_cast<double>(loader.dataset().size());
  return result;
}

}  // namespace examples
