// What the programs of this folder share: data, the same weights and random numbers as their counterparts in
// bench/peers/ports/ have, a record of the losses, and main().
//
//   build/release/examples/ports/vae                trains
//   build/release/examples/ports/vae --steps 8      stops after 8 steps
//
// All is in one file, which the program in Python has written: tests/golden/data/ports/vae.safetensors, if --data names
// no other. bench/peers/ports/port.py says what is in it. The first steps draw their random numbers from it, too, so
// that they can be compared; later ones draw their own.
#pragma once

#include <norma/norma.h>

#include <map>

namespace examples {

struct Scalar {
  Scalar(double number) : value(number) {}
  Scalar(const norma::Tensor& x) : value(x.item()) {}
  double value;
};
using Scalars = std::vector<std::pair<std::string, Scalar>>;

class Port {
 public:
  // steps: stop after so many.
  Port(const std::string& path, int64_t steps) : path_(path), file_(norma::load_safetensors(path)), steps_(steps) {}

  // Pictures as f32 in [0, 1], [N, H, W, C]; other bytes, labels say, as i64.
  norma::Tensor operator[](const std::string& name) const;

  // Loads the initial weights: of a program of several models those whose names begin with `part`. input: see
  // nn::StateOptions.
  void load(norma::nn::Module& model, const norma::Shape& input = {}, const std::string& part = "") const;

  norma::Tensor randn(const norma::Shape& shape);
  norma::Tensor randperm(int64_t n);
  // The numbers of n samples in a random order, `size` at a time: what a DataLoader that shuffles would do.
  std::vector<norma::Tensor> batches(int64_t n, int64_t size);

  void report(const Scalars& losses);  // behind each step
  void result(const Scalars& values);  // at the end
  struct Stopped {};                   // what report() throws after the last of `steps`
  // All that was reported, by name.
  const std::map<std::string, std::vector<double>>& losses() const { return losses_; }
  const std::map<std::string, double>& results() const { return results_; }

 private:
  const norma::Tensor* drawn();  // the file's next random numbers; null behind the last

  std::string path_;
  norma::TensorFile file_;
  int64_t steps_, step_ = 0, draws_ = 0;
  std::map<std::string, std::vector<double>> losses_;
  std::map<std::string, double> results_;
};

void train(Port& port);  // the program; main() in port.cc calls it

}  // namespace examples
