// The loops of ops/reduce/softmax.h and ops/reduce/cross_entropy.h, along rows.
#include <array>

#include "norma/core/simd/math.h"
#include "norma/core/simd/reduce.h"
#include "norma/ops/reduce/cross_entropy.h"
#include "norma/ops/reduce/softmax.h"

NORMA_SIMD_BEGIN
namespace {

int64_t row_grain(int64_t n) { return 1 + 1024 / n; }

template <class T>
T largest(const T* x, int64_t n) {
  return static_cast<T>(fold<Max>(n, [=](int64_t i) { return x[i]; }));
}

}  // namespace

void softmax(bool log, const Tensor& x, const Tensor& y) {
  dispatch_floating("softmax", x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    const int64_t n = x.dim(-1);
    parallel_for(x.numel() / n, row_grain(n), [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* __restrict in = from + row * n;
        T* __restrict out = to + row * n;
        const T top = largest(in, n);
        for (int64_t i = 0; i < n; ++i) out[i] = elementary::exp(in[i] - top);
        const double sum = fold<Sum>(n, [=](int64_t i) { return out[i]; });
        const T shift = static_cast<T>(std::log(sum)), scale = static_cast<T>(1 / sum);
        if (log)
          for (int64_t i = 0; i < n; ++i) out[i] = in[i] - top - shift;
        else
          for (int64_t i = 0; i < n; ++i) out[i] *= scale;
      }
    });
  });
}

void softmax_backward(bool log, const Tensor& dy, const Tensor& y, const Tensor& dx, bool add) {
  dispatch_floating("softmax", dy.dtype(), [&]<class T>() {
    const T *d = dy.data<T>(), *s = y.data<T>();
    T* to = dx.mutable_data<T>();
    const int64_t n = y.dim(-1);
    parallel_for(y.numel() / n, row_grain(n), [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T *from_d = d + row * n, *from_s = s + row * n;
        T* out = to + row * n;
        const auto total = static_cast<T>(fold<Sum>(n, [=](int64_t i) { return from_d[i] * (log ? 1. : from_s[i]); }));
        for (int64_t i = 0; i < n; ++i) {
          const T value = log ? from_d[i] - elementary::exp(from_s[i]) * total : from_s[i] * (from_d[i] - total);
          out[i] = add ? out[i] + value : value;
        }
      }
    });
  });
}

void cross_entropy(const CrossEntropyOptions& options, const Tensor& logits, const Tensor& labels, const Tensor& loss,
                   const Tensor& lse, const Tensor& counted) {
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  const int64_t* label = labels.data<int64_t>();
  int64_t count = 0;
  for (int64_t i = 0; i < rows; ++i) {
    if (label[i] == options.ignore_index) continue;
    check(label[i] >= 0 && label[i] < classes, "cross_entropy", "label {} at index {} is outside of [0, {})", label[i],
          i, classes);
    ++count;
  }
  check(count > 0, "cross_entropy", "every label is ignored: logits {}", logits.shape());
  dispatch_floating("cross_entropy", logits.dtype(), [&]<class T>() {
    const T* from = logits.data<T>();
    double* log_sum = lse.mutable_data<double>();
    std::array<double, kMaxSlots> partial{};
    const double smooth = options.label_smoothing;
    parallel_ranges(rows, row_grain(classes), [&](int slot, int64_t begin, int64_t end) {
      double total = 0;
      for (int64_t i = begin; i < end; ++i) {
        const T *x = from + i * classes, top = largest(x, classes);
        log_sum[i] = top + std::log(fold<Sum>(classes, [=](int64_t c) { return elementary::exp(x[c] - top); }));
        if (label[i] == options.ignore_index) continue;
        total += log_sum[i] - (1 - smooth) * x[label[i]];
        if (smooth > 0)
          total -= smooth * fold<Sum>(classes, [=](int64_t c) { return x[c]; }) / static_cast<double>(classes);
      }
      partial[static_cast<size_t>(slot)] = total;
    });
    double total = 0;
    for (double part : partial) total += part;
    *loss.mutable_data<T>() = static_cast<T>(total / static_cast<double>(count));
    *counted.mutable_data<double>() = static_cast<double>(count);
  });
}

void cross_entropy_backward(const CrossEntropyOptions& options, const Tensor& dy, const Tensor& logits,
                            const Tensor& labels, const Tensor& lse, const Tensor& counted, const Tensor& dx,
                            bool add) {
  dispatch_floating("cross_entropy", logits.dtype(), [&]<class T>() {
    const int64_t rows = logits.dim(0), classes = logits.dim(1);
    const T* from = logits.data<T>();
    const int64_t* label = labels.data<int64_t>();
    const double* log_sum = lse.data<double>();
    T* to = dx.mutable_data<T>();
    const T scale = static_cast<T>(*dy.data<T>() / *counted.data<double>());
    const T rest = static_cast<T>(options.label_smoothing / static_cast<double>(classes));
    const T hit = static_cast<T>(1 - options.label_smoothing);
    const int64_t ignored = options.ignore_index;
    parallel_for(rows, row_grain(classes), [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const bool counts = label[i] != ignored;
        const T *x = from + i * classes, factor = counts ? scale : T(0);
        const double log_total = log_sum[i];
        T* out = to + i * classes;
        // Of the classes in [first, last), without and then with the label.
        const auto write = [=](int64_t first, int64_t last, T target) {
          for (int64_t c = first; c < last; ++c) {
            const T value = factor * (elementary::exp(static_cast<T>(x[c] - log_total)) - target);
            out[c] = add ? out[c] + value : value;
          }
        };
        const int64_t at = counts ? label[i] : 0;
        write(0, at, rest);
        write(at, at + 1, counts ? rest + hit : rest);
        write(at + 1, classes, rest);
      }
    });
  });
}

NORMA_SIMD_END
