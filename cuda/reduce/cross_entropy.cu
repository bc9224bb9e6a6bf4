#include <limits>

#include "norma/cuda/launch.h"
#include "norma/ops/reduce/cross_entropy.h"

namespace norma::cuda {
namespace {

// Labels out of range are reported, and count for nothing.
template <class T>
void row_losses(const CrossEntropyOptions& options, const Tensor& logits, const Tensor& labels, const Tensor& lse,
                double* losses) {
  const int64_t classes = logits.dim(1), ignored = options.ignore_index;
  const double smooth = options.label_smoothing;
  const T* from = logits.cuda_data<T>();
  const int64_t* label = labels.cuda_data<int64_t>();
  double* log_sum = lse.mutable_cuda_data<double>();
  DataError* error = context().error;
  const char *op = "cross_entropy", *what = "label";
  for_each_row(op, logits.dim(0), classes, [=] __device__(int64_t row, const Lane& lane) {
    const T* x = from + row * classes;
    double largest = -std::numeric_limits<double>::infinity(), sum = 0, sum_x = 0;
    for (int64_t c = lane.index; c < classes; c += lane.count) largest = Larger()(largest, static_cast<double>(x[c]));
    const T top = static_cast<T>(reduce_row(largest, lane, Larger()));
    for (int64_t c = lane.index; c < classes; c += lane.count) {
      sum += std::exp(x[c] - top);
      sum_x += x[c];
    }
    sum = reduce_row(sum, lane, Plus());
    sum_x = reduce_row(sum_x, lane, Plus());
    if (lane.index != 0) return;
    const double lse_of_row = top + std::log(sum), mean_x = sum_x / static_cast<double>(classes);
    const int64_t hit = label[row];
    log_sum[row] = lse_of_row;
    if (hit >= 0 && hit < classes) {
      losses[row] = lse_of_row - (smooth < 1 ? (1 - smooth) * x[hit] : 0) - (smooth > 0 ? smooth * mean_x : 0);
    } else {
      losses[row] = 0;
      if (hit != ignored) report(error, op, what, hit, row, classes);
    }
  });
}

// One block, so that the sum has one order.
template <class T>
__global__ void mean_kernel(int64_t rows, int64_t ignored, const double* losses, const int64_t* label, T* loss,
                            double* counted, DataError* error, const char* op, const char* what) {
  double sum = 0, count = 0;
  for (int64_t i = threadIdx.x; i < rows; i += blockDim.x) {
    if (label[i] == ignored) continue;
    sum += losses[i];
    count += 1;
  }
  sum = reduce_block(sum, 1, Plus());
  count = reduce_block(count, 1, Plus());
  if (threadIdx.x != 0) return;
  if (count == 0 && rows > 0) report(error, op, what, 0, 0, -1);
  *counted = rows > 0 ? count : 1;
  *loss = static_cast<T>(sum / *counted);
}

template <class T>
void gradient(const CrossEntropyOptions& options, const Tensor& dy, const Tensor& logits, const Tensor& labels,
              const Tensor& lse, const Tensor& counted, const Tensor& dx, bool add) {
  const int64_t classes = logits.dim(1), ignored = options.ignore_index;
  const T *from = logits.cuda_data<T>(), *upstream = dy.cuda_data<T>();
  const int64_t* label = labels.cuda_data<int64_t>();
  const double *log_sum = lse.cuda_data<double>(), *count = counted.cuda_data<double>();
  T* to = dx.mutable_cuda_data<T>();
  const T rest = static_cast<T>(options.label_smoothing / static_cast<double>(classes));
  const T hit = static_cast<T>(1 - options.label_smoothing);
  for_each("cross_entropy", logits.numel(), [=] __device__(int64_t i) {
    const int64_t row = i / classes;
    const T factor = static_cast<T>(*upstream / *count), probability = std::exp(static_cast<T>(from[i] - log_sum[row]));
    const T share = factor * (probability - rest - (i % classes == label[row] ? hit : T(0)));
    const T value = label[row] == ignored ? T(0) : share;  // whatever is in the row
    to[i] = add ? to[i] + value : value;
  });
}

}  // namespace

void cross_entropy(const CrossEntropyOptions& options, const Tensor& logits, const Tensor& labels, const Tensor& loss,
                   const Tensor& lse, const Tensor& counted) {
  dispatch_floating("cross_entropy", logits.dtype(), [&]<class T>() {
    const Tensor losses(lse.shape(), f64, lse.device());
    row_losses<T>(options, logits, labels, lse, losses.mutable_cuda_data<double>());
    launch("cross_entropy", 1, static_cast<unsigned>(lanes_for(logits.dim(0), 1)), mean_kernel<T>, logits.dim(0),
           options.ignore_index, losses.cuda_data<double>(), labels.cuda_data<int64_t>(), loss.mutable_cuda_data<T>(),
           counted.mutable_cuda_data<double>(), context().error, "cross_entropy", "every label is ignored");
  });
}

void cross_entropy_backward(const CrossEntropyOptions& options, const Tensor& dy, const Tensor& logits,
                            const Tensor& labels, const Tensor& lse, const Tensor& counted, const Tensor& dx,
                            bool add) {
  dispatch_floating("cross_entropy", logits.dtype(),
                    [&]<class T>() { gradient<T>(options, dy, logits, labels, lse, counted, dx, add); });
}

}  // namespace norma::cuda
