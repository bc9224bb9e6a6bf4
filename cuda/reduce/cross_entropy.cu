#include <limits>

#include "norma/cuda/sums.h"
#include "norma/ops/reduce/cross_entropy.h"
#include "norma/ops/reduce/reduce.h"

namespace norma::cuda {
namespace {

constexpr int64_t kFewRows = 1 << 16;  // that one block sums up
constexpr int64_t kPart = 2048;        // of a row's classes, whose gradients a warp computes

const char* name_of_op(bool nll) { return nll ? "nll" : "cross_entropy"; }

// Either `each`, the losses of rows, or losses [2, N]: the same, and what the rows count for in a mean. Labels out of
// range are reported, and count for nothing.
template <class T>
void row_losses(bool nll, const CrossEntropyOptions& options, const Tensor& logits, const Tensor& labels,
                const Tensor& lse, T* each, double* losses) {
  const int64_t rows = logits.dim(0), classes = logits.dim(1), ignored = options.ignore_index;
  const double smooth = options.label_smoothing;
  const T *from = logits.cuda_data<T>(), *weight = options.weight.data_or_null<T>();
  const int64_t* label = labels.cuda_data<int64_t>();
  double* log_sum = lse.mutable_cuda_data<double>();
  DataError* error = context().error;
  const char *op = name_of_op(nll), *what = "label";
  for_each_row(op, rows, classes, [=] __device__(int64_t row, const Lane& lane) {
    const T* x = from + row * classes;
    T top = -std::numeric_limits<T>::infinity();
    for (int64_t c = lane.index; c < classes; c += lane.count) top = Larger()(top, x[c]);
    top = reduce_row(top, lane, Larger());
    const auto sum_over_classes = [&](int degree, auto f) {
      return reduce_row(sum_of<T>(lane.index, classes, lane.count, degree, f), lane, Plus());
    };
    const double sum = sum_over_classes(1, [&](int64_t c, T by) { return std::exp(x[c] - top) * by; });
    const double weights =
        weight ? sum_over_classes(1, [&](int64_t c, T by) { return weight[c] * by; }) : static_cast<double>(classes);
    const double sum_x = sum_over_classes(weight ? 2 : 1, [&](int64_t c, T by) {
      return !weight ? Factors<T>{x[c] * by, 1} : weight[c] == 0 ? Factors<T>{} : Factors<T>{weight[c] * by, x[c] * by};
    });
    if (lane.index != 0) return;
    const double lse_of_row = nll ? 0 : top + std::log(sum), mean_x = sum_x / static_cast<double>(classes);
    const int64_t hit = label[row];
    const bool valid = hit >= 0 && hit < classes, counts = valid && hit != ignored;
    if (!valid && hit != ignored) report(error, op, what, hit, row, classes);
    const double share = !counts ? 0 : weight ? weight[hit] : 1, mean_weight = weights / static_cast<double>(classes);
    double loss = 0;
    if (counts && !weight)
      loss = lse_of_row - (smooth < 1 ? (1 - smooth) * x[hit] : 0) - (smooth > 0 ? smooth * mean_x : 0);
    if (smooth < 1 && weight && share != 0) loss += (1 - smooth) * (share * (lse_of_row - x[hit]));
    if (smooth > 0 && weight && counts && weights != 0) loss += smooth * (mean_weight * lse_of_row - mean_x);
    log_sum[row] = lse_of_row;
    if (each) each[row] = static_cast<T>(loss);
    if (!losses) return;
    losses[row] = loss;
    losses[rows + row] = share;
  });
}

// One block, so that the sum has one order.
template <class T>
__global__ void total_kernel(int64_t rows, bool mean, const double* losses, T* loss, double* counted, DataError* error,
                             const char* op, const char* what) {
  double sum = 0, count = 0;
  for (int64_t i = threadIdx.x; i < rows; i += blockDim.x) {
    sum += losses[i];
    count += losses[rows + i];
  }
  sum = reduce_block(sum, 1, Plus());
  count = reduce_block(count, 1, Plus());
  if (threadIdx.x != 0) return;
  if (mean && count == 0 && rows > 0) report(error, op, what, 0, 0, -1);
  *counted = mean && rows > 0 ? count : 1;
  *loss = static_cast<T>(sum / *counted);
}

template <class T>
void gradient(bool nll, const CrossEntropyOptions& options, const Tensor& dy, const Tensor& logits,
              const Tensor& labels, const Tensor& lse, const Tensor& counted, const Tensor& dx, bool add) {
  const int64_t classes = logits.dim(1), ignored = options.ignore_index;
  const T *from = logits.cuda_data<T>(), *upstream = dy.cuda_data<T>(), *weight = options.weight.data_or_null<T>();
  const int64_t* label = labels.cuda_data<int64_t>();
  const double *log_sum = lse.cuda_data<double>(), *count = counted.cuda_data<double>();
  T* to = dx.mutable_cuda_data<T>();
  const T rest = static_cast<T>(options.label_smoothing / static_cast<double>(classes));
  const T hit = static_cast<T>(1 - options.label_smoothing);
  const bool each = options.reduction == Reduction::none;
  Tensor weights;  // their sum
  if (weight) {
    weights = Tensor({}, logits.dtype(), logits.device());
    reduce(Reduce::sum, 1, view::reshape(options.weight, {1, classes, 1}), {}, {}, weights);
  }
  const T* sum_of_weights = weights.data_or_null<T>();
  const int64_t parts = (classes + kPart - 1) / kPart;  // of a row: few long rows are work for many
  for_each_row(name_of_op(nll), logits.dim(0) * parts, classes, [=] __device__(int64_t part, const Lane& lane) {
    const int64_t row = part / parts, first = part % parts * kPart, at = label[row];
    const bool counts = at != ignored && at >= 0 && at < classes;
    const T whole = !counts ? T(0) : weight ? rest * *sum_of_weights + hit * weight[at] : T(1);  // the target's sum
    const T factor = static_cast<T>(upstream[each ? row : 0] / *count);
    const T high = static_cast<T>(log_sum[row]), low = static_cast<T>(log_sum[row] - high);
    const auto make = [=](int64_t c) {
      const int64_t i = row * classes + c;
      const T of_class = weight ? weight[c] : T(1), probability = nll ? T(0) : std::exp(from[i] - high - low);
      const T spread = of_class * rest, own = c == at ? of_class * hit : T(0);
      const T share = factor * (whole * probability - spread - own);
      const bool constant = whole == 0 || (nll && spread == 0 && own == 0);
      const T value = constant ? T(0) : share;  // whatever is in the row
      return add ? to[i] + value : value;
    };
    const int64_t end = first + kPart < classes ? first + kPart : classes;
    map_range(first + lane.index, end, lane.count, make, [=](int64_t c, T value) { to[row * classes + c] = value; });
  });
}

}  // namespace

void cross_entropy(bool nll, const CrossEntropyOptions& options, const Tensor& logits, const Tensor& labels,
                   const Tensor& loss, const Tensor& lse, const Tensor& counted) {
  dispatch_floating(name_of_op(nll), logits.dtype(), [&]<class T>() {
    if (options.reduction == Reduction::none) {
      counted.fill(1);
      return row_losses<T>(nll, options, logits, labels, lse, loss.mutable_cuda_data<T>(), nullptr);
    }
    const int64_t rows = logits.dim(0);
    Tensor losses({2, rows, 1}, f64, lse.device());
    row_losses<T>(nll, options, logits, labels, lse, nullptr, losses.mutable_cuda_data<double>());
    if (rows > kFewRows) {
      const Tensor totals({2, 1, 1}, f64, lse.device());
      reduce(Reduce::sum, 1, losses, {}, {}, totals);
      losses = totals;
    }
    launch(name_of_op(nll), 1, static_cast<unsigned>(lanes_for(losses.dim(1), 1)), total_kernel<T>, losses.dim(1),
           options.reduction == Reduction::mean, losses.cuda_data<double>(), loss.mutable_cuda_data<T>(),
           counted.mutable_cuda_data<double>(), context().error, name_of_op(nll), "every label is ignored");
  });
}

void cross_entropy_backward(bool nll, const CrossEntropyOptions& options, const Tensor& dy, const Tensor& logits,
                            const Tensor& labels, const Tensor& lse, const Tensor& counted, const Tensor& dx,
                            bool add) {
  dispatch_floating(name_of_op(nll), logits.dtype(),
                    [&]<class T>() { gradient<T>(nll, options, dy, logits, labels, lse, counted, dx, add); });
}

}  // namespace norma::cuda
