// MoCo (He et al. 2020): an encoder learns to know the other view of a picture among those of others. Batch norms see a
// few samples each; keys are shuffled before, so that these few do not give away what belongs together.
#include <norma/norma.h>

#include "examples/ports/port.h"

using namespace norma;

nn::Sequential encoder() {
  return nn::Sequential(
      nn::Conv2d(1, 16, 3, {.padding = 1}, {.bias = false}), nn::BatchNorm(16, {.normalization_batch = 8}), nn::ReLU(),
      nn::MaxPool2d(2),  // 8 x 8 x 16
      nn::Conv2d(16, 32, 3, {.padding = 1}, {.bias = false}), nn::BatchNorm(32, {.normalization_batch = 8}), nn::ReLU(),
      nn::MaxPool2d(2),  // 4 x 4 x 32
      nn::Flatten(), nn::Linear(4 * 4 * 32, 32));
}

Tensor normalize(const Tensor& x) { return x * rsqrt(sum(square(x), {1}, true)); }

void examples::train(Port& port) {
  const Tensor view1 = port["view1"], view2 = port["view2"];  // [N, 16, 16, 1]
  nn::Sequential query_encoder = encoder(), key_encoder = encoder();
  port.load(query_encoder, {16, 16, 1});
  port.load(key_encoder, {16, 16, 1});
  nn::SGD optimizer(query_encoder, {.lr = 0.03, .momentum = 0.9, .weight_decay = 1e-4});
  Tensor queue = normalize(port.randn({128, 32}));  // keys of former batches

  for (int epoch = 0; epoch < 30; ++epoch) {
    for (const Tensor& i : port.batches(view1.dim(0), 32)) {
      const Tensor shuffle = port.randperm(32);
      std::vector<int64_t> back(32);
      for (int64_t k = 0; k < 32; ++k) back[shuffle.data<int64_t>()[k]] = k;
      const Tensor shuffled = normalize(key_encoder(index_select(index_select(view2, 0, i), 0, shuffle)));
      const Tensor keys = index_select(shuffled, 0, tensor(back, {32}));

      Tape tape;
      const Tensor queries = normalize(query_encoder(index_select(view1, 0, i)));
      const Tensor logits = concat({sum(queries * keys, {1}, true), matmul(queries, transpose(queue, 0, 1))}, 1);
      const Tensor loss = cross_entropy(logits / 0.1, zeros({32}, i64));
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
      const std::vector<Tensor> key = key_encoder.parameters(), query = query_encoder.parameters();
      for (size_t p = 0; p < key.size(); ++p) {
        const NoGrad unrecorded;
        key[p].copy_from(key[p] + (query[p] - key[p]) * 0.01);
      }
      queue = slice(concat({keys, queue}, 0), 0, 0, 128);
      port.report({{"loss", loss}});
    }
  }
}
