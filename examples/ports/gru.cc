// A GRU (Cho et al. 2014) out of Linears, which reads a sequence of tokens and says what class it has.
#include <norma/norma.h>

#include "examples/ports/port.h"

using namespace norma;

constexpr int64_t kHidden = 32;

struct GRUCell : nn::Module {
  nn::Linear of_input{16, 3 * kHidden};
  nn::Linear of_state{kHidden, 3 * kHidden};
  NORMA_VISIT(of_input, of_state)

  Tensor operator()(const Tensor& input, const Tensor& h) {
    const Tensor x = of_input(input), s = of_state(h);
    const auto gate = [](const Tensor& y, int64_t k) { return slice(y, 1, k * kHidden, (k + 1) * kHidden); };
    const Tensor r = sigmoid(gate(x, 0) + gate(s, 0)), z = sigmoid(gate(x, 1) + gate(s, 1));
    return (1 - z) * tanh(gate(x, 2) + r * gate(s, 2)) + z * h;
  }
};

struct Classifier : nn::Module {
  nn::Embedding embedding{10, 16};
  GRUCell cell;
  nn::Linear head{kHidden, 8};
  NORMA_VISIT(embedding, cell, head)

  Tensor forward(const Tensor& tokens) override {
    Tensor h = zeros({tokens.dim(0), kHidden});
    const Tensor x = embedding(tokens);
    for (int64_t t = 0; t < x.dim(1); ++t) h = cell(squeeze(slice(x, 1, t, t + 1), 1), h);
    return head(h);
  }
};

void examples::train(Port& port) {
  const Tensor tokens = port["tokens"], labels = port["labels"];  // [N, 12], [N]
  Classifier model;
  port.load(model);
  nn::Adam optimizer(model, {.lr = 5e-3});

  for (int epoch = 0; epoch < 20; ++epoch) {
    for (const Tensor& i : port.batches(896, 64)) {
      Tape tape;
      const Tensor loss = cross_entropy(model(index_select(tokens, 0, i)), index_select(labels, 0, i));
      optimizer.zero_grad();
      tape.backward(loss);
      nn::clip_grad_norm(optimizer.parameters(), 1);
      optimizer.step();
      port.report({{"loss", loss}});
    }
  }

  const Tensor hits = eq(argmax(model(slice(tokens, 0, 896, 1024)), -1), slice(labels, 0, 896, 1024));
  port.result({{"accuracy", mean(hits.to(f32))}});
}
