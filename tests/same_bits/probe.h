// What the parts of the probe share: cases, and how their results are printed. See probe.cc.
#pragma once

#include <norma/norma.h>

namespace probe {

using namespace norma;
using Inputs = std::vector<Tensor>;
using Function = std::function<Tensor(const Inputs&)>;

extern Device device;  // where everything is computed

// On the emulated CUDA device, which takes a thousand times longer, large cases are left out, and of families of cases
// (see `sampled`) all but every 7th.
bool emulated();
bool sampled();

// One line, "hash name": FNV-1a of the dtype, the shape and the elements, every NaN as one; "none" if undefined.
void print(const std::string& name, const Tensor& value);
void print(const std::string& name, const NamedTensors& values);

// Runs f, and prints "error" in the place of a result if it throws norma::Error. Some combinations are errors: that
// they are, and that they stay so, needs no table here.
void attempt(const std::string& name, const std::function<void()>& f);

// Normal values, fixed by the seed, the same in every dtype. Not to be written to.
Tensor random(const Shape& shape, uint64_t seed, DType dtype = f32);
Tensor positive(const Shape& shape, uint64_t seed);  // uniform in (0, 1)
Tensor integers(const Shape& shape, int64_t below, uint64_t seed);

struct Which {
  bool f64 = true;    // in f64 as well
  bool views = true;  // with inputs that are every second element of larger ones, too; their gradients are added to
};

// Prints f of the inputs and, where it is recorded, the gradient of each floating one under a random upstream.
void sweep(const std::string& name, const Function& f, const Inputs& inputs, const Which& which = {});

// --- The parts.
void values();       // random numbers, moving and casting
void elementwise();  // unary, binary, comparisons, where, dropout
void reductions();   // sums and the like, softmax, losses
void matrices();     // matmul, linear, indexing, concat
void convolutions();
void pools();
void norms();
void fused_norms();  // conv2d_norm, norm_max_pool
void training();     // layers, optimizers, populations
void data_sets();

}  // namespace probe
