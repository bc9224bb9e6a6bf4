// How the vectorised convolution kernels store a vector of outputs: as it is, or after the ConvEpilogue of kernels.h.
#pragma once

#include "norma/core/simd/vectors.h"
#include "norma/ops/conv/kernels.h"

NORMA_SIMD_BEGIN

// The size of a batch's images.
struct Images {
  int64_t h, w, c;
};

// Memory that is used soon, fetched into the cache in shares, between which there is work to do: that of `count` items
// from `first` on, of all that share `size` floats evenly.
template <bool write = false>
struct Prefetch {
  const float* data;
  int64_t size, first, count, all;
  const double rate = static_cast<double>(size) / static_cast<double>(std::max<int64_t>(all, 1));
  const float* from = data + static_cast<int64_t>(static_cast<double>(first) * rate);
  const int64_t amount = static_cast<int64_t>(static_cast<double>(count) * rate);

  NORMA_INLINE void operator()(int64_t share, int64_t shares) const {
    const int64_t begin = amount * share / shares;
    prefetch<write>(from + begin, amount * (share + 1) / shares - begin);
  }
};

// Stores the first n lanes or, with `add`, adds them to what is there.
NORMA_INLINE inline void write(float* to, Vec value, int64_t n, bool add) {
  if (n >= kLanes) store(to, add ? load(to) + value : value);
  else store(to, add ? load(to, n) + value : value, n);
}

// y = f(v), f the activation; of a vector or a scalar.
template <Activation::Kind kind, class P, class T>
[[gnu::always_inline]] inline P activate(P v, [[maybe_unused]] T slope) {
  if constexpr (kind == Activation::Kind::relu) return v < 0 ? P{} : v;
  else if constexpr (kind == Activation::Kind::leaky_relu) return v > 0 ? v : slope * v;
  else return v;
}

// Calls f.operator()<kind>() for the activation's kind.
template <class F>
void with_activation(const Activation& activation, F&& f) {
  switch (activation.kind) {
    case Activation::Kind::none: return f.template operator()<Activation::Kind::none>();
    case Activation::Kind::relu: return f.template operator()<Activation::Kind::relu>();
    case Activation::Kind::leaky_relu: return f.template operator()<Activation::Kind::leaky_relu>();
  }
}

// Without an epilogue. Has what an Epilogue has; `add`: y += the outputs.
struct Plain {
  const ConvEpilogue* after;
  const float* y;
  int64_t channel, n;
  bool add;

  NORMA_INLINE void operator()(float* to, Vec value) const { write(to, value, n, add); }
  void pool(float*, Vec, bool) const {}  // never called: only an epilogue pools
};

// With an epilogue. For the vector of output channels that begins at `channel`; n channels are left from there on.
// Rounds as the norm kernel does: the same bits as by two ops.
template <Activation::Kind kind, bool residual>
struct Epilogue {
  const ConvEpilogue* after;
  const float* y;
  int64_t channel, n;
  bool add;  // false
  const Vec high = get(after->high + channel), scale = get(after->scale + channel), shift = get(after->shift + channel);
  const float slope = static_cast<float>(after->activation.slope);
  const std::ptrdiff_t from_y = residual ? after->residual - y : 0;

  NORMA_INLINE void operator()(float* to, Vec value) const {
    Vec v = (value - high) * scale + shift;
    if constexpr (residual) v += get(to + from_y);
    write(to, activate<kind>(v, slope), n, false);
  }

  // The same for a max-pool: `to` becomes the larger of itself and the output, unless this is the `first` output of its
  // window. A NaN wins.
  NORMA_INLINE void pool(float* to, Vec value, bool first) const {
    const Vec v = activate<kind>((value - high) * scale + shift, slope), best = first ? v : get(to);
    write(to, ((v > best) | (v != v)) ? v : best, n, false);
  }

  NORMA_INLINE Vec get(const float* p) const { return n < kLanes ? load(p, n) : load(p); }
};

// Calls f.operator()<E>() with the Epilogue that `e` asks for, or with Plain if it is null.
template <class F>
void with_epilogue(const ConvEpilogue* e, F&& f) {
  if (!e) return f.template operator()<Plain>();
  with_activation(e->activation, [&]<Activation::Kind kind>() {
    if (e->residual) f.template operator()<Epilogue<kind, true>>();
    else f.template operator()<Epilogue<kind, false>>();
  });
}

NORMA_SIMD_END
