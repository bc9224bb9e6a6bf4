// A U-Net (Ronneberger et al. 2015) that says of each pixel what it belongs to.
#include <norma/norma.h>

#include "examples/ports/port.h"

using namespace norma;

nn::Sequential block(int64_t channels_in, int64_t channels) {
  return nn::Sequential(                                                                                           //
      nn::Conv2d(channels_in, channels, 3, {.padding = 1}, {.bias = false}), nn::BatchNorm(channels), nn::ReLU(),  //
      nn::Conv2d(channels, channels, 3, {.padding = 1}, {.bias = false}), nn::BatchNorm(channels), nn::ReLU());
}

struct UNet : nn::Module {
  explicit UNet(int64_t classes) : head(8, classes, 1) {}

  nn::Sequential down1 = block(1, 8);
  nn::Sequential down2 = block(8, 16);
  nn::Sequential bottom = block(16, 32);
  nn::ConvTranspose2d up2{32, 16, 2, {.stride = 2}};
  nn::Sequential join2 = block(32, 16);
  nn::ConvTranspose2d up1{16, 8, 2, {.stride = 2}};
  nn::Sequential join1 = block(16, 8);
  nn::Conv2d head;
  NORMA_VISIT(down1, down2, bottom, up2, join2, up1, join1, head)

  Tensor forward(const Tensor& x) override {
    const Tensor skip1 = down1(x);
    const Tensor skip2 = down2(max_pool2d(skip1, {2}));
    Tensor y = bottom(max_pool2d(skip2, {2}));
    y = join2(concat({up2(y), skip2}, -1));
    y = join1(concat({up1(y), skip1}, -1));
    return head(y);
  }
};

void examples::train(Port& port) {
  // [N, 16, 16, 1] and [N, 16, 16]: background, disc, square, 255 unknown
  const Tensor pictures = port["pictures"], masks = port["masks"];
  UNet model(3);
  port.load(model);
  nn::AdamW optimizer(model, {.lr = 2e-3});

  for (int epoch = 0; epoch < 20; ++epoch) {
    for (const Tensor& i : port.batches(128, 16)) {
      Tape tape;
      const Tensor logits = model(index_select(pictures, 0, i)), mask = index_select(masks, 0, i);
      const Tensor loss = cross_entropy(reshape(logits, {-1, 3}), reshape(mask, {-1}), {.ignore_index = 255});
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
      port.report({{"loss", loss}});
    }
  }

  model.eval();
  const Tensor predicted = argmax(model(slice(pictures, 0, 128, 192)), -1), truth = slice(masks, 0, 128, 192);
  double iou = 0;
  for (int c = 0; c < 3; ++c) {
    const Tensor is_predicted = where(ne(truth, 255), eq(predicted, c), zeros_like(eq(truth, c))).to(f32);
    const Tensor is_true = eq(truth, c).to(f32);
    iou += sum(is_predicted * is_true).item() / sum(maximum(is_predicted, is_true)).item() / 3;
  }
  port.result({{"iou", iou}});
}
