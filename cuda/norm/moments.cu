#include "norma/cuda/launch.h"
#include "norma/ops/norm/cell_math.h"
#include "norma/ops/norm/moments.h"

namespace norma::cuda {
namespace {

// A block a row: its count of steps moves when all of it has been read.
__global__ void follow_kernel(int64_t sets, int64_t groups, const double* count, const double* mean, const double* m2,
                              double correction, double momentum, double* own_mean, double* own_var, int64_t* steps) {
  const int64_t row = blockIdx.x, rows = gridDim.x;
  const double weight_of_new = momentum >= 0 ? momentum : 1 / static_cast<double>(steps[row] + 1);
  __syncthreads();
  for (int64_t g = threadIdx.x; g < groups; g += blockDim.x) {
    const bool moved =
        follow_group(row, rows, g, groups, sets, count, mean, m2, correction, weight_of_new, own_mean, own_var);
    if (moved && g == 0) ++steps[row];  // all groups of a set hold as many elements
  }
}

}  // namespace

void follow_moments(const Tensor& count, const Tensor& means, const Tensor& m2, double correction, double momentum,
                    const Tensor& mean, const Tensor& var, const Tensor& steps) {
  launch("follow_moments", static_cast<unsigned>(steps.numel()), kThreads, follow_kernel, count.dim(0), count.dim(1),
         count.cuda_data<double>(), means.cuda_data<double>(), m2.cuda_data<double>(), correction, momentum,
         mean.mutable_cuda_data<double>(), var.mutable_cuda_data<double>(), steps.mutable_cuda_data<int64_t>());
}

}  // namespace norma::cuda
