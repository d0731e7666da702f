// From an operand to planes of digits: every entry has so many 8-bit digits, needed or not.
#include "arguments.hpp"
#include "entries.hpp"
#include "export.h"
#include "integers.hpp"

namespace accelsim {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlocksBehind = 512;

// Where the planes go. A head of `rows` rows has room for `stored` of them.
struct Target {
  int8_t *digits;
  int64_t stride;
  int64_t padded;  // width of a plane, a multiple of 16
  int64_t rows, stored;

  __device__ int8_t *line(int64_t row) const {
    return digits + (row / rows * stored + row % rows) * stride;
  }
};

// What a thread finds in its entries of a row.
struct Seen {
  float squares = 0;
  int digits = 1;
  int with_more = 0;  // entries with more than one
};

// The lowest digit of kPerThread entries, which most operands need no more than.
template <class Line>
__device__ inline void write_lowest(Line const &line, int64_t first, int8_t *digits, Seen &seen) {
  int values[kPerThread];
  line.load(first, values);
  uint32_t words[kPerThread / 4] = {};
  unsigned high = 0;  // bit i: entry i has more digits
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    words[i / 4] |= (values[i] & 255u) << (8 * (i % 4));
    float const magnitude = values[i];
    seen.squares = fmaf(magnitude, magnitude, seen.squares);
    high |= static_cast<unsigned>(has_high_part(values[i])) << i;
  }
  *reinterpret_cast<uint4 *>(digits + first) = {words[0], words[1], words[2], words[3]};
  seen.with_more += __popc(high);
  for (; high; high &= high - 1)
    seen.digits = max(seen.digits, digits_of(line.at(first + __ffs(high) - 1)));
}

// `count` digits of kPerThread entries, from level `first_level` up.
template <class Value, class Line>
__device__ inline void write_levels(Line const &line, int64_t first, int64_t d, int8_t *digits,
                                    int64_t padded, int first_level, int count, Seen &seen) {
  Value rest[kPerThread];
  if constexpr (sizeof(Value) == sizeof(int)) {
    line.load(first, rest);
  } else {
    for (int i = 0; i < kPerThread; ++i) rest[i] = first + i < d ? line.at(first + i) : 0;
  }
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    float const magnitude = rest[i];
    seen.squares = fmaf(magnitude, magnitude, seen.squares);
  }
  for (int level = 0; level < first_level + count; ++level) {
    uint32_t words[kPerThread / 4] = {};
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      words[i / 4] |= (static_cast<unsigned>(rest[i]) & 255u) << (8 * (i % 4));
      rest[i] = (rest[i] >> 8) + ((rest[i] >> 7) & 1);
    }
    Value left = 0;  // above this level
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      left |= rest[i];
      if (level == 0) seen.with_more += rest[i] != 0;
    }
    if (left) seen.digits = max(seen.digits, level + 2);
    if (level >= first_level)
      *reinterpret_cast<uint4 *>(digits + (level - first_level) * padded + first) = {
          words[0], words[1], words[2], words[3]};
  }
  unsigned more = 0;  // bit i: entry i has more digits
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) more |= static_cast<unsigned>(rest[i] != 0) << i;
  for (; more; more &= more - 1)
    seen.digits = max(seen.digits, digits_of(line.at(first + __ffs(more) - 1)));
}

// Write `count` digits of every entry, from level `first_level` up; with `Value` char the lowest one
// alone. What the entries are is what `found` tells, if it is not null.
template <class Value, class Source>
__device__ void write_row(Source const &source, int64_t row, int64_t d, Target const &target,
                          int first_level, int count, Found *found) {
  __shared__ float scratch[kThreads / 32];
  __shared__ int most, beyond;
  auto const line = source.line(row);
  int8_t *digits = target.line(row);
  if (threadIdx.x == 0) most = beyond = 0;
  __syncthreads();
  Seen seen;
  for (int64_t first = int64_t{threadIdx.x} * kPerThread; first < target.padded;
       first += int64_t{blockDim.x} * kPerThread) {
    if constexpr (sizeof(Value) == 1) {
      write_lowest(line, first, digits, seen);
    } else {
      write_levels<Value>(line, first, d, digits, target.padded, first_level, count, seen);
    }
  }
  if (!found) return;
  if (seen.digits > 1) {
    atomicMax(&most, seen.digits);
    atomicAdd(&beyond, seen.with_more);
  }
  __syncthreads();
  float const squares =
      reduce_block(seen.squares, scratch, [](float a, float b) { return a + b; });
  if (threadIdx.x > 0) return;
  atomicMax(reinterpret_cast<int *>(&found->largest_square), __float_as_int(squares));
  if (most > 1) atomicMax(&found->digits, most);
  if (beyond > 0) atomicAdd(&found->beyond, static_cast<unsigned long long>(beyond));
}

// Nothing is done where `gate` says so. A block works on row after row.
template <class Value, class Source>
__global__ void __launch_bounds__(kThreads) planes(Source source, int64_t n, int64_t d,
                                                   Target target, int first_level, int count,
                                                   Found *found, int const *gate) {
  if (gate && *gate == 0) return;
  for (int64_t row = blockIdx.x; row < n; row += gridDim.x)
    write_row<Value>(source, row, d, target, first_level, count, found);
}

}  // namespace
}  // namespace accelsim

// x [n, d] is floats of a type of common.hpp, or int64 (type 3). Three digits are had from int32, more
// from int64; the sum of squares is right if no entry needs more digits than are written.
ACCELSIM_EXPORT int accelsim_planes(accelsim::WritePlanes const *args, cudaStream_t stream) {
  using namespace accelsim;
  Target const target{args->digits, args->stride, args->padded, args->rows, args->stored};
  int const first = narrow(args->first), count = narrow(args->count);
  int64_t const wanted = (args->padded / kPerThread + 31) / 32 * 32;
  unsigned const threads = static_cast<unsigned>(wanted < kThreads ? wanted : kThreads);
  auto const run = [&](auto source) {
    auto *const kernel = first + count == 1   ? planes<char, decltype(source)>
                         : first + count <= 3 ? planes<int, decltype(source)>
                                              : planes<int64_t, decltype(source)>;
    // Behind a gate few blocks look whether there is anything to do.
    int64_t const blocks = args->gate && args->n > kBlocksBehind ? kBlocksBehind : args->n;
    kernel<<<static_cast<unsigned>(blocks), threads, 0, stream>>>(
        source, args->n, args->d, target, first, count, static_cast<Found *>(args->found),
        args->gate);
  };
  if (args->type != 3)
    return with_floats(args->x, narrow(args->type), args->d, args->scale, narrow(args->scale_step),
                       run);
  run(Integers{static_cast<int64_t const *>(args->x), args->d});
  return cudaGetLastError();
}
