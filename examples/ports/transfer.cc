// A pretrained network with a new head, which alone is trained at first; then all, the backbone more slowly.
#include <norma/norma.h>

#include "examples/ports/port.h"

using namespace norma;

struct Net : nn::Module {
  explicit Net(int64_t classes) : head(32, classes) {}

  nn::Sequential backbone = nn::Sequential(nn::Conv2d(1, 16, 3, {.padding = 1}, {.bias = false}), nn::BatchNorm(16),
                                           nn::ReLU(), nn::MaxPool2d(2),  // 8 x 8 x 16
                                           nn::Conv2d(16, 32, 3, {.padding = 1}, {.bias = false}), nn::BatchNorm(32),
                                           nn::ReLU(), nn::MaxPool2d(2),  // 4 x 4 x 32
                                           nn::Conv2d(32, 32, 3, {.padding = 1}, {.bias = false}), nn::BatchNorm(32),
                                           nn::ReLU(), nn::GlobalAvgPool());  // 32
  nn::Linear head;
  NORMA_VISIT(backbone, head)

  Tensor forward(const Tensor& x) override { return head(backbone(x)); }
};

void examples::train(Port& port) {
  const Tensor pictures = port["pictures"], labels = port["labels"];  // [N, 16, 16, 1], [N]
  Net model(2);
  port.load(model.head, {}, "head.");
  port.load(model.backbone, {}, "pretrained.backbone.");
  nn::SGD slow(model.backbone, {.lr = 0.003, .momentum = 0.9}), fast(model.head, {.lr = 0.03, .momentum = 0.9});

  for (int epoch = 0; epoch < 20; ++epoch) {
    const bool frozen = epoch < 1;
    model.backbone.train(!frozen);
    for (Tensor p : model.backbone.parameters()) p.set_requires_grad(!frozen);
    for (const Tensor& i : port.batches(128, 32)) {
      Tape tape;
      const Tensor loss = cross_entropy(model(index_select(pictures, 0, i)), index_select(labels, 0, i));
      slow.zero_grad();
      fast.zero_grad();
      tape.backward(loss);
      if (!frozen) slow.step();
      fast.step();
      port.report({{"loss", loss}});
    }
  }

  model.eval();
  const Tensor hits = eq(argmax(model(slice(pictures, 0, 128, 192)), -1), slice(labels, 0, 128, 192));
  port.result({{"accuracy", mean(hits.to(f32))}});
}
