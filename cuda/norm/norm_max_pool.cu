// The norm's output pass goes by the windows of the pooling, and stores only what wins. Backward, norm's kernels take
// dy from the windows: what is between norm and pooling is nowhere in memory. Windows do not overlap.
#include "norma/cuda/norm/norm_work.h"
#include "norma/cuda/pool/windows.h"
#include "norma/ops/norm/norm_max_pool.h"

namespace norma::cuda {
namespace {

// An element behind norm and activation, of a pixel and a channel.
template <class T>
struct NormalizedPixels {
  Passes<T> call;
  const ForwardColumn<T>* columns;  // [sets, C]
  const int64_t* set_of;            // of each pixel
  const T* x;
  __device__ T operator()(int64_t pixel, int64_t channel) const {
    const ForwardColumn<T>& column = columns[set_of[pixel] * call.channels + channel];
    return activate(call, column(x[pixel * call.channels + channel]) + T(0));  // as norm adds no residual
  }
};

template <class T>
void normalize_windows(const Work<T>& work, const PoolGeometry& g, const Tensor& x, const Tensor& y,
                       const Tensor& place) {
  const Passes<T> own = work.call;
  const Tensor memory({own.sets, own.channels, static_cast<int64_t>(sizeof(ForwardColumn<T>) / sizeof(T))}, x.dtype(),
                      x.device()),
      sets({x.numel() / own.channels}, i64, x.device());
  ForwardColumn<T>* columns = reinterpret_cast<ForwardColumn<T>*>(memory.mutable_cuda_data<T>());
  for_each("norm_max_pool", own.sets * own.channels,
           [=] __device__(int64_t i) { columns[i] = Column<T>(own, i / own.channels, i % own.channels); });
  int64_t* set_of = sets.mutable_cuda_data<int64_t>();  // of each pixel
  work.for_each_tile(0, [=] __device__(const Passes<T>&, const Tile& tile) {
    for (int64_t row = tile.row; row < tile.end && tile.c == 0; row += tile.step) set_of[row] = tile.set;
  });
  const T* in = x.cuda_data<T>();
  with_places(place, [&](auto* places) {
    largest_of_windows("norm_max_pool", g, y.mutable_cuda_data<T>(), places,
                       NormalizedPixels<T>{own, columns, set_of, in});
  });
}

}  // namespace

// The last argument, the winners, is left as it is: the way back computes the activation's argument from x.
void norm_max_pool(const Tensor& x, const NormCall& call, const PoolGeometry& g, const Tensor& y, const Tensor& place,
                   const Tensor&) {
  norm_cells(x, call);
  dispatch_floating("norm_max_pool", x.dtype(), [&]<class T>() { normalize_windows(Work<T>(call), g, x, y, place); });
}

void norm_max_pool_backward(const Tensor& x, const NormCall& call, const PoolGeometry& g, const Tensor& dy,
                            const Tensor& place, const Tensor&, const Tensor& dx, const Tensor& affine) {
  const Tensor windows({g.n * g.h * g.w}, i64, x.device()), taps(windows.shape(), u8, x.device());
  int64_t* window = windows.mutable_cuda_data<int64_t>();
  uint8_t* tap = taps.mutable_cuda_data<uint8_t>();
  for_each("norm_max_pool", windows.numel(), [=] __device__(int64_t i) {
    const int64_t ix = i % g.w, iy = i / g.w % g.h, ox = ix / g.kernel.w, oy = iy / g.kernel.h;
    window[i] = oy < g.oh && ox < g.ow ? (i / g.w / g.h * g.oh + oy) * g.ow + ox : -1;
    tap[i] = static_cast<uint8_t>(iy % g.kernel.h * g.kernel.w + ix % g.kernel.w);
  });
  const Tensor none;
  const Sink::Target to = {dx, false}, no_residual = {};
  norm_backward({&x, 1}, call,
                {.mask = {&none, 1}, .dy = {&dy, 1}, .dx = {&to, 1}, .dresidual = {&no_residual, 1}, .affine = affine},
                {window, tap, place.cuda_data<uint8_t>()});
}

}  // namespace norma::cuda
