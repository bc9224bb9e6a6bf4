// The activation that a fused op ends in: a value, not an op (those are in ops/elementwise/unary.h).
#pragma once

#include <cstdint>

namespace norma {

struct Activation {
  enum class Kind : uint8_t { none, relu, leaky_relu };
  Kind kind = Kind::none;
  double slope = 0;  // leaky_relu, below 0
  static Activation none() { return {}; }
  static Activation relu() { return {Kind::relu}; }
  // With slope 0 it is a relu: nothing is multiplied by 0.
  static Activation leaky_relu(double slope = 0.01) {
    return slope == 0 ? relu() : Activation{Kind::leaky_relu, slope};
  }
};

}  // namespace norma
