// A multilayer perceptron that predicts a column of a table from the others.
#include <norma/norma.h>

#include "examples/ports/port.h"

using namespace norma;

void examples::train(Port& port) {
  const Tensor columns = port["columns"], target = port["target"];  // [N, 8], [N]
  const Tensor first = slice(columns, 0, 0, 512), known = slice(target, 0, 0, 512);
  const Tensor x = (columns - mean(first, {0})) / sqrt(var(first, {0}));
  const Tensor y = (target - mean(known)) / sqrt(var(known));

  nn::Sequential model(nn::Linear(8, 64), nn::BatchNorm(64), nn::ReLU(), nn::Dropout(0.0),   //
                       nn::Linear(64, 64), nn::BatchNorm(64), nn::ReLU(), nn::Dropout(0.0),  //
                       nn::Linear(64, 1), [](const Tensor& z) { return squeeze(z, 1); });
  port.load(model);
  nn::AdamW optimizer(model, {.lr = 5e-3, .weight_decay = 0.01});

  for (int epoch = 0; epoch < 30; ++epoch) {
    for (const Tensor& i : port.batches(512, 64)) {
      Tape tape;
      const Tensor loss = mse(model(index_select(x, 0, i)), index_select(y, 0, i));
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
      port.report({{"loss", loss}});
    }
  }

  model.eval();
  const Tensor unseen = slice(y, 0, 512, 768), error = mse(model(slice(x, 0, 512, 768)), unseen);
  port.result({{"r2", 1 - error / var(unseen)}});
}
