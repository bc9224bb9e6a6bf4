// A vision transformer (Dosovitskiy et al. 2021).
#include <norma/norma.h>

#include "examples/ports/port.h"

using namespace norma;

constexpr int64_t kFeatures = 32;

struct Block : nn::Module {
  nn::Norm norm1 = nn::LayerNorm(kFeatures);
  nn::MultiheadAttention attention{kFeatures, 4};
  nn::Norm norm2 = nn::LayerNorm(kFeatures);
  nn::Sequential mlp{nn::Linear(kFeatures, 4 * kFeatures), nn::GELU(), nn::Linear(4 * kFeatures, kFeatures)};
  NORMA_VISIT(norm1, attention, norm2, mlp)

  Tensor forward(const Tensor& x) override {  // [N, L, kFeatures]
    const Tensor y = x + attention(norm1(x));
    return y + mlp(norm2(y));
  }
};

struct ViT : nn::Module {
  explicit ViT(int64_t classes) : head(kFeatures, classes) {}

  nn::Conv2d patches{1, kFeatures, 4, {.stride = 4}};
  nn::Parameter token{zeros({1, 1, kFeatures})};
  nn::Parameter positions{0.02 * randn({1, 17, kFeatures})};
  nn::Sequential blocks{Block(), Block()};
  nn::Norm norm = nn::LayerNorm(kFeatures);
  nn::Linear head;
  NORMA_VISIT(patches, token, positions, blocks, norm, head)

  Tensor forward(const Tensor& x) override {
    Tensor y = reshape(patches(x), {x.dim(0), 16, kFeatures});
    y = concat({expand(token, {x.dim(0), 1, kFeatures}), y}, 1) + positions;
    return head(squeeze(slice(norm(blocks(y)), 1, 0, 1), 1));
  }
};

void examples::train(Port& port) {
  const Tensor pictures = port["pictures"], labels = port["labels"];  // [N, 16, 16, 1], [N]
  ViT model(4);
  port.load(model, {16, 16, 1});
  nn::AdamW optimizer(model, {.weight_decay = 0.05});
  const nn::OneCycleLR schedule{.max_lr = 2e-3, .steps = 160};

  for (int epoch = 0, step = 0; epoch < 20; ++epoch) {
    for (const Tensor& i : port.batches(256, 32)) {
      Tape tape;
      const Tensor logits = model(index_select(pictures, 0, i));
      const Tensor loss = cross_entropy(logits, index_select(labels, 0, i), {.label_smoothing = 0.1});
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.set_lr(schedule(step++));
      optimizer.step();
      port.report({{"loss", loss}});
    }
  }

  model.eval();
  const Tensor hits = eq(argmax(model(slice(pictures, 0, 256, 320)), -1), slice(labels, 0, 256, 320));
  port.result({{"accuracy", mean(hits.to(f32))}});
}
