// From an operand to the low 8-bit digits of its integers.
//
// What is left of an entry above its low digit (its high part, rare) is written or listed row by row
// in the same pass.
#include "arguments.hpp"
#include "entries.hpp"
#include "export.h"
#include "integers.hpp"

namespace accelsim {
namespace {

constexpr int kThreads = 256;

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

// Rows of low digits. Behind `padded` of them lie the slots, at `slots`.
struct Target {
  int8_t *digits;
  int64_t stride;
  int64_t padded;
  int64_t slots;
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

// One block a row. Low digits are followed by zeros up to `padded`.
template <class Source>
__global__ void __launch_bounds__(kThreads) split(Source source, int64_t d, Target target,
                                                  Slots slots, Lists lists, Found *found,
                                                  unsigned *flags) {
  __shared__ int listed, most, beyond;
  __shared__ float scratch[kThreads / 32];
  int64_t const row = blockIdx.x;
  auto const line = source.line(row);
  int8_t *digits = target.digits + row * target.stride;
  if (threadIdx.x == 0) listed = most = beyond = 0;
  if (slots.of)
    for (int byte = threadIdx.x * 16; byte < slots.groups * slots.count; byte += kThreads * 16)
      *reinterpret_cast<uint4 *>(digits + target.slots + byte) = {0, 0, 0, 0};
  __syncthreads();
  float squares = 0;
  for (int64_t first = int64_t{threadIdx.x} * kPerThread; first < target.padded;
       first += kThreads * kPerThread) {
    int values[kPerThread];
    line.load(first, values);
    uint32_t words[kPerThread / 4];
    unsigned high = 0;  // bit i: entry i has a high part
#pragma unroll
    for (int w = 0; w < kPerThread / 4; ++w) {
      words[w] = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int const value = values[4 * w + i];
        words[w] |= (value & 255u) << (8 * i);
        float const magnitude = value;
        squares = fmaf(magnitude, magnitude, squares);
        high |= static_cast<unsigned>(has_high_part(value)) << (4 * w + i);
      }
    }
    *reinterpret_cast<uint4 *>(digits + first) = {words[0], words[1], words[2], words[3]};
    if (high) atomicAdd(&beyond, __popc(high));
    // Few have one: they are read again, and the registers stay free for the others.
    for (; high; high &= high - 1) {
      int const column = static_cast<int>(first) + __ffs(high) - 1;
      int64_t const value = line.at(column);
      atomicMax(&most, digits_of(value));
      int const rest = static_cast<int>((value + 128) >> 8);
      int const slot = slots.of ? __ldg(slots.of + column) : -1;
      if (slot < 0)
        note(lists, row, d, column, rest, atomicAdd(&listed, 1));
      else if (!write_high_digits(digits + target.slots + slot, slots.count, slots.groups, rest))
        atomicOr(flags, kDigitsFew);
    }
  }
  squares = reduce_block(squares, scratch, [](float a, float b) { return a + b; });
  if (threadIdx.x == 0) {
    lists.counts[row] = min(listed, lists.length);
    if (listed > lists.length) atomicOr(flags, kListFull);
    atomicMax(reinterpret_cast<int *>(&found->largest_square), __float_as_int(squares));
    if (most > 1) atomicMax(&found->digits, most);
    if (beyond > 0) atomicAdd(&found->beyond, static_cast<unsigned long long>(beyond));
  }
}

// Count the high parts of every column in each `step`-th row; a block has 32 columns.
template <class T>
__global__ void __launch_bounds__(kThreads) sample_columns(Floats<T> source, int64_t n, int64_t step,
                                                           int *counts) {
  constexpr int kWarps = kThreads / 32;
  __shared__ int found[kWarps][32];
  int const lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int64_t const column = int64_t{blockIdx.x} * 32 + lane;
  int count = 0;
  if (column < source.d) {
#pragma unroll 8
    for (int64_t row = warp * step; row < n; row += kWarps * step) {
      float const x = to_float(source.x[row * source.d + column]);
      count += has_high_part(to_integer(__fmul_rn(x, source.scale.of(row))));
    }
  }
  found[warp][lane] = count;
  __syncthreads();
  if (warp > 0 || column >= source.d) return;
  for (int other = 1; other < kWarps; ++other) count += found[other][lane];
  counts[column] = count;
}

}  // namespace
}  // namespace accelsim

// x [n, d] is floats, or with `planes` rows of as many planes of digits, `x_stride` apart. `slots` is
// null without columns that are known ahead.
ACCELSIM_EXPORT int accelsim_split(accelsim::Split const *args, cudaStream_t stream) {
  using namespace accelsim;
  Slots const known{args->slots, narrow(args->groups), narrow(args->slot_count)};
  Lists const lists{static_cast<Entry *>(args->entries), narrow(args->list_length),
                    args->list_counts, args->column_counts, args->marks, args->chains, args->next};
  Target const target{args->low, args->low_stride, args->padded, args->slots_at};
  auto const run = [&](auto source) {
    split<<<static_cast<unsigned>(args->n), kThreads, 0, stream>>>(
        source, args->d, target, known, lists, static_cast<Found *>(args->found), args->flags);
  };
  if (args->planes == 0)
    return with_floats(args->x, narrow(args->type), args->d, args->scale, narrow(args->scale_step),
                       run);
  run(Planes{static_cast<int8_t const *>(args->x), args->x_stride, args->padded,
             narrow(args->planes)});
  return cudaGetLastError();
}

ACCELSIM_EXPORT int accelsim_sample_columns(accelsim::SampleColumns const *args,
                                            cudaStream_t stream) {
  using namespace accelsim;
  auto const run = [&](auto source) {
    sample_columns<<<static_cast<unsigned>((args->d + 31) / 32), kThreads, 0, stream>>>(
        source, args->n, args->step, args->counts);
  };
  return with_floats(args->x, narrow(args->type), args->d, args->scale, narrow(args->scale_step),
                     run);
}
