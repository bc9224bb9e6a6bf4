#include "norma/cuda/launch.h"
#include "norma/ops/moments.h"

namespace norma::cuda {
namespace {

// A block a row: its count of steps moves when all of it has been read.
__global__ void follow_kernel(int64_t sets, int64_t groups, const double* count, const double* mean, const double* m2,
                              double momentum, double* own_mean, double* own_var, int64_t* steps) {
  const int64_t row = blockIdx.x, rows = gridDim.x;
  const double weight_of_new = momentum >= 0 ? momentum : 1 / static_cast<double>(steps[row] + 1);
  __syncthreads();
  for (int64_t g = threadIdx.x; g < groups; g += blockDim.x) {
    double mean_sum = 0, var_sum = 0, cells = 0;
    for (int64_t i = row * groups + g; i < sets * groups; i += rows * groups) {
      if (count[i] < 2) continue;
      mean_sum += mean[i];
      var_sum += m2[i] / (count[i] - 1);
      ++cells;
    }
    if (cells == 0) continue;
    double &a = own_mean[row * groups + g], &b = own_var[row * groups + g];
    a = (1 - weight_of_new) * a + weight_of_new * mean_sum / cells;
    b = (1 - weight_of_new) * b + weight_of_new * var_sum / cells;
    if (g == 0) ++steps[row];  // all groups of a set hold as many elements
  }
}

}  // namespace

void follow_moments(const Tensor& count, const Tensor& means, const Tensor& m2, double momentum, const Tensor& mean,
                    const Tensor& var, const Tensor& steps) {
  launch("follow_moments", static_cast<unsigned>(steps.numel()), kThreads, follow_kernel, count.dim(0), count.dim(1),
         count.cuda_data<double>(), means.cuda_data<double>(), m2.cuda_data<double>(), momentum,
         mean.mutable_cuda_data<double>(), var.mutable_cuda_data<double>(), steps.mutable_cuda_data<int64_t>());
}

}  // namespace norma::cuda
