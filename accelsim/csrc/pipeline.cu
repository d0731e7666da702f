// From floating-point operands to the digits of one exact int8 GEMM, and from its sums back.
//
// Every entry is rounded to an integer and its low 8-bit digit goes to a dense matrix. What is left
// above it ("high", rare) is listed row by row in the same pass. Columns of A with enough of them
// get a slot: a column of high digits, put in front of K with a copy of B's column, whose sums the
// GEMM shifts by one digit. All other high parts are multiplied entry by entry when the sums are
// read back. Nothing waits for the host: sizes are bounded ahead, and `flags` tells of what did not
// fit.
#include "common.hpp"
#include "dequantize.hpp"

namespace accelsim {
namespace {

enum Flag : unsigned {
  kListFull = 1,    // a row has more high parts than its list holds
  kNoSlot = 2,      // a high part is in no slot, and the caller allows no sparse ones
  kDigitsFew = 4,   // a high part in a slot needs more digits than there are groups
  kNoProof = 8,     // the product's bound reaches 2^31
};

struct Entry {
  int column;
  int high;
};

constexpr int kThreads = 256;
constexpr int kPerThread = 16;
constexpr int kTile = 128;

__device__ inline int low_digit(int value) { return static_cast<int8_t>(value); }

// The rounded entry; adding 1.5 * 2^23 rounds to nearest even in the last place of a float.
__device__ inline int to_integer(float product) {
  constexpr float kMagic = 12582912.0f;
  if (fabsf(product) < 4194304.0f)
    return __float_as_int(product + kMagic) - __float_as_int(kMagic);
  return __float2int_rn(product);
}

// One block a row. Low digits go to `low` (zeros up to `padded`), high parts to the row's list.
template <class T>
__global__ void __launch_bounds__(kThreads) split(T const *x, int64_t d, int64_t padded,
                                                  float const *scale, int8_t *low,
                                                  int64_t low_stride, Entry *lists, int list_length,
                                                  int *list_counts, int *column_counts,
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
        if (static_cast<unsigned>(value + 128) > 255u) {
          int const column = static_cast<int>(first) + 4 * w + i;
          int const position = atomicAdd(&listed, 1);
          if (position < list_length)
            lists[row * list_length + position] = {column, (value - low_digit(value)) >> 8};
          atomicAdd(&column_counts[column], 1);
        }
      }
    }
    *reinterpret_cast<uint4 *>(target + first) = {words[0], words[1], words[2], words[3]};
  }
  squares = reduce_block(squares, scratch, [](float a, float b) { return a + b; });
  if (threadIdx.x == 0) {
    list_counts[row] = min(listed, list_length);
    if (listed > list_length) atomicOr(flags, kListFull);
    atomicMax(reinterpret_cast<int *>(largest_square), __float_as_int(squares));
  }
}

// One block: columns with at least `threshold` high parts get slots, in order, while there are any.
// Leaves `column_counts` zero for the next run.
__global__ void __launch_bounds__(1024) assign(int *column_counts, int d, int threshold,
                                               int slot_count, int *slots, int *columns) {
  __shared__ int warp_sums[32];
  int const lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int slot = threadIdx.x; slot < slot_count; slot += 1024) columns[slot] = -1;
  int taken = 0;
  for (int first = 0; first < d; first += 1024) {
    int const column = first + threadIdx.x;
    bool const wanted = column < d && column_counts[column] >= threshold;
    unsigned const votes = __ballot_sync(0xffffffffu, wanted);
    __syncthreads();
    if (lane == 0) warp_sums[warp] = __popc(votes);
    __syncthreads();
    int slot = taken + __popc(votes & ((1u << lane) - 1));
    for (int other = 0; other < 32; ++other) {
      slot += other < warp ? warp_sums[other] : 0;
      taken += warp_sums[other];
    }
    if (column < d) {
      column_counts[column] = 0;
      bool const has = wanted && slot < slot_count;
      slots[column] = has ? slot : -1;
      if (has) columns[slot] = column;
    }
  }
}

// One warp a row of A, then of B: fill the columns in front of K. Also prove that every sum fits,
// and write the scale of the sums.
__global__ void __launch_bounds__(kThreads) extend(
    int8_t *a, int64_t stride_a, int n, Entry *lists, int list_length, int *list_counts,
    int const *slots, bool allow_sparse, int8_t *b, int64_t stride_b, int h,
    int const *list_counts_b, int const *columns, int slot_tiles, int groups,
    float const *largest_square_a, float const *largest_square_b, float const *scale_a,
    float const *scale_b, double *inverse_scale, unsigned *flags) {
  int const lane = threadIdx.x % 32;
  int const width = slot_tiles * kTile;
  int row = (blockIdx.x * kThreads + threadIdx.x) / 32;
  if (row == 0 && lane == 0) {
    // Cauchy and Schwarz: no entry of C exceeds the product of the norms of its row and column.
    // The float32 sums of squares are off by less than one part in 500.
    double const bound = static_cast<double>(*largest_square_a) * *largest_square_b * 1.004;
    if (!(bound < 2147483647.0 * 2147483647.0)) atomicOr(flags, kNoProof);
    *inverse_scale = 1.0 / (static_cast<double>(*scale_a) * static_cast<double>(*scale_b));
  }
  if (row < n) {
    int8_t *digits = a + row * stride_a;
    for (int byte = lane * 4; byte < groups * width; byte += 128)
      *reinterpret_cast<int *>(digits + byte) = 0;
    __syncwarp();
    Entry *list = lists + static_cast<int64_t>(row) * list_length;
    int const count = list_counts[row];
    int sparse = 0;
    for (int first = 0; first < count; first += 32) {
      int const index = first + lane;
      Entry const entry = index < count ? list[index] : Entry{0, 0};
      int const slot = index < count ? slots[entry.column] : 0;
      bool const stays = index < count && slot < 0;
      if (index < count && slot >= 0) {
        int rest = entry.high;
        for (int group = groups - 1; group >= 0; --group) {
          digits[group * width + slot] = static_cast<int8_t>(rest);
          rest = (rest - low_digit(rest)) >> 8;
        }
        if (rest) atomicOr(flags, kDigitsFew);
      }
      unsigned const votes = __ballot_sync(0xffffffffu, stays);
      if (stays) list[sparse + __popc(votes & ((1u << lane) - 1))] = entry;
      sparse += __popc(votes);
      __syncwarp();
    }
    if (lane == 0) {
      list_counts[row] = sparse;
      if (sparse && !allow_sparse) atomicOr(flags, kNoSlot);
    }
    return;
  }
  row -= n;
  if (row >= h) return;
  if (list_counts_b && lane == 0 && list_counts_b[row]) atomicOr(flags, kNoSlot);
  int8_t *digits = b + row * stride_b;
  int8_t const *low = digits + groups * width;
  for (int first = lane * 4; first < width; first += 128) {
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int const column = columns[first + i];
      word |= (column < 0 ? 0u : static_cast<uint8_t>(low[column])) << (8 * i);
    }
    for (int group = 0; group < groups; ++group)
      *reinterpret_cast<uint32_t *>(digits + group * width + first) = word;
  }
}

constexpr int kCombineThreads = 512;
constexpr int kColumns = 2;

template <class T>
struct __align__(kColumns * sizeof(T)) Neighbours {
  T values[kColumns];
};

// Rows of A as `combine` reads them: the columns in front of K, then the low digits.
struct Rows {
  int8_t const *digits;
  int64_t stride;
  int groups, width;  // the front is `groups` times `width` columns
  int padded;         // low digits
  int const *slots;   // of each column of A; null without a front
  Entry const *lists;
  int list_length;
  int const *list_counts;
};

// What is left of B above its low digits, by rows, and all of B transposed; null if B has none, or
// A has no listed high parts.
struct HighParts {
  int const *starts;
  Entry const *entries;
  void const *transposed;
};

// Put the digits of kRows rows side by side, column by column.
template <int kRows>
__device__ void interleave(Rows const &a, int first_row, int n, int columns, int8_t *digits) {
  static_assert(kRows % 4 == 0, "whole words");
  for (int k = threadIdx.x * 4; k < columns; k += kCombineThreads * 4) {
    uint32_t rows[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      rows[r] = first_row + r < n ? *reinterpret_cast<uint32_t const *>(
                                        a.digits + (first_row + r) * a.stride + k)
                                  : 0;
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int quad = 0; quad < kRows / 4; ++quad) {
        uint32_t const *four = rows + 4 * quad;
        uint32_t const pick = i | ((i + 4) << 4);
        *reinterpret_cast<uint32_t *>(digits + (k + i) * kRows + 4 * quad) = __byte_perm(
            __byte_perm(four[0], four[1], pick), __byte_perm(four[2], four[3], pick), 0x5410);
      }
  }
}

// sum[r][c] += factor * digit, for the digits of one column that lie side by side.
template <int kRows>
__device__ inline void add_column(int8_t const *column, unsigned factor, int c,
                                  unsigned (&sum)[kRows][kColumns]) {
  uint32_t words[kRows / 4];
#pragma unroll
  for (int quad = 0; quad < kRows / 4; ++quad)
    words[quad] = *reinterpret_cast<uint32_t const *>(column + 4 * quad);
#pragma unroll
  for (int r = 0; r < kRows; ++r)
    sum[r][c] += factor * static_cast<unsigned>(
                              static_cast<int>(static_cast<int8_t>(words[r / 4] >> (8 * (r % 4)))));
}

// kRows rows of C a block, kColumns columns a thread at a time: add the products of A's listed high
// parts with B, and of B's high parts with A, and write the result. Sums are modulo 2^32.
template <class Out, class Transposed, int kRows>
__global__ void __launch_bounds__(kCombineThreads, 3) combine(int const *sums, int64_t sum_stride,
                                                           int n, int h, Rows a, HighParts b,
                                                           double const *inverse_scale, Out *out,
                                                           int columns_a_block) {
  extern __shared__ __align__(16) int8_t digits[];
  int const first_row = blockIdx.x * kRows;
  int const front = a.groups * a.width;
  if (b.starts) {
    interleave<kRows>(a, first_row, n, front + a.padded, digits);
    __syncthreads();
  }
  Dequantizer<Out> const dequantize(inverse_scale ? *inverse_scale : 0.0);
  auto const *transposed = static_cast<Transposed const *>(b.transposed);
  int const begin = blockIdx.y * columns_a_block;
  int const end = min(h, begin + columns_a_block);
  for (int j = begin + threadIdx.x * kColumns; j < end; j += kCombineThreads * kColumns) {
    int const valid = min(kColumns, end - j);
    unsigned sum[kRows][kColumns];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      // Rows of the sums are filled up to a multiple of four.
      int64_t const row = min(first_row + r, n - 1);
      int2 const pair = __ldcs(reinterpret_cast<int2 const *>(sums + row * sum_stride + j));
      sum[r][0] = pair.x, sum[r][1] = pair.y;
    }
    if (b.starts) {
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        int const last = c < valid ? b.starts[j + c + 1] : 0;
        for (int p = c < valid ? b.starts[j + c] : 0; p < last; ++p) {
          Entry const entry = b.entries[p];
          unsigned const factor = static_cast<unsigned>(entry.high) << 8;
          add_column<kRows>(digits + (front + entry.column) * kRows, factor, c, sum);
          int const slot = a.groups ? a.slots[entry.column] : -1;
          for (int group = 0; slot >= 0 && group < a.groups; ++group)
            add_column<kRows>(digits + (group * a.width + slot) * kRows,
                              factor << (8 * (a.groups - group)), c, sum);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      int const row = first_row + r;
      if (row >= n) continue;
      int const count = a.list_counts[row];
      Entry const *list = a.lists + static_cast<int64_t>(row) * a.list_length;
      for (int e = 0; e < count; ++e) {
        Entry const entry = list[e];
        unsigned const factor = static_cast<unsigned>(entry.high) << 8;
        Transposed const *line = transposed + static_cast<int64_t>(entry.column) * h + j;
#pragma unroll
        for (int c = 0; c < kColumns; ++c)
          if (c < valid) sum[r][c] += factor * static_cast<unsigned>(static_cast<int>(line[c]));
      }
      Out *target = out + static_cast<int64_t>(row) * h + j;
      Neighbours<Out> result;
#pragma unroll
      for (int c = 0; c < kColumns; ++c)
        result.values[c] = dequantize(static_cast<int>(sum[r][c]));
      if (h % kColumns == 0) {
        *reinterpret_cast<Neighbours<Out> *>(target) = result;
      } else {
#pragma unroll
        for (int c = 0; c < kColumns; ++c)
          if (c < valid) target[c] = result.values[c];
      }
    }
  }
}

template <class Out, class Transposed, int kRows>
int launch_combine(int const *sums, int64_t sum_stride, int n, int h, Rows const &a,
                   HighParts const &b, double const *inverse_scale, Out *out,
                   cudaStream_t stream) {
  int const shared = b.starts ? (a.groups * a.width + a.padded) * kRows : 0;
  auto const kernel = combine<Out, Transposed, kRows>;
  cudaError_t const status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  if (status != cudaSuccess) return status;
  int const blocks = (n + kRows - 1) / kRows;
  int const unit = kCombineThreads * kColumns;
  int const units = (h + unit - 1) / unit;
  int const wanted = (2048 + blocks - 1) / blocks;  // for some waves of blocks
  int const parts = wanted < units ? wanted : units;
  int const columns = (units + parts - 1) / parts * unit;
  kernel<<<dim3(blocks, (h + columns - 1) / columns), kCombineThreads, shared, stream>>>(
      sums, sum_stride, n, h, a, b, inverse_scale, out, columns);
  return cudaGetLastError();
}

}  // namespace
}  // namespace accelsim

using accelsim::Entry;

ACCELSIM_EXPORT int accelsim_split(void const *x, int type, int64_t n, int64_t d, int64_t padded,
                                   float const *scale, int8_t *low, int64_t low_stride,
                                   void *lists, int list_length, int *list_counts,
                                   int *column_counts, float *largest_square, unsigned *flags,
                                   cudaStream_t stream) {
  using namespace accelsim;
  return with_type(type, [&](auto element) {
    using T = decltype(element);
    bool const aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0 && d * sizeof(T) % 16 == 0;
    split<T><<<static_cast<unsigned>(n), kThreads, 0, stream>>>(
        static_cast<T const *>(x), d, padded, scale, low, low_stride, static_cast<Entry *>(lists),
        list_length, list_counts, column_counts, largest_square, flags, aligned);
  });
}

ACCELSIM_EXPORT int accelsim_assign(int *column_counts, int d, int threshold, int slot_count,
                                    int *slots, int *columns, cudaStream_t stream) {
  accelsim::assign<<<1, 1024, 0, stream>>>(column_counts, d, threshold, slot_count, slots, columns);
  return cudaGetLastError();
}

ACCELSIM_EXPORT int accelsim_extend(int8_t *a, int64_t stride_a, int n, void *lists,
                                    int list_length, int *list_counts, int const *slots,
                                    int allow_sparse, int8_t *b, int64_t stride_b, int h,
                                    int const *list_counts_b, int const *columns, int slot_tiles,
                                    int groups, float const *largest_square_a,
                                    float const *largest_square_b, float const *scale_a,
                                    float const *scale_b, double *inverse_scale, unsigned *flags,
                                    cudaStream_t stream) {
  using namespace accelsim;
  int64_t const threads = (static_cast<int64_t>(n) + h) * 32;
  extend<<<static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
      a, stride_a, n, static_cast<Entry *>(lists), list_length, list_counts, slots, allow_sparse, b,
      stride_b, h, list_counts_b, columns, slot_tiles, groups, largest_square_a, largest_square_b,
      scale_a, scale_b, inverse_scale, flags);
  return cudaGetLastError();
}

// `out_type` is that of common.hpp, or 3 for int64. `wide_b`: transposed_b is int32, not int16.
ACCELSIM_EXPORT int accelsim_combine(int const *sums, int64_t sum_stride, int n, int h,
                                     int8_t const *digits_a, int64_t stride_a, int padded,
                                     int slot_tiles, int groups, int const *slots,
                                     void const *lists, int list_length, int const *list_counts,
                                     void const *transposed_b, int wide_b, int const *starts_b,
                                     void const *entries_b, double const *inverse_scale, void *out,
                                     int out_type, cudaStream_t stream) {
  using namespace accelsim;
  Rows const a{digits_a, stride_a, groups, slot_tiles * kTile, padded, slots,
               static_cast<Entry const *>(lists), list_length, list_counts};
  HighParts const b{starts_b, static_cast<Entry const *>(entries_b), transposed_b};
  // 8 rows share the reading of B's entries while two blocks fit a multiprocessor.
  bool const eight = a.groups * a.width + padded <= 14000;
  auto const run = [&](auto element) {
    using Out = decltype(element);
    auto const launch = [&](auto wide) {
      using Wide = decltype(wide);
      auto const chosen = eight ? launch_combine<Out, Wide, 8> : launch_combine<Out, Wide, 4>;
      return chosen(sums, sum_stride, n, h, a, b, inverse_scale, static_cast<Out *>(out), stream);
    };
    return wide_b ? launch(int32_t{}) : launch(int16_t{});
  };
  switch (out_type) {
    case 0: return run(float{});
    case 1: return run(__half{});
    case 2: return run(__nv_bfloat16{});
    case 3: return run(int64_t{});
    default: return cudaErrorInvalidValue;
  }
}
