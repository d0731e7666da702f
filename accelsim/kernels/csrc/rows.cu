// Quantize and unpack by rows in one pass: floats to the b-bit digits of integers, a row for every
// level of every row.
//
// The lowest digits of row i are row i of the result. A row whose integers need more is read again,
// while the cache still has it, once for every further level; those rows are appended in the order
// in which the blocks come to them, and `map` says where each one belongs.
#include "common.hpp"

namespace accelsim {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 16;

struct Place {
  int row;
  int level;
};

template <class T, int kBits>
__global__ void __launch_bounds__(kThreads) unpack_rows(T const *x, int64_t rows, int64_t d,
                                                        float const *scale, int8_t *digits,
                                                        int64_t stride, int64_t capacity,
                                                        Place *map, int *appended, bool aligned) {
  __shared__ int slot;
  int64_t const row = blockIdx.x;
  T const *source = x + row * d;
  float const s = *scale;
  int8_t *target = digits + row * stride;
  for (int level = 0;; ++level) {
    bool more = false;
    for (int64_t first = int64_t{threadIdx.x} * kPerThread; first < stride;
         first += kThreads * kPerThread) {
      float values[kPerThread];
      load(source, first, d, aligned, values);
      uint32_t words[kPerThread / 4] = {};
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
        int rest = __float2int_rn(__fmul_rn(values[i], s));
        for (int below = 0; below < level; ++below) rest = high_part<kBits>(rest);
        int const digit = rest << (32 - kBits) >> (32 - kBits);
        words[i / 4] |= (digit & 255u) << (8 * (i % 4));
        more |= high_part<kBits>(rest) != 0;
      }
      *reinterpret_cast<uint4 *>(target + first) = {words[0], words[1], words[2], words[3]};
    }
    if (!__syncthreads_or(more)) return;
    if (threadIdx.x == 0) slot = atomicAdd(appended, 1);
    __syncthreads();
    if (rows + slot >= capacity) return;
    if (threadIdx.x == 0) map[slot] = {static_cast<int>(row), level + 1};
    target = digits + (rows + slot) * stride;
  }
}

template <int kBits>
int launch(void const *x, int type, int64_t rows, int64_t d, float const *scale, int8_t *digits,
           int64_t stride, int64_t capacity, Place *map, int *appended, cudaStream_t stream) {
  return with_type(type, [&](auto element) {
    using T = decltype(element);
    bool const aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0 && d * sizeof(T) % 16 == 0;
    unpack_rows<T, kBits><<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
        static_cast<T const *>(x), rows, d, scale, digits, stride, capacity, map, appended,
        aligned);
  });
}

}  // namespace
}  // namespace accelsim

// x [rows, d] to digits [capacity, stride], stride a multiple of 16. `appended` counts the rows that
// were needed beyond the first `rows`, also those that found no place.
ACCELSIM_EXPORT int accelsim_unpack_rows(void const *x, int type, int64_t rows, int64_t d, int bits,
                                         float const *scale, int8_t *digits, int64_t stride,
                                         int64_t capacity, void *map, int *appended,
                                         cudaStream_t stream) {
  using namespace accelsim;
  auto const run = bits == 2 ? launch<2> : bits == 4 ? launch<4> : bits == 8 ? launch<8> : nullptr;
  if (run == nullptr) return cudaErrorInvalidValue;
  return run(x, type, rows, d, scale, digits, stride, capacity, static_cast<Place *>(map), appended,
             stream);
}
