// Columns of high digits beside the low ones, so that one int8 product multiplies them all.
//
// Columns of K with many high parts, in A or in B, get a slot: a column of high digits in every row.
// Other columns get a place for each block of 256 rows in which they have high parts: blocks use the
// same columns of high digits for different columns of K. The other operand gets copies of its low
// digits to multiply them with, slot by slot and, for every block, place by place. Products of two
// high parts outside the slots are few: they are listed for each tile of C.
#include "arguments.hpp"
#include "entries.hpp"
#include "export.h"

namespace accelsim {
namespace {

constexpr int kThreads = 256;
constexpr int kNumbering = 1024;

// One block: number the columns for which wanted(column) holds, in order. `assign` gets each column
// and its number, or -1. Returns in every thread how many there are.
template <class Wanted, class Assign>
__device__ int number_columns(int d, Wanted const &wanted, Assign const &assign) {
  constexpr int kWarps = kNumbering / 32;
  __shared__ int warp_counts[kWarps];
  int const lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // Each warp has a run of columns: it counts them, then numbers them.
  int const share = (d + kWarps * 32 - 1) / (kWarps * 32) * 32;
  int const first = warp * share, end = min(d, first + share);
  int count = 0;
#pragma unroll 8
  for (int column = first + lane; column - lane < end; column += 32)
    count += __popc(__ballot_sync(0xffffffffu, column < end && wanted(column)));
  if (lane == 0) warp_counts[warp] = count;
  __syncthreads();
  int taken = 0, total = 0;
  for (int other = 0; other < kWarps; ++other) {
    if (other == warp) taken = total;
    total += warp_counts[other];
  }
  for (int column = first + lane; column - lane < end; column += 32) {
    bool const has = column < end && wanted(column);
    unsigned const votes = __ballot_sync(0xffffffffu, has);
    if (column < end) assign(column, has ? taken + __popc(votes & ((1u << lane) - 1)) : -1);
    taken += __popc(votes);
  }
  return total;
}

// What is in slot or place i goes to `sources[i]`: a column of K, or -1 from `used` on.
__device__ void clear_rest(int *sources, int used, int room, unsigned *flags) {
  if (!sources) return;
  for (int i = threadIdx.x; i < room; i += kNumbering)
    if (i >= used) sources[i] = -1;
  if (threadIdx.x == 0 && used > room) atomicOr(flags, kColumnsFull);
}

// Give slots to heavy columns: all anew if `first`, else to those that have none yet. `taken` counts
// the slots in use.
__global__ void __launch_bounds__(kNumbering) assign_slots(int const *counts_a, int const *counts_b,
                                                           int d, int threshold_a, int threshold_b,
                                                           int threshold_product, int room,
                                                           bool first, int *slots, int *taken,
                                                           int *sources_a, int *sources_b,
                                                           unsigned *flags) {
  int const before = first ? 0 : *taken;
  auto const has_slot = [&](int column) { return !first && slots[column] >= 0; };
  int const used = before + number_columns(
      d,
      [&](int column) {
        if (has_slot(column)) return false;
        int const a = counts_a ? counts_a[column] : 0, b = counts_b ? counts_b[column] : 0;
        return a >= threshold_a || b >= threshold_b ||
               static_cast<int64_t>(a) * b >= threshold_product;
      },
      [&](int column, int number) {
        if (has_slot(column)) return;
        int const slot = number < 0 || before + number >= room ? -1 : before + number;
        slots[column] = slot;
        if (slot >= 0 && sources_a) sources_a[slot] = column;
        if (slot >= 0 && sources_b) sources_b[slot] = column;
      });
  clear_rest(sources_a, used, room, flags);
  clear_rest(sources_b, used, room, flags);
  if (threadIdx.x == 0) *taken = used;
}

// One block for each block of rows.
__global__ void __launch_bounds__(kNumbering) assign_places(uint8_t const *marks, int d,
                                                            int const *slots, int room, int *places,
                                                            int *sources, unsigned *flags) {
  int64_t const block = blockIdx.x;
  marks += block * d;
  places += block * d;
  sources += block * room;
  int const used = number_columns(
      d, [&](int column) { return marks[column] && !(slots && slots[column] >= 0); },
      [&](int column, int place) {
        if (place >= room) place = -1;
        places[column] = place;
        if (place >= 0) sources[place] = column;
      });
  clear_rest(sources, used, room, flags);
}

// The columns of high digits in a row: `groups` times `slots` of them, the highest digits first, then
// `groups` times `places`.
struct HighColumns {
  int8_t *digits;
  int64_t stride;
  int groups, slots, places;
  int written;          // how many of them `split` has written
  int const *slot_of;   // of a column of K; null without slots
  int const *place_of;  // [blocks, d]; null without places
};

// Listed entries of all rows.
struct Lists {
  Entry const *entries;
  int length;
  int const *counts;
};

// B's high parts, column by column, and where their products with A's go; `chains` is null if there
// are none.
struct Cross {
  int const *chains;
  int const *next;
  Lists b;
  int *counts;  // of each tile of C
  int2 *corrections;  // place in the tile, row by row from 1, and product
  int room, tiles_across;
};

// `flags[1]` counts what is listed.
__device__ void multiply_high_parts(Cross const &cross, int row, Entry const &entry,
                                    unsigned *flags) {
  unsigned listed = 0;
  for (int link = cross.chains[entry.column]; link; link = cross.next[link - 1]) {
    int const column = (link - 1) / cross.b.length;  // of C
    int const tile = row / kTileRows * cross.tiles_across + column / kTileColumns;
    int const position = atomicAdd(&cross.counts[tile], 1);
    if (position >= cross.room) {
      atomicOr(flags, kCrossFull);
      return;
    }
    ++listed;
    unsigned const product = static_cast<unsigned>(entry.high) *
                             static_cast<unsigned>(cross.b.entries[link - 1].high);
    cross.corrections[static_cast<int64_t>(tile) * cross.room + position] = {
        row % kTileRows * kTileColumns + column % kTileColumns + 1, static_cast<int>(product << 16)};
  }
  if (listed > 0) atomicAdd(flags + 1, listed);
}

// One warp a row: write its high digits.
__global__ void __launch_bounds__(kThreads) fill(HighColumns columns, Lists lists, int rows, int d,
                                                 Cross cross, unsigned *flags) {
  int const lane = threadIdx.x % 32;
  int const row = (blockIdx.x * kThreads + threadIdx.x) / 32;
  if (row >= rows) return;
  int8_t *digits = columns.digits + row * columns.stride;
  int const width = columns.groups * (columns.slots + columns.places);
  for (int byte = columns.written + lane * 16; byte < width; byte += 512)
    *reinterpret_cast<uint4 *>(digits + byte) = {0, 0, 0, 0};
  __syncwarp();
  Entry const *list = lists.entries + static_cast<int64_t>(row) * lists.length;
  for (int i = lane; i < lists.counts[row]; i += 32) {
    Entry const entry = list[i];
    int const slot = columns.slot_of ? columns.slot_of[entry.column] : -1;
    int first = slot, step = columns.slots;
    if (slot < 0) {
      int const place =
          columns.place_of
              ? columns.place_of[static_cast<int64_t>(row / kBlock) * d + entry.column]
              : -1;
      if (place < 0) {
        atomicOr(flags, kColumnsFull);
        continue;
      }
      first = columns.groups * columns.slots + place;
      step = columns.places;
      if (cross.chains) multiply_high_parts(cross, row, entry, flags);
    }
    if (!write_high_digits(digits + first, step, columns.groups, entry.high))
      atomicOr(flags, kDigitsFew);
  }
}

// Four words of four bytes each: byte i of word j becomes byte j of word i.
__device__ inline void transpose(uint32_t (&words)[4]) {
  uint32_t const low01 = __byte_perm(words[0], words[1], 0x5140);
  uint32_t const low23 = __byte_perm(words[2], words[3], 0x5140);
  uint32_t const high01 = __byte_perm(words[0], words[1], 0x7362);
  uint32_t const high23 = __byte_perm(words[2], words[3], 0x7362);
  words[0] = __byte_perm(low01, low23, 0x5410);
  words[1] = __byte_perm(low01, low23, 0x7632);
  words[2] = __byte_perm(high01, high23, 0x5410);
  words[3] = __byte_perm(high01, high23, 0x7632);
}

// Where the word of a column is in shared memory: a thread writes 16 in a row, and its neighbours
// should not meet it in the same banks.
__device__ inline int word_of(int column) { return column ^ ((column >> 5 & 3) << 2); }

// Copy columns of a row beside it: `copies[i]` becomes the digit in column `sources[i]`. Sources come
// in runs of 128; in each, unused ones (-1) are the last, and what is copied there, or not, does not
// matter: it is multiplied by zeros. Whole sectors of 32 bytes are written, so that none has to be
// read. A block has four rows, side by side in shared memory: byte r of a word.
__global__ void __launch_bounds__(kThreads) gather(int8_t *digits, int64_t stride, int columns,
                                                   int64_t copies, int const *sources, int width) {
  extern __shared__ __align__(16) uint32_t staged[];
  int8_t *rows = digits + int64_t{blockIdx.x} * 4 * stride;
  for (int first = threadIdx.x * 16; first < columns; first += kThreads * 16) {
    uint4 lines[4];
#pragma unroll
    for (int r = 0; r < 4; ++r)
      lines[r] = *reinterpret_cast<uint4 const *>(rows + r * stride + first);
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      uint32_t words[4];
#pragma unroll
      for (int r = 0; r < 4; ++r) words[r] = reinterpret_cast<uint32_t const(&)[4]>(lines[r])[part];
      transpose(words);
      *reinterpret_cast<uint4 *>(staged + word_of(first + 4 * part)) = {words[0], words[1],
                                                                        words[2], words[3]};
    }
  }
  __syncthreads();
  auto const word = [&](int column) { return staged[word_of(max(column, 0))]; };
  for (int i = threadIdx.x * 4; i < width; i += kThreads * 4) {
    if (__ldg(sources + i / 32 * 32) < 0) continue;
    int4 const from = __ldg(reinterpret_cast<int4 const *>(sources + i));
    uint32_t words[4] = {word(from.x), word(from.y), word(from.z), word(from.w)};
    transpose(words);
#pragma unroll
    for (int r = 0; r < 4; ++r)
      *reinterpret_cast<uint32_t *>(rows + r * stride + copies + i) = words[r];
  }
}

// The same, one thread for each four copies, straight from the memory: for a few columns of many.
__global__ void __launch_bounds__(kThreads) gather_few(int8_t *digits, int64_t stride, int64_t rows,
                                                       int64_t copies, int const *sources,
                                                       int width) {
  int64_t const thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  int const i = static_cast<int>(thread % (width / 4)) * 4;
  int64_t const row = thread / (width / 4);
  if (row >= rows) return;
  int4 const from = __ldg(reinterpret_cast<int4 const *>(sources + i));
  if (from.x < 0) return;
  int8_t *line = digits + row * stride;
  auto const byte = [&](int column) {
    return static_cast<uint32_t>(static_cast<uint8_t>(line[max(column, 0)]));
  };
  *reinterpret_cast<uint32_t *>(line + copies + i) =
      byte(from.x) | byte(from.y) << 8 | byte(from.z) << 16 | byte(from.w) << 24;
}

}  // namespace
}  // namespace accelsim

ACCELSIM_EXPORT int accelsim_assign_slots(accelsim::AssignSlots const *args, cudaStream_t stream) {
  using namespace accelsim;
  assign_slots<<<1, kNumbering, 0, stream>>>(
      args->counts_a, args->counts_b, narrow(args->d), narrow(args->threshold_a),
      narrow(args->threshold_b), narrow(args->threshold_product), narrow(args->room),
      args->first != 0, args->slots, args->taken, args->sources_a, args->sources_b, args->flags);
  return cudaGetLastError();
}

ACCELSIM_EXPORT int accelsim_assign_places(accelsim::AssignPlaces const *args,
                                           cudaStream_t stream) {
  using namespace accelsim;
  unsigned const blocks = static_cast<unsigned>((args->rows + kBlock - 1) / kBlock);
  assign_places<<<blocks, kNumbering, 0, stream>>>(args->marks, narrow(args->d), args->slots,
                                                   narrow(args->room), args->places, args->sources,
                                                   args->flags);
  return cudaGetLastError();
}

ACCELSIM_EXPORT int accelsim_fill(accelsim::Fill const *args, cudaStream_t stream) {
  using namespace accelsim;
  HighColumns const columns{args->digits, args->stride, narrow(args->groups), narrow(args->slots),
                            narrow(args->places), narrow(args->written), args->slot_of,
                            args->place_of};
  Lists const lists{static_cast<Entry const *>(args->entries), narrow(args->list_length),
                    args->list_counts};
  Lists const lists_b{static_cast<Entry const *>(args->entries_b), narrow(args->list_length_b),
                      nullptr};
  Cross const cross{args->chains, args->next, lists_b, args->counts,
                    static_cast<int2 *>(args->corrections), narrow(args->room),
                    narrow(args->tiles_across)};
  unsigned const blocks = static_cast<unsigned>((args->rows * 32 + kThreads - 1) / kThreads);
  fill<<<blocks, kThreads, 0, stream>>>(columns, lists, narrow(args->rows), narrow(args->d), cross,
                                        args->flags);
  return cudaGetLastError();
}

ACCELSIM_EXPORT int accelsim_gather(accelsim::Gather const *args, cudaStream_t stream) {
  using namespace accelsim;
  constexpr int kMostShared = 200 << 10, kFew = 16;
  int const columns = narrow(args->columns), width = narrow(args->width), shared = columns * 4;
  if (width * kFew < columns || shared > kMostShared) {
    int64_t const threads = args->rows * (width / 4);
    gather_few<<<static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
        args->digits, args->stride, args->rows, args->copies, args->sources, width);
    return cudaGetLastError();
  }
  cudaError_t const status =
      cudaFuncSetAttribute(gather, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  if (status != cudaSuccess) return status;
  gather<<<static_cast<unsigned>(args->rows / 4), kThreads, shared, stream>>>(
      args->digits, args->stride, columns, args->copies, args->sources, width);
  return cudaGetLastError();
}
