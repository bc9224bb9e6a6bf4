// What the vectorised convolution kernels do to a vector of outputs before they store it: see ConvEpilogue.
#pragma once

#include "norma/ops/conv2d_kernels.h"
#include "norma/ops/simd.h"

NORMA_SIMD_BEGIN

// Of one vector of output channels, the first of which is `channel`; n are left from there on. Rounds as the norm
// kernel does: the same bits as by two ops.
template <Activation::Kind kind, bool residual>
class Epilogue {
 public:
  NORMA_INLINE Epilogue(const ConvEpilogue& e, const float* y, int64_t channel, int64_t n)
      : n_(n), slope_(static_cast<float>(e.activation.slope)), from_y_(residual ? e.residual - y : 0) {
    const auto part = [&](const float* p)
                          NORMA_INLINE { return n < kLanes ? load(p + channel, n) : load(p + channel); };
    high_ = part(e.high);
    scale_ = part(e.scale);
    shift_ = part(e.shift);
  }

  NORMA_INLINE void operator()(float* to, Vec value) const {
    Vec v = (value - high_) * scale_ + shift_;
    if constexpr (residual) v += get(to + from_y_);
    put(to, activate(v));
  }

  // For a maximum: into what is there, unless this is the `first` of its window. A NaN wins.
  NORMA_INLINE void pool(float* to, Vec value, bool first) const {
    const Vec v = activate((value - high_) * scale_ + shift_), best = first ? v : get(to);
    put(to, (v > best) | (v != v) ? v : best);
  }

 private:
  NORMA_INLINE Vec get(const float* p) const { return n_ < kLanes ? load(p, n_) : load(p); }
  NORMA_INLINE void put(float* p, Vec v) const {
    if (n_ < kLanes) store(p, v, n_);
    else store(p, v);
  }
  NORMA_INLINE Vec activate(Vec v) const {
    if constexpr (kind == Activation::Kind::relu) v = v < 0 ? Vec{} : v;
    if constexpr (kind == Activation::Kind::leaky_relu) v = v > 0 ? v : slope_ * v;
    return v;
  }

  int64_t n_;
  Vec high_, scale_, shift_;
  float slope_;
  std::ptrdiff_t from_y_;
};

// Calls f.operator()<E>() with the Epilogue that is meant.
template <class F>
void with_epilogue(const ConvEpilogue& e, F&& f) {
  using Kind = Activation::Kind;
  const auto with = [&]<Kind kind>() {
    if (e.residual) f.template operator()<Epilogue<kind, true>>();
    else f.template operator()<Epilogue<kind, false>>();
  };
  if (e.activation.kind == Kind::relu) with.template operator()<Kind::relu>();
  else if (e.activation.kind == Kind::leaky_relu) with.template operator()<Kind::leaky_relu>();
  else with.template operator()<Kind::none>();
}

NORMA_SIMD_END
