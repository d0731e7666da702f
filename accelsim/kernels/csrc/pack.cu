// From the sums of a product to its result, where the product's own epilogue does not do it.
#include "dequantize.hpp"
#include "entries.hpp"

namespace accelsim {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;

// One block a tile of C: add its corrections (modulo 2^32) to the sums. They have a place, row by row
// from 1, and a value; a place of 0 ends the list.
__global__ void correct(int *sums, int64_t stride, int tiles_across, int2 const *corrections,
                        int room) {
  int const tile = blockIdx.x;
  int const row = tile / tiles_across * kTileRows, column = tile % tiles_across * kTileColumns;
  corrections += static_cast<int64_t>(tile) * room;
  for (int i = threadIdx.x; i < room && corrections[i].x > 0; i += blockDim.x) {
    int const place = corrections[i].x - 1;
    atomicAdd(&sums[(row + place / kTileColumns) * stride + column + place % kTileColumns],
              corrections[i].y);
  }
}

// Rows of the sums are filled up to a multiple of four.
template <class Out>
__global__ void __launch_bounds__(kThreads) pack(int const *sums, int64_t stride, int64_t n, int h,
                                                 double const *inverse_scale, Out *out) {
  int64_t const thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  int const across = (h + kPerThread - 1) / kPerThread;
  int64_t const row = thread / across;
  int const column = static_cast<int>(thread % across) * kPerThread;
  if (row >= n) return;
  int4 const four = __ldcs(reinterpret_cast<int4 const *>(sums + row * stride + column));
  int const values[kPerThread] = {four.x, four.y, four.z, four.w};
  Out results[kPerThread];
  Dequantizer<Out> const dequantize(*inverse_scale);
  dequantize(values, results);
#pragma unroll
  for (int i = 0; i < kPerThread; ++i)
    if (column + i < h) out[row * h + column + i] = results[i];
}

}  // namespace
}  // namespace accelsim

ACCELSIM_EXPORT int accelsim_correct(int *sums, int64_t stride, int tiles, int tiles_across,
                                     void const *corrections, int room, cudaStream_t stream) {
  accelsim::correct<<<tiles, 64, 0, stream>>>(sums, stride, tiles_across,
                                              static_cast<int2 const *>(corrections), room);
  return cudaGetLastError();
}

// `type` is that of common.hpp, or 3 for int64.
ACCELSIM_EXPORT int accelsim_pack(int const *sums, int64_t stride, int64_t n, int h,
                                  double const *inverse_scale, void *out, int type,
                                  cudaStream_t stream) {
  using namespace accelsim;
  auto const run = [&](auto element) {
    using Out = decltype(element);
    int64_t const threads = n * ((h + kPerThread - 1) / kPerThread);
    pack<<<static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
        sums, stride, n, h, inverse_scale, static_cast<Out *>(out));
  };
  if (type != 3) return with_type(type, run);
  run(int64_t{});
  return cudaGetLastError();
}
