// The loops of ops/reduce/cross_entropy.h.

#include "norma/core/simd/math.h"
#include "norma/core/simd/reduce.h"
#include "norma/ops/reduce/cross_entropy.h"

NORMA_SIMD_BEGIN

void cross_entropy(bool nll, const CrossEntropyOptions& options, const Tensor& logits, const Tensor& labels,
                   const Tensor& loss, const Tensor& lse, const Tensor& counted) {
  const char* op = nll ? "nll" : "cross_entropy";
  dispatch_floating(op, logits.dtype(), [&]<class T>() {
    const int64_t rows = logits.dim(0), classes = logits.dim(1), ignored = options.ignore_index;
    const bool mean = options.reduction == Reduction::mean, each = options.reduction == Reduction::none;
    const int64_t* label = labels.data<int64_t>();
    const T *from = logits.data<T>(), *weight = options.weight.data_or_null<T>();
    const auto weight_of = [=](int64_t c) { return weight ? double{weight[c]} : 1; };
    double count = 0;
    for (int64_t i = 0; i < rows; ++i) {
      if (label[i] == ignored) continue;
      check(label[i] >= 0 && label[i] < classes, op, "label {} at index {} is outside of [0, {})", label[i], i,
            classes);
      count += weight_of(label[i]);
    }
    check(count != 0 || rows == 0 || !mean, op, "every label is ignored: logits {}", logits.shape());
    if (rows == 0 || !mean) count = 1;
    T* to = loss.mutable_data<T>();
    double* log_sum = lse.mutable_data<double>();
    std::array<double, kMaxSlots> partial{};
    const double smooth = options.label_smoothing;
    parallel_ranges(rows, 1 + 1024 / classes, [&](int slot, int64_t begin, int64_t end) {
      double total = 0;  // of the slot or, if each row has its loss, of the row
      for (int64_t i = begin; i < end; ++i) {
        const T *x = from + i * classes, top = nll ? T(0) : static_cast<T>(reduce_array<Max>(classes, x));
        const auto power = [=](int64_t c) { return elementary::exp(x[c] - top); };
        const double log_total = log_sum[i] = nll ? 0 : top + std::log(reduce_all<Sum>(classes, power));
        // A share of 0 is none of an infinity, either.
        if (label[i] != ignored) {
          const auto cost = [=](int64_t c) { return weight_of(c) == 0 ? 0 : weight_of(c) * (log_total - x[c]); };
          if (smooth < 1) total += (1 - smooth) * cost(label[i]);
          if (smooth > 0) total += smooth * reduce_all<Sum>(classes, cost) / static_cast<double>(classes);
        }
        if (each) to[i] = static_cast<T>(std::exchange(total, 0));
      }
      partial[slot] = total;
    });
    double total = 0;
    for (double part : partial) total += part;
    if (!each) *to = static_cast<T>(total / count);
    *counted.mutable_data<double>() = count;
  });
}

void cross_entropy_backward(bool nll, const CrossEntropyOptions& options, const Tensor& dy, const Tensor& logits,
                            const Tensor& labels, const Tensor& lse, const Tensor& counted, const Tensor& dx,
                            bool add) {
  dispatch_floating("cross_entropy", logits.dtype(), [&]<class T>() {
    const int64_t rows = logits.dim(0), classes = logits.dim(1), ignored = options.ignore_index;
    const T *from = logits.data<T>(), *weight = options.weight.data_or_null<T>(), *upstream = dy.data<T>();
    const int64_t* label = labels.data<int64_t>();
    const double* log_sum = lse.data<double>();
    T* to = dx.mutable_data<T>();
    const bool each = options.reduction == Reduction::none;
    const T shared = each ? T(0) : static_cast<T>(*upstream / *counted.data<double>());
    const T rest = static_cast<T>(options.label_smoothing / static_cast<double>(classes));
    const T hit = static_cast<T>(1 - options.label_smoothing);
    const T rests = weight ? rest * static_cast<T>(reduce_array<Sum>(classes, weight)) : T(0);
    parallel_each(rows, 1 + 1024 / classes, [=](int64_t i) {
      const int64_t at = label[i];
      const double log_total = log_sum[i];
      const T *x = from + i * classes, scale = each ? upstream[i] : shared;
      const T whole = at == ignored ? T(0) : weight ? rests + hit * weight[at] : T(1);  // the sum of the target
      T* out = to + i * classes;
      if (whole == 0) {  // whatever is in the row
        if (!add) std::fill_n(out, classes, T(0));
        return;
      }
      // For the classes in [first, last), whose part of the target is given, but for weights.
      const auto write = [=](int64_t first, int64_t last, T target) {
        const auto put = [=](int64_t c, T value) { out[c] = add ? out[c] + value : value; };
        const auto softmax = [=](int64_t c) { return elementary::exp(static_cast<T>(x[c] - log_total)); };
        const auto share = [=](int64_t c) { return weight ? weight[c] * target : target; };
        if (nll)
          for (int64_t c = first; c < last; ++c) put(c, share(c) == 0 ? T(0) : scale * -share(c));
        else if (weight)
          for (int64_t c = first; c < last; ++c) put(c, scale * (whole * softmax(c) - share(c)));
        else
          for (int64_t c = first; c < last; ++c) put(c, scale * (softmax(c) - target));
      };
      write(0, at, rest);
      write(at, at + 1, rest + hit);
      write(at + 1, classes, rest);
    });
  });
}

NORMA_SIMD_END
