#include "norma/core/communicator.h"

namespace norma {
namespace {

// Calls f with x, or with a contiguous copy on the CPU that is then copied back. Where x must not be written to, that
// is an error of this worker alone, before it meets the others.
void on_host(const Tensor& x, auto&& f) {
  dispatch(x.dtype(), [&]<class T>() { x.mutable_data_or_null<T>(); });
  const Tensor host = x.to(cpu_device).contiguous();
  f(host);
  if (host.identity() != x.identity()) x.copy_from(host);
}

}  // namespace

Tensor Communicator::all_gather(const Tensor& x) {
  check(x.rank() < Shape::kMaxRank, "all_gather", "a tensor of rank {}: want less than {}", x.rank(),
        int{Shape::kMaxRank});
  Shape shape = {size()};
  for (const int64_t extent : x.shape()) shape.push_back(extent);
  const Tensor all(shape, x.dtype());
  gather(x.to(cpu_device).contiguous(), all);
  return all.to(x.device());
}

void Communicator::all_reduce(const Tensor& x) {
  check(x.is_floating() || x.dtype() == i64, "all_reduce", "sums f32, f64 and i64, not {}: shape {}", x.dtype(),
        x.shape());
  on_host(x, [&](const Tensor& host) { reduce(host); });
}

void Communicator::broadcast(const Tensor& x, int root) {
  check(root >= 0 && root < size(), "broadcast", "from worker {} of {}", root, size());
  on_host(x, [&](const Tensor& host) { spread(host, root); });
}

void Communicator::barrier() { gather(Tensor({0}, u8), Tensor({size(), 0}, u8)); }

}  // namespace norma
