// From floating-point operands to the digits of one exact int8 GEMM, and from its sums back.
//
// Every entry is rounded to an integer and its low 8-bit digit goes to a dense matrix. What is left
// above it ("high", rare) is listed row by row in the same pass. Columns of A with enough of them
// get a slot: a column of high digits, put in front of K with a copy of B's column, whose sums the
// GEMM shifts by one digit. All other high parts are multiplied entry by entry when the sums are
// read back. Nothing waits for the host: sizes are bounded ahead, and `flags` tells of what did not
// fit.
#include <algorithm>

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
            lists[row * list_length + position] = {column, high_part<8>(value)};
          if (column_counts) atomicAdd(&column_counts[column], 1);
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
  constexpr int kWarps = 1024 / 32;
  __shared__ int warp_sums[kWarps];
  int const lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int slot = threadIdx.x; slot < slot_count; slot += 1024) columns[slot] = -1;
  // Each warp has a run of columns: it counts them, then numbers them.
  int const share = (d + kWarps * 32 - 1) / (kWarps * 32) * 32;
  int const first = warp * share, end = min(d, first + share);
  int wanted = 0;
  for (int column = first + lane; column - lane < end; column += 32)
    wanted += __popc(__ballot_sync(0xffffffffu, column < end && column_counts[column] >= threshold));
  if (lane == 0) warp_sums[warp] = wanted;
  __syncthreads();
  int taken = 0;
  for (int other = 0; other < warp; ++other) taken += warp_sums[other];
  for (int column = first + lane; column - lane < end; column += 32) {
    bool const has = column < end && column_counts[column] >= threshold;
    unsigned const votes = __ballot_sync(0xffffffffu, has);
    int const slot = taken + __popc(votes & ((1u << lane) - 1));
    taken += __popc(votes);
    if (column >= end) continue;
    column_counts[column] = 0;
    slots[column] = has && slot < slot_count ? slot : -1;
    if (has && slot < slot_count) columns[slot] = column;
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
          rest = high_part<8>(rest);
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

constexpr int kCombineThreads = 256;
constexpr int kRows = 4;           // of C, that a thread has
constexpr int kColumns = 4;        // of C, that a thread has side by side
constexpr int kColumnGroup = 128;  // columns of C that share a width of B's entries
constexpr int kAhead = 3;          // entries of a row of B that are read ahead
constexpr int kListed = 64;        // entries of kRows rows of A in shared memory

template <class T>
struct alignas(kColumns * sizeof(T)) Neighbours {
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

// What is left of B above its low digits: entry e of every row side by side, filled up with zeros
// to the width of a group of rows; null if there is none. `entries` has as many lines as the widest
// group, kAhead at least. And all of B transposed. All lines have `stride` columns.
struct HighParts {
  int const *widths;
  Entry const *entries;
  void const *transposed;
  int stride;
};

// Two digits in one word, first + 65536 * second: a product with a small factor, and sums of such
// products, are those of both digits.
struct Pair {
  int word;

  __device__ int first() const { return static_cast<int16_t>(word); }
  __device__ int second() const { return (word - first()) >> 16; }
};
struct alignas(8) Digits {
  Pair pairs[kRows / 2];
};

// The PTX instruction in its generic mode: bit 3 of a selector repeats the sign of the byte.
__device__ inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
  uint32_t result;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(selector));
  return result;
}

// Put the digits of kRows rows side by side, column by column.
__device__ void interleave(Rows const &a, int first_row, int n, int columns, Digits *digits) {
  static_assert(kRows == 4, "two pairs");
  for (int k = threadIdx.x * 4; k < columns; k += kCombineThreads * 4) {
    uint32_t rows[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      rows[r] = first_row + r < n ? *reinterpret_cast<uint32_t const *>(
                                        a.digits + (first_row + r) * a.stride + k)
                                  : 0;
    Digits four[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int p = 0; p < kRows / 2; ++p) {
        // Bytes i of two rows, sign-extended to 16 bits each.
        uint32_t const pick = i | ((8 | i) << 4) | ((4 + i) << 8) | ((12 + i) << 12);
        uint32_t const fields = prmt(rows[2 * p], rows[2 * p + 1], pick);
        four[i].pairs[p].word = static_cast<int>(fields - ((fields & 0x8000u) << 1));
      }
#pragma unroll
    for (int i = 0; i < 2; ++i)
      reinterpret_cast<uint4 *>(digits + k)[i] = reinterpret_cast<uint4 const *>(four)[i];
  }
}

// Entries of kRows rows of A, in order.
struct Listed {
  Entry entries[kListed];
  int rows[kListed];
  int count;  // more than kListed: there are too many for this
};

__device__ void collect(Rows const &a, int first_row, int n, Listed &listed) {
  if (threadIdx.x >= 32) return;
  int count = 0;
  for (int r = 0; r < kRows && first_row + r < n; ++r) {
    int const more = a.list_counts[first_row + r];
    Entry const *list = a.lists + static_cast<int64_t>(first_row + r) * a.list_length;
    for (int e = threadIdx.x; e < more && count + e < kListed; e += 32) {
      listed.entries[count + e] = list[e];
      listed.rows[count + e] = r;
    }
    count += more;
  }
  if (threadIdx.x == 0) listed.count = count;
}

// A thread's tile of C and how entries change it. Sums are modulo 2^32.
struct Tile {
  unsigned sum[kRows][kColumns];

  __device__ void load(int const *sums, int64_t sum_stride, int first_row, int n, int j) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      // Rows of the sums are filled up to a multiple of four.
      int4 const four = __ldcs(reinterpret_cast<int4 const *>(
          sums + min(first_row + r, n - 1) * sum_stride + j));
      sum[r][0] = four.x, sum[r][1] = four.y, sum[r][2] = four.z, sum[r][3] = four.w;
    }
  }
  template <class Transposed>
  __device__ void add_line(int row, Entry const &entry, Neighbours<Transposed> const &line) {
    unsigned const factor = static_cast<unsigned>(entry.high) << 8;
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      if (r == row)
#pragma unroll
        for (int c = 0; c < kColumns; ++c)
          sum[r][c] += factor * static_cast<unsigned>(static_cast<int>(line.values[c]));
  }
  __device__ void add_digits(int c, Digits const &digits, unsigned factor) {
#pragma unroll
    for (int p = 0; p < kRows / 2; ++p) {
      sum[2 * p][c] += digits.pairs[p].first() * factor;
      sum[2 * p + 1][c] += digits.pairs[p].second() * factor;
    }
  }
};

// The entries of kColumns rows of B, side by side.
struct Side {
  int4 two[kColumns / 2];

  __device__ explicit Side(Entry const *entries) {
#pragma unroll
    for (int i = 0; i < kColumns / 2; ++i)
      two[i] = __ldg(reinterpret_cast<int4 const *>(entries) + i);
  }
  __device__ int column(int c) const { return c % 2 ? two[c / 2].z : two[c / 2].x; }
  __device__ int high(int c) const { return c % 2 ? two[c / 2].w : two[c / 2].y; }
};

// Add the products of A's listed high parts with B, and of B's high parts with A, to the sums, and
// write the result. The work is cut into tiles of kRows rows, and every block has a run of them,
// row by row. kSmall: the high parts of each row of B have magnitudes that add up to 255 at most,
// and A has no front, so that pairs of sums stay apart.
//
// What a tile needs is scattered over the memory, so it is all asked for before any of it is used.
template <class Out, class Transposed, bool kSmall>
__global__ void __launch_bounds__(kCombineThreads, 3) combine(int const *sums, int64_t sum_stride,
                                                              int n, int h, Rows a, HighParts b,
                                                              double const *inverse_scale,
                                                              Out *out) {
  using Line = Neighbours<Transposed>;
  extern __shared__ __align__(16) Digits digits[];
  __shared__ Listed listed;
  constexpr int kWidth = kCombineThreads * kColumns;
  int const front = a.groups * a.width;
  Dequantizer<Out> const dequantize(inverse_scale ? *inverse_scale : 0.0);
  auto const *transposed = static_cast<Transposed const *>(b.transposed);
  int const across = (h + kWidth - 1) / kWidth;
  int64_t const tiles = int64_t{(n + kRows - 1) / kRows} * across;
  int64_t const last = tiles * (blockIdx.x + 1) / gridDim.x;
  int first_row = -1;
  for (int64_t number = tiles * blockIdx.x / gridDim.x; number < last; ++number) {
    int const row_of_tile = static_cast<int>(number / across) * kRows;
    if (row_of_tile != first_row) {
      __syncthreads();
      first_row = row_of_tile;
      collect(a, first_row, n, listed);
      if (b.widths) interleave(a, first_row, n, front + a.padded, digits);
      __syncthreads();
    }
    int const j = static_cast<int>(number % across) * kWidth + threadIdx.x * kColumns;
    if (j >= h) continue;
    Tile tile;
    tile.load(sums, sum_stride, first_row, n, j);
    auto const line_of = [&](Entry const &entry) {
      return *reinterpret_cast<Line const *>(
          transposed + static_cast<int64_t>(entry.column) * b.stride + j);
    };
    int const lines = listed.count <= kListed ? listed.count : 0;
    Line next[2] = {};
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (i < lines) next[i] = line_of(listed.entries[i]);
    if (b.widths) {
      Entry const *entries = b.entries + j;
      Pair added[kRows / 2][kColumns] = {};
      auto const add = [&](Side const &side) {
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          int const column = side.column(c), high = side.high(c);
          Digits const low = digits[front + column];
          if constexpr (kSmall) {
#pragma unroll
            for (int p = 0; p < kRows / 2; ++p) added[p][c].word += low.pairs[p].word * high;
          } else {
            unsigned const factor = static_cast<unsigned>(high) << 8;
            tile.add_digits(c, low, factor);
            int const slot = a.groups ? a.slots[column] : -1;
            for (int group = 0; slot >= 0 && group < a.groups; ++group)
              tile.add_digits(c, digits[group * a.width + slot],
                              factor << (8 * (a.groups - group)));
          }
        }
      };
      int const width = b.widths[j / kColumnGroup];
      Side const first(entries), second(entries + b.stride), third(entries + 2 * b.stride);
      add(first);
      if (width > 1) add(second);
      if (width > 2) add(third);
      for (int e = kAhead; e < width; ++e) add(Side(entries + int64_t{e} * b.stride));
      if constexpr (kSmall) {
#pragma unroll
        for (int p = 0; p < kRows / 2; ++p)
#pragma unroll
          for (int c = 0; c < kColumns; ++c) {
            tile.sum[2 * p][c] += static_cast<unsigned>(added[p][c].first()) << 8;
            tile.sum[2 * p + 1][c] += static_cast<unsigned>(added[p][c].second()) << 8;
          }
      }
    }
    for (int e = 0; e < lines; ++e) {
      Line const line = next[0];
      next[0] = next[1];
      if (e + 2 < lines) next[1] = line_of(listed.entries[e + 2]);
      tile.add_line(listed.rows[e], listed.entries[e], line);
    }
    if (listed.count > kListed) {
      for (int r = 0; r < kRows && first_row + r < n; ++r) {
        Entry const *list = a.lists + static_cast<int64_t>(first_row + r) * a.list_length;
        for (int e = 0; e < a.list_counts[first_row + r]; ++e)
          tile.add_line(r, list[e], line_of(list[e]));
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (first_row + r >= n) break;
      Neighbours<Out> result;
      dequantize(reinterpret_cast<int const(&)[kColumns]>(tile.sum[r]), result.values);
      Out *target = out + static_cast<int64_t>(first_row + r) * h + j;
      if (h % kColumns == 0) {
        *reinterpret_cast<Neighbours<Out> *>(target) = result;
      } else {
#pragma unroll
        for (int c = 0; c < kColumns; ++c)
          if (j + c < h) target[c] = result.values[c];
      }
    }
  }
}

template <class Out, class Transposed, bool kSmall>
int launch_combine(int const *sums, int64_t sum_stride, int n, int h, Rows const &a,
                   HighParts const &b, double const *inverse_scale, Out *out,
                   cudaStream_t stream) {
  auto const kernel = combine<Out, Transposed, kSmall>;
  int const shared =
      b.widths ? (a.groups * a.width + a.padded) * static_cast<int>(sizeof(Digits)) : 0;
  int device = 0, processors = 0, resident = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess)
    status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (status == cudaSuccess)
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  if (status == cudaSuccess)
    status = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kCombineThreads,
                                                           shared);
  if (status != cudaSuccess) return status;
  constexpr int kWidth = kCombineThreads * kColumns;
  int64_t const tiles = int64_t{(n + kRows - 1) / kRows} * ((h + kWidth - 1) / kWidth);
  int64_t const blocks = std::min<int64_t>(tiles, int64_t{processors} * resident);
  kernel<<<static_cast<unsigned>(blocks), kCombineThreads, shared, stream>>>(
      sums, sum_stride, n, h, a, b, inverse_scale, out);
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
// `small_b`: the magnitudes of the high parts of a row of B add up to 255 at most.
ACCELSIM_EXPORT int accelsim_combine(int const *sums, int64_t sum_stride, int n, int h,
                                     int8_t const *digits_a, int64_t stride_a, int padded,
                                     int slot_tiles, int groups, int const *slots,
                                     void const *lists, int list_length, int const *list_counts,
                                     void const *transposed_b, int wide_b, int stride_b,
                                     int const *widths_b, void const *entries_b, int small_b,
                                     double const *inverse_scale, void *out, int out_type,
                                     cudaStream_t stream) {
  using namespace accelsim;
  Rows const a{digits_a, stride_a, groups, slot_tiles * kTile, padded, slots,
               static_cast<Entry const *>(lists), list_length, list_counts};
  HighParts const b{widths_b, static_cast<Entry const *>(entries_b), transposed_b, stride_b};
  bool const small = small_b && groups == 0;
  auto const run = [&](auto element) {
    using Out = decltype(element);
    auto const launch = [&](auto wide) {
      using Wide = decltype(wide);
      auto const chosen = small ? launch_combine<Out, Wide, true> : launch_combine<Out, Wide, false>;
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
