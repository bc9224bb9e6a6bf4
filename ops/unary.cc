#include "norma/ops/unary.h"

#include "norma/autograd/op.h"
#include "norma/core/strided.h"
#include "norma/ops/unary_functions.h"

namespace norma {
namespace {

Tensor apply(const char* name, Unary f, const Tensor& x, UnaryParams params = {}) {
  Op op(name);
  op.check_same({x});
  Tensor y = empty_like(x);
  kernel::unary(f, params, x, y);
  return op.record({x}, y, [f, params, saved = op.save(unary_saves_output(f) ? y : x)](const Tensor& dy, Sink& dx) {
    const auto [grad, add] = dx.into(0);
    kernel::unary_backward(f, params, dy, saved, grad, add);
  });
}

}  // namespace

Tensor neg(const Tensor& x) { return apply("neg", Unary::neg, x); }
Tensor exp(const Tensor& x) { return apply("exp", Unary::exp, x); }
Tensor log(const Tensor& x) { return apply("log", Unary::log, x); }
Tensor sqrt(const Tensor& x) { return apply("sqrt", Unary::sqrt, x); }
Tensor rsqrt(const Tensor& x) { return apply("rsqrt", Unary::rsqrt, x); }
Tensor abs(const Tensor& x) { return apply("abs", Unary::abs, x); }
Tensor square(const Tensor& x) { return apply("square", Unary::square, x); }
Tensor tanh(const Tensor& x) { return apply("tanh", Unary::tanh, x); }
Tensor sigmoid(const Tensor& x) { return apply("sigmoid", Unary::sigmoid, x); }
Tensor relu(const Tensor& x) { return apply("relu", Unary::relu, x); }
Tensor leaky_relu(const Tensor& x, double slope) { return apply("leaky_relu", Unary::leaky_relu, x, {slope, 0}); }
Tensor gelu(const Tensor& x) { return apply("gelu", Unary::gelu, x); }
Tensor gelu_tanh(const Tensor& x) { return apply("gelu_tanh", Unary::gelu_tanh, x); }
Tensor silu(const Tensor& x) { return apply("silu", Unary::silu, x); }

Tensor clamp(const Tensor& x, double low, double high) {
  check(low <= high, "clamp", "low {} is above high {}", low, high);
  return apply("clamp", Unary::clamp, x, {low, high});
}

bool unary_saves_output(Unary f) {
  bool result = false;
  unary_functions::choose<float>(f, {}, [&](auto function) { result = function.kSavesOutput; });
  return result;
}

namespace cpu {

void unary(Unary f, UnaryParams params, const Tensor& x, const Tensor& y) {
  dispatch_floating("unary", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const StridedLoop<2> loop(x.shape(), {x.strides(), y.strides()});
    unary_functions::choose<T>(f, params, [&](auto function) {
      loop([&](auto at, int64_t n) {
        const T* from = in + at[0];
        T* to = out + at[1];
        if (loop.inner[0] == 1) {
          for (int64_t i = 0; i < n; ++i) to[i] = function.f(from[i]);
        } else {
          for (int64_t i = 0; i < n; ++i) to[i] = function.f(from[i * loop.inner[0]]);
        }
      });
    });
  });
}

void unary_backward(Unary f, UnaryParams params, const Tensor& dy, const Tensor& saved, const Tensor& dx, bool add) {
  dispatch_floating("unary", dx.dtype(), [&]<class T>() {
    const T *d = dy.data<T>(), *s = saved.data<T>();
    T* out = dx.mutable_data<T>();
    const StridedLoop<3> loop(dx.shape(), {dy.strides(), saved.strides(), dx.strides()});
    unary_functions::choose<T>(f, params, [&](auto function) {
      loop([&](auto at, int64_t n) {
        const auto [step_d, step_s, _] = loop.inner;
        const T *from_d = d + at[0], *from_s = s + at[1];
        T* to = out + at[2];
        for (int64_t i = 0; i < n; ++i) {
          const T value = from_d[i * step_d] * function.df(from_s[i * step_s]);
          to[i] = add ? to[i] + value : value;
        }
      });
    });
  });
}

}  // namespace cpu
}  // namespace norma
