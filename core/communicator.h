// Communicator: how the processes that train one model together exchange small vectors. An interface only; what works
// in one process passes null.
#pragma once

#include <span>

namespace norma {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Every worker gives n values and receives those of all, by rank: all.size() == n * size(). Each worker calls it the
  // same number of times, with the same n.
  virtual void all_gather(std::span<const double> own, std::span<double> all) = 0;
};

}  // namespace norma
