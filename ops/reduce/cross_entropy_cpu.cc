// The loops of ops/reduce/cross_entropy.h.

#include "norma/core/simd/math.h"
#include "norma/core/simd/reduce.h"
#include "norma/ops/reduce/cross_entropy.h"

NORMA_SIMD_BEGIN

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
  check(count > 0 || rows == 0, "cross_entropy", "every label is ignored: logits {}", logits.shape());
  count = std::max<int64_t>(count, 1);
  dispatch_floating("cross_entropy", logits.dtype(), [&]<class T>() {
    const T* from = logits.data<T>();
    double* log_sum = lse.mutable_data<double>();
    std::array<double, kMaxSlots> partial{};
    const double smooth = options.label_smoothing;
    parallel_ranges(rows, 1 + 1024 / classes, [&](int slot, int64_t begin, int64_t end) {
      double total = 0;
      for (int64_t i = begin; i < end; ++i) {
        const T *x = from + i * classes, top = static_cast<T>(reduce_array<Max>(classes, x));
        log_sum[i] = top + std::log(reduce_all<Sum>(classes, [=](int64_t c) { return elementary::exp(x[c] - top); }));
        if (label[i] == options.ignore_index) continue;
        // A share of 0 is none of an infinity, either.
        total += smooth < 1 ? log_sum[i] - (1 - smooth) * x[label[i]] : log_sum[i];
        if (smooth > 0) total -= smooth * reduce_array<Sum>(classes, x) / static_cast<double>(classes);
      }
      partial[slot] = total;
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
    for_rows(rows, classes, [=](int64_t i) {
      const T* x = from + i * classes;
      const double log_total = log_sum[i];
      T* out = to + i * classes;
      if (label[i] == ignored) {  // whatever is in it
        if (!add) std::fill_n(out, classes, T(0));
        return;
      }
      // For the classes in [first, last), whose part of the target is given.
      const auto write = [=](int64_t first, int64_t last, T target) {
        for (int64_t c = first; c < last; ++c) {
          const T value = scale * (elementary::exp(static_cast<T>(x[c] - log_total)) - target);
          out[c] = add ? out[c] + value : value;
        }
      };
      const int64_t at = label[i];
      write(0, at, rest);
      write(at, at + 1, rest + hit);
      write(at + 1, classes, rest);
    });
  });
}

NORMA_SIMD_END
