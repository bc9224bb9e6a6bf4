// A DCGAN (Radford et al. 2016).
#include <norma/norma.h>

#include "examples/ports/port.h"

using namespace norma;

void examples::train(Port& port) {
  const Tensor pictures = port["pictures"] * 2 - 1;  // [N, 16, 16, 1]

  nn::Sequential generator(                                                                //
      nn::ConvTranspose2d(16, 32, 4, {}, {.bias = false}), nn::BatchNorm(32), nn::ReLU(),  // 4 x 4 x 32
      nn::ConvTranspose2d(32, 16, 4, {.stride = 2, .padding = 1}, {.bias = false}), nn::BatchNorm(16),
      nn::ReLU(),                                                               // 8 x 8 x 16
      nn::ConvTranspose2d(16, 1, 4, {.stride = 2, .padding = 1}), nn::Tanh());  // 16 x 16 x 1
  nn::Sequential critic(                                                        //
      nn::Conv2d(1, 16, 4, {.stride = 2, .padding = 1}), nn::LeakyReLU(0.2),    // 8 x 8 x 16
      nn::Conv2d(16, 32, 4, {.stride = 2, .padding = 1}, {.bias = false}), nn::BatchNorm(32),
      nn::LeakyReLU(0.2),                    // 4 x 4 x 32
      nn::Conv2d(32, 1, 4), nn::Flatten());  // 1
  port.load(generator, {}, "generator.");
  port.load(critic, {}, "critic.");
  nn::Adam generator_optimizer(generator, {.lr = 2e-3, .beta1 = 0.5});
  nn::Adam critic_optimizer(critic, {.lr = 1e-3, .beta1 = 0.5});
  const Tensor real_label = ones({32, 1}), fake_label = zeros({32, 1});

  for (int epoch = 0; epoch < 20; ++epoch) {
    for (const Tensor& i : port.batches(pictures.dim(0), 32)) {
      Tape tape;
      const Tensor real = index_select(pictures, 0, i), fake = generator(port.randn({32, 1, 1, 16}));

      const Tensor critic_loss =
          bce_with_logits(critic(real), real_label) + bce_with_logits(critic(fake.detach()), fake_label);
      critic_optimizer.zero_grad();
      tape.backward(critic_loss);
      critic_optimizer.step();

      const Tensor generator_loss = bce_with_logits(critic(fake), real_label);
      generator_optimizer.zero_grad();
      tape.backward(generator_loss);
      generator_optimizer.step();

      const Tensor distance = mse(mean(fake, {0}), mean(pictures, {0}));  // falls as fakes get better
      port.report({{"critic", critic_loss}, {"generator", generator_loss}, {"distance", distance}});
    }
  }
}
