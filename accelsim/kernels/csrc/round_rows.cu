// Rows with a scale each, from floats to digits in one pass: a block holds a row in its registers, finds
// the k-th largest magnitude there, rounds, and writes the digits where the product wants them.
//
// A histogram of the magnitudes around a guess is nearly always the answer, or next to it. Where it is
// not, the search counts what reaches two thresholds at a time, which close in by interpolation. How good
// the guess was never changes the answer.
#include "entries.hpp"
#include "integers.hpp"
#include "keys.hpp"
#include "search.hpp"

namespace accelsim {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kUsualThreads = 384;  // at most; without spills an SM has three blocks at a time
constexpr int kWarps = kMostThreads / 32;
constexpr unsigned kAll = 0xffffffffu;

}  // namespace

// Also known to the Python side (rows.py).
struct RoundRows {
  void const *x;  // [rows, d], contiguous
  int64_t rows, d;
  int64_t rank;                    // of alpha among a row's magnitudes, 1 for the largest
  int64_t numerator, denominator;  // the share of them that is alpha or larger
  double beta;
  float *scales;                  // [rows]
  unsigned long long *nonfinite;  // becomes the largest entries - index of a NaN or infinity
  Found *found;                   // of all rows; with `by_row` one for each, and `nonfinite` too
  unsigned *flags;                // may be null where no lists are wanted and no slots are known
  float *ratio;                   // of alpha to the mean of magnitudes, in some row; a guess alone
  int8_t *digits;
  int64_t stride, padded;       // of a row, and the width of a plane
  int64_t head_rows, stored;    // a head has so many rows, and room for so many
  int8_t *slots;                // high digits of columns that are known ahead, in the first row
  int const *slot_of;           // [d], or -1; null: none is known
  int8_t *copies;               // of the digits in columns `sources`, in the first row
  int16_t const *sources;       // [copy_count]; what belongs to -1 does not matter
  Entry *entries;               // [rows, list_length]: other high parts; null: they have no place
  int *list_counts;             // [rows]
  int *column_counts, *chains, *next;
  uint8_t *marks;
  int32_t type, nonzero, by_row, planes;
  int32_t groups, slot_count, copy_count, list_length;
};

namespace {

// 16 bytes as entries and as magnitudes.
template <class T>
struct Vector {
  static constexpr int kCount = 16 / sizeof(T);
  uint4 bits;

  __device__ unsigned word(int i) const { return reinterpret_cast<unsigned const *>(&bits)[i]; }
  __device__ float at(int i) const { return to_float(reinterpret_cast<T const *>(&bits)[i]); }
  __device__ unsigned key(int i) const {
    return reinterpret_cast<typename Keys<T>::Bits const *>(&bits)[i] & Keys<T>::kMask;
  }
};

// What the search does with a vector: `Counter` counts the magnitudes that reach either of two
// thresholds, `reaching` has a bit for each that reaches one.
template <class T>
struct Counter;
template <>
struct Counter<float> {
  float low, high;
  int at_low = 0, at_high = 0;

  __device__ Counter(unsigned low, unsigned high)
      : low(Keys<float>::magnitude(low)), high(Keys<float>::magnitude(high)) {}
  __device__ void add(Vector<float> const &vector) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float const magnitude = fabsf(vector.at(i));
      at_low += magnitude >= low;
      at_high += magnitude >= high;
    }
  }
  __device__ unsigned both() const { return at_low | at_high << 16; }
};

template <class T>
using Pair = std::conditional_t<std::is_same_v<T, __half>, __half2, __nv_bfloat162>;

template <class T>
__device__ inline Pair<T> pair(unsigned word) {
  return *reinterpret_cast<Pair<T> const *>(&word);
}

// Two entries at once; a thread has so few that their numbers are exact in 16-bit floats.
template <class T>
struct Counter {
  Pair<T> low, high, at_low, at_high;

  __device__ Counter(unsigned low, unsigned high)
      : low(pair<T>(low | low << 16)),
        high(pair<T>(high | high << 16)),
        at_low(pair<T>(0)),
        at_high(pair<T>(0)) {}
  __device__ void add(Vector<T> const &vector) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      Pair<T> const magnitudes = pair<T>(vector.word(i) & 0x7fff7fffu);
      at_low = __hadd2(at_low, __hge2(magnitudes, low));
      at_high = __hadd2(at_high, __hge2(magnitudes, high));
    }
  }
  __device__ unsigned both() const {
    auto const sum = [](Pair<T> counts) {
      return static_cast<unsigned>(to_float(counts.x) + to_float(counts.y));
    };
    return sum(at_low) | sum(at_high) << 16;
  }
};

// Of the entries of kVectors vectors; `entry_of` says which a bit stands for.
template <class T, int kVectors>
__device__ inline unsigned reaching(Vector<T> const (&vectors)[kVectors], unsigned key) {
  unsigned bits = 0;
#pragma unroll
  for (int v = 0; v < kVectors; ++v)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int const word = v * 4 + i;
      if constexpr (sizeof(T) == 4) {
        bits |= static_cast<unsigned>(vectors[v].key(i) >= key) << word;
      } else {
        unsigned const both = __hge2_mask(pair<T>(vectors[v].word(i) & 0x7fff7fffu),
                                          pair<T>(key | key << 16));
        bits |= both & (0x00010001u << word);
      }
    }
  return bits;
}
template <class T>
__device__ inline int entry_of(int bit) {  // of a row
  constexpr int kCount = Vector<T>::kCount;
  int const word = bit % 16, vector = word / 4;
  int const i = sizeof(T) == 4 ? word % 4 : word % 4 * 2 + bit / 16;
  return static_cast<int>(vector * blockDim.x + threadIdx.x) * kCount + i;
}

// A row in the registers of a block. All threads call its functions, and get the same.
template <class T, int kVectors>
struct Row {
  using K = Keys<T>;
  static constexpr unsigned kBins = 32;
  // A bin has what begins with the same 7 bits behind the point, as bfloat16 has.
  static constexpr int kBinShift = sizeof(T) == 4 ? 16 : std::is_same_v<T, __half> ? 3 : 0;
  Vector<T> vectors[kVectors];
  unsigned (*scratch)[kWarps];  // two lines, used in turns
  int turn = 0;

  __device__ void load(T const *x, int64_t d) {
    constexpr int kCount = Vector<T>::kCount;
    bool const aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      int64_t const first = int64_t{v * blockDim.x + threadIdx.x} * kCount;
      if (aligned && first + kCount <= d) {
        vectors[v].bits = __ldg(reinterpret_cast<uint4 const *>(x + first));
      } else {
        alignas(16) T entries[kCount] = {};
        for (int i = 0; i < kCount; ++i)
          if (first + i < d) entries[i] = x[first + i];
        vectors[v].bits = *reinterpret_cast<uint4 const *>(entries);
      }
    }
  }

  template <class Operator>
  __device__ unsigned combine(unsigned value, Operator const &across_warp) {
    int const lane = threadIdx.x % 32, warps = blockDim.x / 32;
    value = across_warp(value);
    if (lane == 0) scratch[turn][threadIdx.x / 32] = value;
    __syncthreads();
    // 0 changes neither sums nor maxima.
    value = across_warp(lane < warps ? scratch[turn][lane] : 0);
    turn ^= 1;
    return value;
  }
  __device__ unsigned sum(unsigned value) {
    return combine(value, [](unsigned x) { return __reduce_add_sync(kAll, x); });
  }
  __device__ unsigned most(unsigned value) {
    return combine(value, [](unsigned x) { return __reduce_max_sync(kAll, x); });
  }

  // How many magnitudes are at least `low`, and in the upper half how many are at least `high`.
  __device__ unsigned count(unsigned low, unsigned high) {
    Counter<T> counter(low, high);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) counter.add(vectors[v]);
    return sum(counter.both());
  }

  // The largest key below `end`.
  __device__ unsigned largest_below(unsigned end) {
    unsigned found = 0;
#pragma unroll
    for (int v = 0; v < kVectors; ++v)
#pragma unroll
      for (int i = 0; i < Vector<T>::kCount; ++i) {
        unsigned const key = vectors[v].key(i);
        if (key < end) found = max(found, key);
      }
    return most(found);
  }
  // The smallest key from `begin` on; there is one.
  __device__ unsigned smallest_from(unsigned begin) {
    unsigned found = 0;
#pragma unroll
    for (int v = 0; v < kVectors; ++v)
#pragma unroll
      for (int i = 0; i < Vector<T>::kCount; ++i) {
        unsigned const key = vectors[v].key(i);
        if (key >= begin) found = max(found, ~key);
      }
    return ~most(found);
  }

  // The bin of a rank in a histogram around a guess, whose bins are zeros, or what it says of keys
  // beyond. `x`: the row once more.
  __device__ Bracket look(T const *x, int rank, int d, unsigned largest, unsigned guess,
                          unsigned *bins) {
    constexpr unsigned kHalf = kBins / 2 << kBinShift;
    unsigned const first = guess > kHalf ? guess - kHalf : 1;
    unsigned above = 0, hits = reaching(vectors, first);
    for (; hits; hits &= hits - 1) {
      auto const key = static_cast<unsigned>(
          reinterpret_cast<typename K::Bits const *>(x)[entry_of<T>(__ffs(hits) - 1)]) & K::kMask;
      unsigned const bin = (key - first) >> kBinShift;
      if (bin < kBins)
        atomicAdd(bins + bin, 1u);
      else
        ++above;
    }
    above = sum(above);
    int const lane = threadIdx.x % 32;
    unsigned const own = bins[kBins - 1 - lane];
    unsigned through = own;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      unsigned const other = __shfl_up_sync(kAll, through, step);
      if (lane >= step) through += other;
    }
    through += above;
    unsigned const votes = __ballot_sync(kAll, static_cast<int>(through) >= rank);
    if (static_cast<int>(above) >= rank)
      return {first + (kBins << kBinShift), largest + 1, static_cast<int>(above), 0};
    if (votes == 0)
      return {0, first, d, static_cast<int>(__shfl_sync(kAll, through, 31))};
    int const from = __ffs(votes) - 1;
    unsigned const low = first + ((kBins - 1 - from) << kBinShift);
    auto const at_low = static_cast<int>(__shfl_sync(kAll, through, from));
    return {low, low + (1u << kBinShift), at_low,
            at_low - static_cast<int>(__shfl_sync(kAll, own, from))};
  }

  // The key of a rank, 1 for the largest, from what is known of it and of the largest key.
  __device__ unsigned find(int rank, unsigned largest, Bracket known) {
    KeySearch search(known, rank, largest, kBins / 2 << kBinShift);
    while (search.open()) {
      unsigned first, second;
      search.choose(first, second);
      unsigned const counts = count(first, second);
      search.narrow(first, second, counts & 0xffffu, counts >> 16);
    }
    known = search.known;
    if (known.high - known.low == 1) return known.low;
    // The zeros that fill the last vectors up are no entries.
    return known.low > 0 && known.at_low == rank ? smallest_from(known.low)
                                                 : largest_below(known.high);
  }
};

// Where the block's row goes.
struct Place {
  int64_t row;
  int8_t *digits;
  int64_t offset;  // of its row from the first one
};

// An entry beyond 8 bits, of which few are expected.
struct Aside {
  int *listed, *digits;

  __device__ void take(RoundRows const &args, Place const &place, int8_t *staged, int column,
                       int64_t value) const {
    atomicMax(digits, digits_of(value));
    if (args.planes > 1) {
      for (int plane = 0; plane < args.planes; ++plane, value = (value + 128) >> 8)
        place.digits[plane * args.padded + column] = static_cast<int8_t>(value);
      return;
    }
    place.digits[column] = static_cast<int8_t>(value);
    if (staged) staged[column] = static_cast<int8_t>(value);
    int const high = static_cast<int>((value + 128) >> 8);
    int const slot = args.slot_of ? __ldg(args.slot_of + column) : -1;
    if (slot >= 0) {
      if (!write_high_digits(args.slots + place.offset + slot, args.slot_count, args.groups, high))
        atomicOr(args.flags, static_cast<unsigned>(kDigitsFew));
      return;
    }
    if (!args.entries) {
      if (args.flags) atomicOr(args.flags, static_cast<unsigned>(kColumnsFull));
      return;
    }
    if (args.column_counts) atomicAdd(&args.column_counts[column], 1);
    if (args.marks) args.marks[place.row / kBlock * args.d + column] = 1;
    int const position = atomicAdd(listed, 1);
    if (position >= args.list_length) return;
    int const index = static_cast<int>(place.row) * args.list_length + position;
    args.entries[index] = {column, high};
    if (args.chains) args.next[index] = atomicExch(&args.chains[column], index + 1);
  }
};

// The largest key, and about the sum of the magnitudes.
template <class T, int kVectors>
__device__ inline void summarize(Vector<T> const (&vectors)[kVectors], unsigned &largest,
                                 float &magnitudes) {
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        largest = max(largest, vectors[v].key(i));
        magnitudes += fabsf(vectors[v].at(i));
      }
  } else {
    Pair<T> most = pair<T>(0), sums = pair<T>(0);
#pragma unroll
    for (int v = 0; v < kVectors; ++v)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        Pair<T> const both = pair<T>(vectors[v].word(i) & 0x7fff7fffu);
        most = __hmax2_nan(most, both);
        sums = __hadd2(sums, both);
      }
    unsigned const keys = *reinterpret_cast<unsigned const *>(&most) & 0x7fff7fffu;
    largest = max(keys & 0xffffu, keys >> 16);
    magnitudes = to_float(sums.x) + to_float(sums.y);
  }
}

// A key that is not above those of magnitudes from `least` on.
template <class T>
__device__ inline unsigned key_below(float least) {
  auto const near = static_cast<T>(least);
  auto const key = static_cast<unsigned>(
      *reinterpret_cast<typename Keys<T>::Bits const *>(&near)) & Keys<T>::kMask;
  return key > 2 ? key - 2 : 1;
}

// The low bytes of four or eight numbers.
template <int kCount>
__device__ inline void write_bytes(int8_t *where, unsigned const (&numbers)[kCount]) {
  unsigned words[kCount / 4];
#pragma unroll
  for (int i = 0; i < kCount; i += 4)
    words[i / 4] = __byte_perm(__byte_perm(numbers[i], numbers[i + 1], 0x0040),
                               __byte_perm(numbers[i + 2], numbers[i + 3], 0x0040), 0x5410);
  if constexpr (kCount == 8)
    *reinterpret_cast<uint2 *>(where) = {words[0], words[1]};
  else
    *reinterpret_cast<unsigned *>(where) = words[0];
}

template <class T, int kVectors, bool kTwoPlanes, int kThreads>
__global__ void __launch_bounds__(kThreads, kThreads == kUsualThreads ? 3 : 1)
    round_rows(__grid_constant__ RoundRows const args) {
  using K = Keys<T>;
  constexpr int kCount = Vector<T>::kCount;
  constexpr float kMagic = 12582912.0f;       // as in `to_integer`
  constexpr float kFirstBeyond = 127.5f;      // what rounds to more than 8 bits is at least this
  constexpr float kFirstBeyondTwo = 32639.5f;
  __shared__ unsigned scratch[2][kWarps];
  __shared__ float partial[kWarps];
  __shared__ unsigned bins[32];
  __shared__ float ratio;
  __shared__ int listed, digits, beyond;
  extern __shared__ __align__(16) int8_t staged[];
  cudaTriggerProgrammaticLaunchCompletion();  // a product of few rows may load its weights
  int64_t const row = blockIdx.x;
  int const d = static_cast<int>(args.d);
  auto const *x = static_cast<T const *>(args.x) + row * d;
  int64_t const offset = (row / args.head_rows * args.stored + row % args.head_rows) * args.stride;
  Place const place{row, args.digits + offset, offset};
  bool const copies = args.copy_count > 0;
  Found *const found = args.found + (args.by_row ? row : 0);
  if (threadIdx.x == 0) listed = digits = beyond = 0;
  Row<T, kVectors> entries;
  entries.scratch = scratch;
  entries.load(x, d);
  if (args.slot_of)
    for (int byte = threadIdx.x * 16; byte < args.groups * args.slot_count; byte += blockDim.x * 16)
      *reinterpret_cast<uint4 *>(args.slots + offset + byte) = {0, 0, 0, 0};

  // The largest magnitude, and about the mean.
  unsigned largest = 0;
  float magnitudes = 0;
  summarize(entries.vectors, largest, magnitudes);
  auto const add = [](float a, float b) { return a + b; };
  magnitudes = reduce_warp(magnitudes, add);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = magnitudes;
  if (threadIdx.x < 32) bins[threadIdx.x] = 0;
  // Every thread must begin with the same guess, which another block may be changing.
  if (threadIdx.x == 0) ratio = *args.ratio > 0 ? *args.ratio : 2.5f;
  largest = entries.most(largest);
  magnitudes = threadIdx.x % 32 < blockDim.x / 32 ? partial[threadIdx.x % 32] : 0.0f;
  float const mean = reduce_warp(magnitudes, add) / static_cast<float>(d);
  if (largest >= K::kInfinity) {
    // Nobody reads the digits of such an operand.
    auto const all = static_cast<unsigned long long>(args.rows * args.d);
    unsigned long long *const where = args.nonfinite + (args.by_row ? row : 0);
    if (args.by_row && threadIdx.x == 0) *where = 0, *found = {};
    __syncthreads();
    for (int v = 0; v < kVectors; ++v)
      for (int i = 0; i < kCount; ++i)
        if (entries.vectors[v].key(i) >= K::kInfinity)
          atomicMax(where, all - (row * d + (v * blockDim.x + threadIdx.x) * kCount + i));
    if (threadIdx.x == 0) {
      args.scales[row] = __uint_as_float(0x7fffffffu);
      if (args.list_counts) args.list_counts[row] = 0;
    }
    return;
  }

  float scale = 1.0f;
  if (largest > 0) {
    auto const near = static_cast<T>(mean * ratio);
    auto const guess = static_cast<unsigned>(
        *reinterpret_cast<typename K::Bits const *>(&near)) & K::kMask;
    int const ranked = static_cast<int>(args.rank);
    unsigned key = entries.find(ranked, largest, entries.look(x, ranked, d, largest, guess, bins));
    if (key == 0 && args.nonzero) {
      int const present = static_cast<int>(entries.count(1, 1) & 0xffffu);
      Rank const rank{args.numerator, args.denominator};
      key = entries.find(static_cast<int>(rank.of(present)), largest, {0, largest + 1, d, 0});
    }
    float const alpha = K::magnitude(key);
    scale = scale_for(alpha, args.beta);
    if (row == args.rows / 2 && threadIdx.x == 0 && mean > 0) *args.ratio = alpha / mean;
  }

  // Digits.
  float squares = 0;
  unsigned aside = 0;  // a bit for each entry that may not be written right
  int more = 0;        // entries with more than one digit
  if constexpr (!kTwoPlanes) aside = reaching(entries.vectors, key_below<T>(kFirstBeyond / scale));
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    int const first = static_cast<int>(v * blockDim.x + threadIdx.x) * kCount;
    unsigned low[kCount], second[kCount] = {};
    float products[kCount], most = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      products[i] = __fmul_rn(entries.vectors[v].at(i), scale);
      if constexpr (kTwoPlanes) most = fmaxf(most, fabsf(products[i]));
      float const shifted = __fadd_rn(products[i], kMagic);
      float const rounded = __fsub_rn(shifted, kMagic);
      squares = fmaf(rounded, rounded, squares);
      low[i] = __float_as_uint(shifted);
    }
    if (most >= kFirstBeyond) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        bool const small = fabsf(products[i]) < kFirstBeyondTwo;
        int const value = small ? to_integer(products[i]) : 0;
        second[i] = static_cast<unsigned>((value + 128) >> 8);
        more += has_high_part(value);
        int const word = v * 4 + (sizeof(T) == 4 ? i : i / 2);
        aside |= static_cast<unsigned>(!small) << (sizeof(T) == 4 ? word : word + i % 2 * 16);
      }
    }
    if (first >= args.padded) continue;
    write_bytes(place.digits + first, low);
    if (copies) write_bytes(staged + first, low);
    if constexpr (kTwoPlanes) write_bytes(place.digits + args.padded + first, second);
  }
  if (more > 0) atomicMax(&digits, 2);
  // They are read again, and their digits written once more.
  for (; aside; aside &= aside - 1) {
    int const column = entry_of<T>(__ffs(aside) - 1);
    if (column >= d) continue;
    int64_t const value = __float2ll_rn(__fmul_rn(to_float(x[column]), scale));
    if (value >= -128 && value <= 127) continue;
    ++more;
    Aside{&listed, &digits}.take(args, place, copies ? staged : nullptr, column, value);
  }
  if (more > 0) atomicAdd(&beyond, more);
  squares = reduce_warp(squares, add);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = squares;
  __syncthreads();
  if (threadIdx.x < 32) {
    squares = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0.0f;
    squares = reduce_warp(squares, add);
  }
  if (threadIdx.x == 0) {
    args.scales[row] = scale;
    if (args.list_counts) args.list_counts[row] = min(listed, args.list_length);
    if (args.entries && listed > args.list_length)
      atomicOr(args.flags, static_cast<unsigned>(kListFull));
    unsigned const undefined = isnan(scale) ? kUndefined : 0u;
    if (args.by_row) {
      *found = {squares, digits, undefined, 0, static_cast<unsigned long long>(beyond)};
      args.nonfinite[row] = 0;
    } else {
      atomicMax(reinterpret_cast<int *>(&found->largest_square), __float_as_int(squares));
      if (digits > 1) atomicMax(&found->digits, digits);
      if (beyond > 0) atomicAdd(&found->beyond, static_cast<unsigned long long>(beyond));
      if (undefined) atomicOr(&found->flags, undefined);
    }
  }
  // Copies for the other operand's columns of high digits, four at a time.
  for (int i = threadIdx.x * 4; i < args.copy_count; i += blockDim.x * 4) {
    short4 const from = __ldg(reinterpret_cast<short4 const *>(args.sources + i));
    if (from.x < 0) continue;
    auto const digit = [&](short column) {
      return static_cast<unsigned>(static_cast<uint8_t>(staged[max(column, short{0})]));
    };
    *reinterpret_cast<unsigned *>(args.copies + offset + i) =
        digit(from.x) | digit(from.y) << 8 | digit(from.z) << 16 | digit(from.w) << 24;
  }
}

template <class T, int kVectors>
int launch(RoundRows const &args, int threads, cudaStream_t stream) {
  constexpr int kUsual = kVectors == 4 ? kUsualThreads : kMostThreads;
  auto *kernel = args.planes > 1 ? round_rows<T, kVectors, true, kUsual>
                                 : round_rows<T, kVectors, false, kUsual>;
  if (threads > kUsual)
    kernel = args.planes > 1 ? round_rows<T, kVectors, true, kMostThreads>
                             : round_rows<T, kVectors, false, kMostThreads>;
  int const shared = args.copy_count > 0 ? static_cast<int>(args.padded) : 0;
  kernel<<<static_cast<unsigned>(args.rows), threads, shared, stream>>>(args);
  return cudaGetLastError();
}

}  // namespace
}  // namespace accelsim

// One or two planes. `threads` times the entries of 1, 2 or 4 vectors of 16 bytes hold a plane.
ACCELSIM_EXPORT int accelsim_round_rows(accelsim::RoundRows const *args, cudaStream_t stream) {
  using namespace accelsim;
  int status = cudaErrorInvalidValue;
  int const typed = with_type(args->type, [&](auto element) {
    using T = decltype(element);
    constexpr int kCount = Vector<T>::kCount;
    constexpr int64_t kEnough = 2 * 132;  // rows that fill a GPU; fewer have as many threads as help
    int const least = args->rows <= kEnough ? 1 : 4;
    for (int vectors = least; vectors <= 4; vectors *= 2) {
      int64_t const threads = (args->padded / kCount + 32 * vectors - 1) / (32 * vectors) * 32;
      if (threads > kMostThreads) continue;
      int const count = static_cast<int>(threads);
      status = vectors == 1   ? launch<T, 1>(*args, count, stream)
               : vectors == 2 ? launch<T, 2>(*args, count, stream)
                              : launch<T, 4>(*args, count, stream);
      return;
    }
  });
  return typed != cudaSuccess ? typed : status;
}
