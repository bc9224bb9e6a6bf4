// Communicator: how the workers that train one model together exchange tensors. A *worker* is a replica of the model
// with its share of every batch, on a thread of its own; the number of workers is part of an experiment, as the batch
// is. A *process* hosts one worker or several: how many processes there are is a matter of hardware, and changes no
// bit. This is the interface, and what one worker sees of the others; how they meet is in core/workers.h.
//
// All workers of a communicator call the same operations in the same order, with tensors of the same shape and dtype.
// One that calls something else, or does not come within the timeout, is an error for all.
#pragma once

#include <utility>

#include "norma/core/tensor.h"

namespace norma {

class Communicator {
 public:
  Communicator& operator=(Communicator&&) = delete;  // neither moved nor copied
  virtual ~Communicator() = default;

  virtual int rank() const = 0;  // this worker's number, in [0, size())
  virtual int size() const = 0;  // workers
  bool first() const { return rank() == 0; }
  // The part [begin, end) of n items that is this worker's: the parts of all, in the order of their ranks, are
  // [0, n), of sizes that differ by at most one. It may be empty.
  std::pair<int64_t, int64_t> share(int64_t n) const { return {n * rank() / size(), n * (rank() + 1) / size()}; }

  // Tensors of any dtype and device; CUDA's go through the host's memory.

  // x of all workers, by rank: x [...] -> [size, ...].
  virtual Tensor all_gather(const Tensor& x) = 0;
  // x, of f32, f64 or i64, becomes the sum over the workers, in place. The sums follow one binary tree over the ranks,
  // ((0 + 1) + (2 + 3)) + ..., whatever processes the workers are in.
  virtual void all_reduce(const Tensor& x) = 0;
  // x becomes that of worker `root`, in place.
  virtual void broadcast(const Tensor& x, int root = 0) = 0;
  // Returns when all workers have called it.
  void barrier() { all_gather(Tensor({0}, u8)); }
  // The workers that give the same color, in the order of their ranks. It lives as long as this communicator.
  virtual Communicator& split(int64_t color) = 0;
};

}  // namespace norma
