// A variational autoencoder (Kingma & Welling 2014).
#include <norma/norma.h>

#include "examples/ports/port.h"

using namespace norma;

struct VAE : nn::Module {
  nn::Sequential encoder = nn::Sequential(                             //
      nn::Conv2d(1, 16, 4, {.stride = 2, .padding = 1}), nn::ReLU(),   // 8 x 8 x 16
      nn::Conv2d(16, 32, 4, {.stride = 2, .padding = 1}), nn::ReLU(),  // 4 x 4 x 32
      nn::Flatten(), nn::Linear(4 * 4 * 32, 2 * 8));
  nn::Sequential decoder = nn::Sequential(  //
      nn::Linear(8, 4 * 4 * 32), nn::ReLU(),
      [](const Tensor& x) {
        return reshape(x, {-1, 4, 4, 32});
      },
      nn::ConvTranspose2d(32, 16, 4, {.stride = 2, .padding = 1}), nn::ReLU(),  // 8 x 8 x 16
      nn::ConvTranspose2d(16, 1, 4, {.stride = 2, .padding = 1}));              // 16 x 16 x 1
  NORMA_VISIT(encoder, decoder)

  std::tuple<Tensor, Tensor, Tensor> operator()(const Tensor& x, examples::Port& port) {
    const Tensor moments = encoder(x), mean = slice(moments, 1, 0, 8), log_variance = slice(moments, 1, 8, 16);
    const Tensor z = mean + exp(log_variance / 2) * port.randn(mean.shape());
    return {decoder(z), mean, log_variance};
  }
};

void examples::train(Port& port) {
  const Tensor pictures = port["pictures"];  // [N, 16, 16, 1]
  VAE model;
  port.load(model.encoder, {16, 16, 1}, "encoder.");
  port.load(model.decoder, {8}, "decoder.");
  nn::Adam optimizer(model, {.lr = 2e-3});

  for (int epoch = 0; epoch < 30; ++epoch) {
    for (const Tensor& i : port.batches(pictures.dim(0), 32)) {
      Tape tape;
      const Tensor x = index_select(pictures, 0, i);
      const auto [logits, mean, log_variance] = model(x, port);
      const Tensor reconstruction = bce_with_logits(logits, x) * (16 * 16);
      const Tensor divergence = sum(square(mean) + exp(log_variance) - 1 - log_variance) / 2 / 32;
      const Tensor loss = reconstruction + divergence;
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
      port.report({{"loss", loss}, {"divergence", divergence}});
    }
  }
}
