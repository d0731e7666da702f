// Round an operand and write its rows in digits: the lowest ones of every row, then the further
// digits of those that need any.
#include <algorithm>

#include "common.hpp"
#include "mail.hpp"

namespace accelsim {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 16;
constexpr int kListing = 1024;            // threads of the block that lists rows
constexpr int kMostLevels = 32;           // more than an integer of 32 bits has digits
constexpr int64_t kMostCopied = 1 << 14;  // rows that one block sends to the host
constexpr int64_t kMostBlocks = 1 << 12;  // for further digits: most often there are few

// What is asked for; the Python side (write_digits.py) has the same structure.
struct Operand {
  float const *x;      // [rows, d]
  int64_t d;
  float const *scale;  // of row i: scale[i * scale_step]
  int64_t scale_step;
  int64_t stride;      // of a row of digits, a multiple of 16
  int shift;           // the radix is 2^shift
  int lowest;          // the smallest low digit; a digit fits from here to lowest + 2^shift - 1
  int aligned;         // whether 16 bytes of x can be loaded at once
};

__device__ inline int low_digit(int64_t value, Operand const &operand) {
  unsigned const mask = (1u << operand.shift) - 1;
  return static_cast<int>((static_cast<unsigned>(value) - operand.lowest) & mask) + operand.lowest;
}

// Call `digit_of(integer)` for all entries of a row and write what it returns.
template <class Function>
__device__ inline void write_row(Operand const &operand, int64_t row, int8_t *target,
                                 Function const &digit_of) {
  float const *source = operand.x + row * operand.d;
  float const scale = operand.scale[row * operand.scale_step];
  for (int64_t first = int64_t{threadIdx.x} * kPerThread; first < operand.stride;
       first += kThreads * kPerThread) {
    float values[kPerThread];
    load(source, first, operand.d, operand.aligned, values);
    uint32_t words[kPerThread / 4] = {};
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      int const digit = digit_of(__float2int_rn(__fmul_rn(values[i], scale)));
      words[i / 4] |= (digit & 255u) << (8 * (i % 4));
    }
    *reinterpret_cast<uint4 *>(target + first) = {words[0], words[1], words[2], words[3]};
  }
}

// How many digits an integer needs.
__device__ inline int levels_of(int64_t value, Operand const &operand) {
  int64_t const highest = operand.lowest + (int64_t{1} << operand.shift) - 1;
  int levels = 1;
  for (int64_t low = operand.lowest, high = highest; value < low || value > high; ++levels) {
    low = (low << operand.shift) + operand.lowest;
    high = (high << operand.shift) + highest;
  }
  return levels;
}

// Row i of `digits` gets the lowest digits of row i. `found` [2, rows]: digits that the row needs, and
// its entries that do not fit one.
__global__ void __launch_bounds__(kThreads) write_lowest(Operand operand, int8_t *digits,
                                                         int *found) {
  __shared__ int scratch[3][kThreads / 32];
  int64_t const row = blockIdx.x;
  int const highest = operand.lowest + (1 << operand.shift) - 1;
  int least = 0, most = 0, outside = 0;
  write_row(operand, row, digits + row * operand.stride, [&](int value) {
    least = min(least, value);
    most = max(most, value);
    outside += value < operand.lowest || value > highest;
    return low_digit(value, operand);
  });
  least = reduce_block(least, scratch[0], [](int a, int b) { return min(a, b); });
  most = reduce_block(most, scratch[1], [](int a, int b) { return max(a, b); });
  outside = reduce_block(outside, scratch[2], [](int a, int b) { return a + b; });
  if (threadIdx.x > 0) return;
  found[row] = max(levels_of(least, operand), levels_of(most, operand));
  found[gridDim.x + row] = outside;
}

// What is found in all rows; the Python side (write_digits.py) has the same structure.
struct Summary {
  long long outside;         // entries that do not fit one digit
  int listed;                // further lines that are listed
  int levels;                // of the row that needs most
  int further[kMostLevels];  // rows that need more than 1, 2, … digits
};

// List the rows that need more than one digit, level by level and in order: places[0][i] is a row and
// places[1][i] the level of its digit, 0 for the lowest. One block; the first `room` are listed.
// `found` [2, rows] is what write_lowest found; unless it is null, `host` gets the summary and what was
// found, as they stand behind each other.
__global__ void __launch_bounds__(kListing) list_further(int const *found, int64_t rows,
                                                         int64_t room, int64_t *places,
                                                         Summary *summary, Summary *host) {
  constexpr int kWarps = kListing / 32;
  __shared__ int64_t counts[kWarps];
  __shared__ long long scratch[kWarps];
  __shared__ int further[kMostLevels];
  int const lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  long long outside = 0;
#pragma unroll 8
  for (int64_t row = threadIdx.x; row < rows; row += kListing) outside += found[rows + row];
  if (host) {
    int *copy = reinterpret_cast<int *>(host + 1);
#pragma unroll 8
    for (int64_t i = threadIdx.x; i < 2 * rows; i += kListing) copy[i] = found[i];
  }
  outside = reduce_block(outside, scratch, [](long long a, long long b) { return a + b; });
  // Each warp has a run of rows: it counts those that need the digit, then lists them.
  int64_t const share = (rows + kListing - 1) / kListing * 32;
  int64_t const first = warp * share, end = min(rows, first + share);
  int64_t total = 0;
  int level = 1;
  for (;; ++level) {
    int64_t count = 0;
#pragma unroll 8
    for (int64_t row = first + lane; row - lane < end; row += 32)
      count += __popc(__ballot_sync(0xffffffffu, row < end && found[row] > level));
    if (lane == 0) counts[warp] = count;
    __syncthreads();
    int64_t const before = total;
    int64_t place = before;
    for (int other = 0; other < kWarps; ++other) {
      if (other < warp) place += counts[other];
      total += counts[other];
    }
    if (total == before) break;
    if (threadIdx.x == 0) further[level - 1] = static_cast<int>(total - before);
#pragma unroll 8
    for (int64_t row = first + lane; row - lane < end; row += 32) {
      bool const wanted = row < end && found[row] > level;
      unsigned const votes = __ballot_sync(0xffffffffu, wanted);
      int64_t const own = place + __popc(votes & ((1u << lane) - 1));
      if (wanted && own < room) places[own] = row, places[room + own] = level;
      place += __popc(votes);
    }
    __syncthreads();
  }
  if (threadIdx.x > 0) return;
  for (Summary *target : {summary, host}) {
    if (!target) continue;
    target->outside = outside;
    target->listed = static_cast<int>(min(total, room));
    target->levels = level;
    for (int i = 0; i < level - 1; ++i) target->further[i] = further[i];
  }
}

// Row i of `digits` gets those of row places[0][i] at level places[1][i], for the first `room` of i or
// as many as `listed` says, unless that is null.
__global__ void __launch_bounds__(kThreads) write_further(Operand operand, int64_t const *places,
                                                          int64_t room, int const *listed,
                                                          int8_t *digits) {
  int64_t const count = listed == nullptr ? room : *listed;
  for (int64_t i = blockIdx.x; i < count; i += gridDim.x) {
    int const level = static_cast<int>(places[room + i]);
    int64_t carry = 0;
    for (int l = 0; l < level; ++l)
      carry -= static_cast<int64_t>(operand.lowest) << (operand.shift * l);
    write_row(operand, places[i], digits + i * operand.stride, [&](int value) {
      return low_digit((value + carry) >> (operand.shift * level), operand);
    });
  }
}

// What is written; the Python side (write_digits.py) has the same structure.
struct Target {
  int8_t *digits;    // [rows + room, stride]
  Summary *summary;  // without room for further lines nothing is written here
  int *found;        // [2, rows], right behind the summary
  int64_t *places;   // [2, room]
  int64_t rows, room;
  Mail mail;         // for the summary and what is found
};

void launch_further(Operand const &operand, int64_t const *places, int64_t room, int const *listed,
                    int8_t *digits, cudaStream_t stream) {
  write_further<<<static_cast<unsigned>(std::min(room, kMostBlocks)), kThreads, 0, stream>>>(
      operand, places, room, listed, digits);
}

}  // namespace
}  // namespace accelsim

// Write the lowest digits of all rows and, as far as there is room behind them, the further ones.
ACCELSIM_EXPORT int accelsim_write_digits(accelsim::Operand const *operand,
                                          accelsim::Target const *target, cudaStream_t stream) {
  using namespace accelsim;
  auto const [digits, summary, found, places, rows, room, mail] = *target;
  write_lowest<<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(*operand, digits, found);
  bool const listing = room > 0, copied = listing && rows <= kMostCopied;
  if (listing)
    list_further<<<1, kListing, 0, stream>>>(
        found, rows, room, places, summary,
        copied ? static_cast<Summary *>(mail.host) : nullptr);
  cudaError_t const sent =
      copied ? seal(mail, stream)
             : send(mail, summary, sizeof(Summary) + 2 * rows * sizeof(int), stream);
  if (sent != cudaSuccess) return sent;
  if (listing)
    launch_further(*operand, places, room, &summary->listed, digits + rows * operand->stride,
                   stream);
  return cudaGetLastError();
}

// Write the digits of chosen rows at chosen levels, places [2, count].
ACCELSIM_EXPORT int accelsim_write_further(accelsim::Operand const *operand, int64_t const *places,
                                           int64_t count, int8_t *digits, cudaStream_t stream) {
  using namespace accelsim;
  launch_further(*operand, places, count, nullptr, digits, stream);
  return cudaGetLastError();
}
