#include "norma/ops/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "norma/autograd/op.h"
#include "norma/core/parallel.h"

namespace norma {

Tensor cross_entropy(const Tensor& x, const Tensor& indices, const CrossEntropyOptions& options) {
  Op op("cross_entropy");
  op.check_same({x});
  op.check(x.rank() == 2 && x.dim(1) > 0, "logits {} are not [N, C]: labels {}", x.shape(), indices.shape());
  op.check(indices.shape() == Shape{x.dim(0)}, "labels {} are not one for each row of logits {}", indices.shape(),
           x.shape());
  op.check(indices.dtype() == i64, "labels are {}, not i64: shape {}", indices.dtype(), indices.shape());
  op.check(indices.device() == x.device(), "logits {} are on {}, labels {} on {}", x.shape(), x.device(),
           indices.shape(), indices.device());
  op.check(options.label_smoothing >= 0 && options.label_smoothing <= 1, "label smoothing {} is outside of [0, 1]",
           options.label_smoothing);
  const Tensor logits = x.contiguous(), labels = indices.contiguous();
  const Tensor loss({}, x.dtype(), x.device()), lse({x.dim(0)}, f64, x.device()), counted({}, f64, x.device());
  kernel::cross_entropy(options, logits, labels, loss, lse, counted);
  return op.record({x}, loss,
                   [options, logits = op.save(logits), labels = op.save(labels), lse = op.save(lse),
                    counted = op.save(counted)](const Tensor& dy, Sink& dx) {
                     const auto [grad, add] = dx.into(0);
                     kernel::cross_entropy_backward(options, dy, logits, labels, lse, counted, grad, add);
                   });
}

namespace cpu {
namespace {

int64_t row_grain(int64_t classes) { return 1 + 1024 / classes; }

}  // namespace

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
    parallel_ranges(rows, row_grain(classes), [&](int slot, int64_t begin, int64_t end) {
      double total = 0;
      for (int64_t i = begin; i < end; ++i) {
        const T* x = from + i * classes;
        const T top = *std::max_element(x, x + classes);
        double sum = 0, sum_x = 0;
        for (int64_t c = 0; c < classes; ++c) {
          sum += std::exp(x[c] - top);
          sum_x += x[c];
        }
        log_sum[i] = top + std::log(sum);
        if (label[i] == options.ignore_index) continue;
        const double smooth = options.label_smoothing, mean_x = sum_x / static_cast<double>(classes);
        total += log_sum[i] - (1 - smooth) * x[label[i]] - (smooth > 0 ? smooth * mean_x : 0);
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
    parallel_for(rows, row_grain(classes), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const bool counts = label[i] != options.ignore_index;
        const T *x = from + i * classes, factor = counts ? scale : T(0);
        T* out = to + i * classes;
        for (int64_t c = 0; c < classes; ++c) {
          const T probability = std::exp(static_cast<T>(x[c] - log_sum[i]));
          const T value = factor * (probability - rest - (c == label[i] ? hit : T(0)));
          out[c] = add ? out[c] + value : value;
        }
      }
    });
  });
}

}  // namespace cpu
}  // namespace norma
