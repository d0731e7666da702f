// From floating-point entries to the low 8-bit digits of the integers that they round to.
//
// What is left of an entry above its low digit ("high", rare) is listed row by row in the same pass.
#include "entries.hpp"

namespace accelsim {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 16;

// The rounded entry; adding 1.5 * 2^23 rounds to nearest even in the last place of a float.
__device__ inline int to_integer(float product) {
  constexpr float kMagic = 12582912.0f;
  if (fabsf(product) < 4194304.0f)
    return __float_as_int(product + kMagic) - __float_as_int(kMagic);
  return __float2int_rn(product);
}

// Where the high parts of an operand go; null: not wanted. `lists` has `list_length` entries a row.
// Entry i of all lists is in the chain of its column: `chains` holds the last one's i + 1, `next`
// that of the one before, and 0 ends it.
struct HighParts {
  Entry *lists;
  int list_length;
  int *list_counts;
  int *column_counts;
  uint8_t *marks;  // [blocks of kBlock rows, d]: 1 where a column has a high part
  int *chains;
  int *next;
};

__device__ inline void note(HighParts const &high, int64_t row, int64_t d, int column, int value,
                            int position) {
  if (high.column_counts) atomicAdd(&high.column_counts[column], 1);
  if (high.marks) high.marks[row / kBlock * d + column] = 1;
  if (position >= high.list_length) return;
  int const index = static_cast<int>(row) * high.list_length + position;
  high.lists[index] = {column, high_part<8>(value)};
  if (high.chains) high.next[index] = atomicExch(&high.chains[column], index + 1);
}

// One block a row. Low digits go to `low`, zeros up to `padded`.
template <class T>
__global__ void __launch_bounds__(kThreads) split(T const *x, int64_t d, int64_t padded,
                                                  float const *scale, int8_t *low,
                                                  int64_t low_stride, HighParts high,
                                                  float *largest_square, unsigned *flags,
                                                  bool aligned) {
  __shared__ int listed;
  __shared__ float scratch[kThreads / 32];
  int64_t const row = blockIdx.x;
  if (threadIdx.x == 0) listed = 0;
  __syncthreads();
  T const *source = x + row * d;
  int8_t *target = low + row * low_stride;
  float const s = *scale;
  float squares = 0;
  for (int64_t first = int64_t{threadIdx.x} * kPerThread; first < padded;
       first += kThreads * kPerThread) {
    float values[kPerThread];
    load(source, first, d, aligned, values);
    uint32_t words[kPerThread / 4];
#pragma unroll
    for (int w = 0; w < kPerThread / 4; ++w) {
      words[w] = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int const value = to_integer(__fmul_rn(values[4 * w + i], s));
        words[w] |= (value & 255u) << (8 * i);
        float const magnitude = value;
        squares = fmaf(magnitude, magnitude, squares);
        if (static_cast<unsigned>(value + 128) > 255u)
          note(high, row, d, static_cast<int>(first) + 4 * w + i, value, atomicAdd(&listed, 1));
      }
    }
    *reinterpret_cast<uint4 *>(target + first) = {words[0], words[1], words[2], words[3]};
  }
  squares = reduce_block(squares, scratch, [](float a, float b) { return a + b; });
  if (threadIdx.x == 0) {
    high.list_counts[row] = min(listed, high.list_length);
    if (listed > high.list_length) atomicOr(flags, kListFull);
    atomicMax(reinterpret_cast<int *>(largest_square), __float_as_int(squares));
  }
}

}  // namespace
}  // namespace accelsim

ACCELSIM_EXPORT int accelsim_split(void const *x, int type, int64_t n, int64_t d, int64_t padded,
                                   float const *scale, int8_t *low, int64_t low_stride,
                                   void *lists, int list_length, int *list_counts,
                                   int *column_counts, uint8_t *marks, int *chains, int *next,
                                   float *largest_square, unsigned *flags, cudaStream_t stream) {
  using namespace accelsim;
  HighParts const high{static_cast<Entry *>(lists), list_length, list_counts,
                       column_counts, marks, chains, next};
  return with_type(type, [&](auto element) {
    using T = decltype(element);
    bool const aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0 && d * sizeof(T) % 16 == 0;
    split<T><<<static_cast<unsigned>(n), kThreads, 0, stream>>>(
        static_cast<T const *>(x), d, padded, scale, low, low_stride, high, largest_square, flags,
        aligned);
  });
}
