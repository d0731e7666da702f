// From floating-point entries to the low 8-bit digits of the integers that they round to.
//
// What is left of an entry above its low digit (its high part, rare) is written or listed row by row
// in the same pass.
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

__device__ inline bool has_high_part(int value) {
  return static_cast<unsigned>(value + 128) > 255u;
}

// Columns of high digits, `groups` times `count` in a row, whose owners are known ahead: there high
// parts are written, not listed. `of` is the slot of a column of K, or -1; null: none is known.
struct Slots {
  int const *of;
  int groups;
  int count;
};

// Where the other high parts of an operand are noted; null: not wanted. `lists` has `list_length`
// entries a row. Entry i of all lists is in the chain of its column: `chains` holds the last one's
// i + 1, `next` that of the one before, and 0 ends it.
struct Lists {
  Entry *entries;
  int length;
  int *counts;
  int *column_counts;
  uint8_t *marks;  // [blocks of kBlock rows, d]: 1 where a column has a high part
  int *chains;
  int *next;
};

__device__ inline void note(Lists const &lists, int64_t row, int64_t d, int column, int high,
                            int position) {
  if (lists.column_counts) atomicAdd(&lists.column_counts[column], 1);
  if (lists.marks) lists.marks[row / kBlock * d + column] = 1;
  if (position >= lists.length) return;
  int const index = static_cast<int>(row) * lists.length + position;
  lists.entries[index] = {column, high};
  if (lists.chains) lists.next[index] = atomicExch(&lists.chains[column], index + 1);
}

// One block a row. Low digits go to `low`, zeros up to `padded`; slots lie behind them.
template <class T>
__global__ void __launch_bounds__(kThreads) split(T const *x, int64_t d, int64_t padded,
                                                  float const *scale, int8_t *low,
                                                  int64_t low_stride, Slots slots, Lists lists,
                                                  float *largest_square, unsigned *flags,
                                                  bool aligned) {
  __shared__ int listed;
  __shared__ float scratch[kThreads / 32];
  int64_t const row = blockIdx.x;
  T const *source = x + row * d;
  int8_t *target = low + row * low_stride;
  if (threadIdx.x == 0) listed = 0;
  if (slots.of)
    for (int byte = threadIdx.x * 16; byte < slots.groups * slots.count; byte += kThreads * 16)
      *reinterpret_cast<uint4 *>(target + padded + byte) = {0, 0, 0, 0};
  __syncthreads();
  float const s = *scale;
  float squares = 0;
  for (int64_t first = int64_t{threadIdx.x} * kPerThread; first < padded;
       first += kThreads * kPerThread) {
    float values[kPerThread];
    load(source, first, d, aligned, values);
    uint32_t words[kPerThread / 4];
    unsigned high = 0;  // bit i: entry i has a high part
#pragma unroll
    for (int w = 0; w < kPerThread / 4; ++w) {
      words[w] = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int const value = to_integer(__fmul_rn(values[4 * w + i], s));
        words[w] |= (value & 255u) << (8 * i);
        float const magnitude = value;
        squares = fmaf(magnitude, magnitude, squares);
        high |= static_cast<unsigned>(has_high_part(value)) << (4 * w + i);
      }
    }
    *reinterpret_cast<uint4 *>(target + first) = {words[0], words[1], words[2], words[3]};
    // Few have one: the cache still has their entries, and the registers stay free for the others.
    for (; high; high &= high - 1) {
      int const column = static_cast<int>(first) + __ffs(high) - 1;
      int const rest = high_part<8>(to_integer(__fmul_rn(to_float(source[column]), s)));
      int const slot = slots.of ? __ldg(slots.of + column) : -1;
      if (slot < 0)
        note(lists, row, d, column, rest, atomicAdd(&listed, 1));
      else if (!write_high_digits(target + padded + slot, slots.count, slots.groups, rest))
        atomicOr(flags, kDigitsFew);
    }
  }
  squares = reduce_block(squares, scratch, [](float a, float b) { return a + b; });
  if (threadIdx.x == 0) {
    lists.counts[row] = min(listed, lists.length);
    if (listed > lists.length) atomicOr(flags, kListFull);
    atomicMax(reinterpret_cast<int *>(largest_square), __float_as_int(squares));
  }
}

// Count the high parts of every column in each `step`-th row; a block has 32 columns.
template <class T>
__global__ void __launch_bounds__(kThreads) sample_columns(T const *x, int64_t n, int64_t d,
                                                           int64_t step, float const *scale,
                                                           int *counts) {
  constexpr int kWarps = kThreads / 32;
  __shared__ int found[kWarps][32];
  int const lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int64_t const column = int64_t{blockIdx.x} * 32 + lane;
  float const s = *scale;
  int count = 0;
  if (column < d) {
#pragma unroll 8
    for (int64_t row = warp * step; row < n; row += kWarps * step)
      count += has_high_part(to_integer(__fmul_rn(to_float(x[row * d + column]), s)));
  }
  found[warp][lane] = count;
  __syncthreads();
  if (warp > 0 || column >= d) return;
  for (int other = 1; other < kWarps; ++other) count += found[other][lane];
  counts[column] = count;
}

}  // namespace
}  // namespace accelsim

// `slots` is null without columns that are known ahead.
ACCELSIM_EXPORT int accelsim_split(void const *x, int type, int64_t n, int64_t d, int64_t padded,
                                   float const *scale, int8_t *low, int64_t low_stride,
                                   int const *slots, int groups, int slot_count, void *entries,
                                   int list_length, int *list_counts, int *column_counts,
                                   uint8_t *marks, int *chains, int *next, float *largest_square,
                                   unsigned *flags, cudaStream_t stream) {
  using namespace accelsim;
  Slots const known{slots, groups, slot_count};
  Lists const lists{static_cast<Entry *>(entries), list_length, list_counts, column_counts, marks,
                    chains, next};
  return with_type(type, [&](auto element) {
    using T = decltype(element);
    bool const aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0 && d * sizeof(T) % 16 == 0;
    split<T><<<static_cast<unsigned>(n), kThreads, 0, stream>>>(
        static_cast<T const *>(x), d, padded, scale, low, low_stride, known, lists, largest_square,
        flags, aligned);
  });
}

ACCELSIM_EXPORT int accelsim_sample_columns(void const *x, int type, int64_t n, int64_t d,
                                            int64_t step, float const *scale, int *counts,
                                            cudaStream_t stream) {
  using namespace accelsim;
  return with_type(type, [&](auto element) {
    using T = decltype(element);
    sample_columns<T><<<static_cast<unsigned>((d + 31) / 32), kThreads, 0, stream>>>(
        static_cast<T const *>(x), n, d, step, scale, counts);
  });
}
