// The k-th largest magnitude of a tensor, exactly, in little more than one pass.
//
// A random sample brackets the answer. One pass counts what lies above the bracket and collects
// what lies in it; a radix select of the few collected keys ends the search. If the bracket misses
// or holds too much, the same radix select runs over the whole tensor instead: which of the two it
// is, is decided on the device.
#include <algorithm>
#include <cmath>

#include "common.hpp"

namespace accelsim {
namespace {

constexpr int kBinBits = 11;
constexpr int kBins = 1 << kBinBits;
constexpr int kLevels = 3;  // of 31 bits, 11 at a time
constexpr int kSampleThreads = 1024;
constexpr int kSampledPerThread = 16;
constexpr int kSampled = kSampleThreads * kSampledPerThread;
constexpr int kThreads = 256;
constexpr int kBuffered = 6144;
constexpr unsigned kInfinity = 0x7f800000u;
constexpr unsigned kLargestKey = 0x7fffffffu;

// Also known to the Python side (select.py), which creates it as zeros.
struct State {
  unsigned long long rank;       // among the keys still in question, 1 for the largest
  unsigned long long above;      // keys beyond the bracket
  unsigned long long nonfinite;  // count - index of the first NaN or infinity; 0 for none
  unsigned low, high;            // the keys still in question
  unsigned collected;            // of the bracket; more than fit the buffer make it useless
  unsigned whole;                // 1 if the bracket is useless and the whole tensor is searched
  unsigned unused;
  unsigned largest;              // the largest key
  unsigned ticket[2];
  float alpha;                   // the answer
  float scale;                   // beta / (2 alpha) in float32; 1 for zeros; NaN if undefined
  unsigned histogram[kLevels][kBins];
};

// A key orders magnitudes as unsigned integers do.
__device__ inline unsigned key_of(float x) { return __float_as_uint(x) & kLargestKey; }

__device__ inline uint64_t mixed(uint64_t x) {  // SplitMix64's finalizer (Steele et al., 2014)
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// Find the bin of a rank, counted from the last bin down: it and the rank within it go to `found`.
// All threads call; each reads kBins / kCount bins.
template <int kCount, class Histogram>
__device__ void find_bin(Histogram const &histogram, unsigned long long rank,
                         unsigned long long *warp_sums, unsigned long long *found) {
  constexpr int kShare = kBins / kCount;
  unsigned counts[kShare];
  unsigned long long sum = 0;
#pragma unroll
  for (int i = 0; i < kShare; ++i) {
    counts[i] = histogram(kBins - 1 - (threadIdx.x * kShare + i));
    sum += counts[i];
  }
  unsigned long long before = sum;
  int const lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    unsigned long long const other = __shfl_up_sync(0xffffffffu, before, step);
    if (lane >= step) before += other;
  }
  __syncthreads();
  if (lane == 31) warp_sums[threadIdx.x / 32] = before;
  __syncthreads();
  before -= sum;
  for (unsigned warp = 0; warp < threadIdx.x / 32; ++warp) before += warp_sums[warp];
#pragma unroll
  for (int i = 0; i < kShare; ++i) {
    if (before < rank && rank <= before + counts[i]) {
      found[0] = kBins - 1 - (threadIdx.x * kShare + i);
      found[1] = rank - before;
    }
    before += counts[i];
  }
  __syncthreads();
}

// Return the upper 22 bits of the sampled key of this rank.
__device__ unsigned sampled_key(unsigned const (&keys)[kSampledPerThread], int rank,
                                unsigned *histogram, unsigned long long *warp_sums,
                                unsigned long long *found) {
  unsigned prefix = 0;
#pragma unroll
  for (int shift = 20; shift >= 9; shift -= kBinBits) {
    for (int bin = threadIdx.x; bin < kBins; bin += kSampleThreads) histogram[bin] = 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kSampledPerThread; ++i)
      if (shift == 20 || keys[i] >> 20 == prefix)
        atomicAdd(&histogram[(keys[i] >> shift) & (kBins - 1)], 1u);
    __syncthreads();
    find_bin<kSampleThreads>([&](int bin) { return histogram[bin]; },
                             static_cast<unsigned long long>(rank), warp_sums, found);
    prefix = (prefix << kBinBits) | static_cast<unsigned>(found[0]);
    rank = static_cast<int>(found[1]);
    __syncthreads();
  }
  return prefix;
}

template <class T>
__global__ void __launch_bounds__(kSampleThreads) bracket(T const *x, uint64_t count,
                                                          uint64_t rank, int lower, int upper,
                                                          State *state) {
  __shared__ unsigned histogram[kBins];
  __shared__ unsigned long long warp_sums[kSampleThreads / 32];
  __shared__ unsigned long long found[2];
  unsigned keys[kSampledPerThread];
#pragma unroll
  for (int i = 0; i < kSampledPerThread; ++i)
    keys[i] = key_of(to_float(x[mixed(i * kSampleThreads + threadIdx.x) % count]));
  for (int i = threadIdx.x; i < kLevels * kBins; i += kSampleThreads) state->histogram[0][i] = 0;
  unsigned low = 0, high = kLargestKey;
  if (lower <= kSampled) low = sampled_key(keys, lower, histogram, warp_sums, found) << 9;
  if (upper >= 1) high = (sampled_key(keys, upper, histogram, warp_sums, found) << 9) | 511u;
  if (threadIdx.x == 0) {
    state->rank = rank;
    state->above = state->nonfinite = 0;
    state->low = low;
    state->high = high;
    state->collected = state->whole = state->largest = 0;
    state->ticket[0] = state->ticket[1] = 0;
  }
}

template <class T>
constexpr int kPerThread = 64 / sizeof(T);

template <class T>
__global__ void __launch_bounds__(kThreads) collect(T const *x, int64_t count, bool aligned,
                                                    State *state, unsigned *buffer,
                                                    unsigned capacity) {
  __shared__ unsigned keys[kBuffered];
  __shared__ unsigned filled, start;
  __shared__ unsigned scratch[kThreads / 32];
  unsigned const low = state->low, range = state->high - low, high = state->high;
  unsigned above = 0, largest = 0;
  int64_t first_nonfinite = count;
  if (threadIdx.x == 0) filled = 0;
  __syncthreads();
  constexpr int kEach = kPerThread<T>;
  int64_t const step = int64_t{gridDim.x} * kThreads * kEach;
  for (int64_t base = int64_t{blockIdx.x} * kThreads * kEach; base < count; base += step) {
    int64_t const first = base + threadIdx.x * kEach;
    float values[kEach];
    load(x, first, count, aligned, values);
    unsigned chunk_largest = 0;
    bool const partial = first + kEach > count;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (partial && first + i >= count) break;
      unsigned const key = key_of(values[i]);
      chunk_largest = max(chunk_largest, key);
      above += key > high;
      if (key - low <= range) {
        unsigned const position = atomicAdd(&filled, 1u);
        if (position < kBuffered) keys[position] = key;
      }
    }
    largest = max(largest, chunk_largest);
    if (chunk_largest >= kInfinity) {
#pragma unroll
      for (int i = kEach - 1; i >= 0; --i)
        if (first + i < count && key_of(values[i]) >= kInfinity)
          first_nonfinite = min(first_nonfinite, first + i);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0)
    start = atomicAdd(&state->collected, filled <= kBuffered ? filled : capacity + 1);
  __syncthreads();
  for (unsigned i = threadIdx.x; i < min(filled, static_cast<unsigned>(kBuffered)); i += kThreads)
    if (start < capacity && i < capacity - start) buffer[start + i] = keys[i];
  above = reduce_block(above, scratch, [](unsigned a, unsigned b) { return a + b; });
  __syncthreads();
  largest = reduce_block(largest, scratch, [](unsigned a, unsigned b) { return max(a, b); });
  if (threadIdx.x == 0) {
    atomicAdd(&state->above, static_cast<unsigned long long>(above));
    atomicMax(&state->largest, largest);
  }
  if (first_nonfinite < count)
    atomicMax(&state->nonfinite, static_cast<unsigned long long>(count - first_nonfinite));
}

// Narrow the keys in question to one of 2048 bins. The last block to finish finds which.
template <class T>
__global__ void __launch_bounds__(kThreads) refine(T const *x, int64_t count, bool aligned,
                                                   State *state, unsigned const *buffer,
                                                   unsigned capacity, int level, double beta) {
  __shared__ unsigned histogram[kBins];
  __shared__ unsigned long long warp_sums[kThreads / 32];
  __shared__ unsigned long long found[2];
  __shared__ bool last;
  unsigned long long rank = state->rank;
  bool whole = state->whole;
  unsigned low = state->low, high = state->high;
  if (level == 0) {
    whole = state->collected > capacity || rank <= state->above ||
            rank > state->above + state->collected;
    if (whole)
      low = 0, high = kLargestKey;
    else
      rank -= state->above;
  }
  unsigned const range = high - low;
  int const shift = max(0, 32 - __clz(static_cast<int>(range)) - kBinBits);
  for (int bin = threadIdx.x; bin < kBins; bin += kThreads) histogram[bin] = 0;
  __syncthreads();
  auto const enter = [&](unsigned key) {
    if (key - low <= range) atomicAdd(&histogram[(key - low) >> shift], 1u);
  };
  if (whole) {
    constexpr int kEach = kPerThread<T>;
    int64_t const step = int64_t{gridDim.x} * kThreads * kEach;
    for (int64_t base = int64_t{blockIdx.x} * kThreads * kEach; base < count; base += step) {
      int64_t const first = base + threadIdx.x * kEach;
      float values[kEach];
      load(x, first, count, aligned, values);
#pragma unroll
      for (int i = 0; i < kEach; ++i)
        if (first + i < count) enter(key_of(values[i]));
    }
  } else if (range) {
    for (unsigned i = blockIdx.x * kThreads + threadIdx.x; i < state->collected;
         i += gridDim.x * kThreads)
      enter(buffer[i]);
  }
  __syncthreads();
  for (int bin = threadIdx.x; bin < kBins; bin += kThreads)
    if (histogram[bin]) atomicAdd(&state->histogram[level][bin], histogram[bin]);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(&state->ticket[level & 1], 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
  unsigned const volatile *counts = state->histogram[level];
  if (range) {
    find_bin<kThreads>([&](int bin) { return counts[bin]; }, rank, warp_sums, found);
    low += static_cast<unsigned>(found[0]) << shift;
    high = min(high, low + ((1u << shift) - 1));
    rank = found[1];
  }
  if (threadIdx.x > 0) return;
  state->whole = whole;
  state->rank = rank;
  state->low = low;
  state->high = high;
  state->ticket[(level & 1) ^ 1] = 0;
  if (level < kLevels - 1) return;
  float const alpha = __uint_as_float(low);
  float const scale = static_cast<float>(beta / (2.0 * static_cast<double>(alpha)));
  bool const defined = scale > 0 && scale < __uint_as_float(kInfinity);
  state->alpha = alpha;
  state->scale = state->largest == 0 ? 1.0f : defined ? scale : __uint_as_float(0x7fc00000u);
}

}  // namespace
}  // namespace accelsim

// Find the `rank`-th largest magnitude of x [count] and the scale beta / (2 alpha).
ACCELSIM_EXPORT int accelsim_select(void const *x, int64_t count, int type, int64_t rank,
                                    double beta, void *state, uint32_t *buffer, uint32_t capacity,
                                    int sm_count, cudaStream_t stream) {
  using namespace accelsim;
  auto *s = static_cast<State *>(state);
  bool const aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0;
  return with_type(type, [&](auto element) {
    using T = decltype(element);
    auto const *source = static_cast<T const *>(x);
    // The answer's rank in the sample is binomial; take six standard deviations to either side.
    double const share = static_cast<double>(rank) / count;
    double const middle = share * kSampled;
    double const margin = 8 + 6 * sqrt(middle * (1 - share));
    bracket<T><<<1, kSampleThreads, 0, stream>>>(source, count, rank,
                                                 static_cast<int>(middle + margin),
                                                 static_cast<int>(middle - margin), s);
    // Enough blocks that the keys each one collects fit its buffer with room to spare.
    double const expected = count * 2 * margin / kSampled;
    int64_t const each = kThreads * kPerThread<T>;
    int64_t const chunks = (count + each - 1) / each;
    int64_t const wanted = std::max<double>(8.0 * sm_count, expected / (kBuffered / 3));
    unsigned const blocks = static_cast<unsigned>(chunks < wanted ? chunks : wanted);
    collect<T><<<blocks, kThreads, 0, stream>>>(source, count, aligned, s, buffer, capacity);
    for (int level = 0; level < kLevels; ++level)
      refine<T><<<2 * sm_count, kThreads, 0, stream>>>(source, count, aligned, s, buffer, capacity,
                                                       level, beta);
  });
}

ACCELSIM_EXPORT int64_t accelsim_select_state_bytes() { return sizeof(accelsim::State); }

namespace accelsim {
namespace {

// x [count] to rint(x * scale), one chunk a thread.
template <class T>
__global__ void __launch_bounds__(kThreads) round_all(T const *x, int64_t count, float scale,
                                                      bool aligned, int *integers) {
  constexpr int kChunk = 8;
  int64_t const first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kChunk;
  if (first >= count) return;
  float values[kChunk];
  load(x, first, count, aligned, values);
  alignas(16) int rounded_values[kChunk];
#pragma unroll
  for (int i = 0; i < kChunk; ++i) rounded_values[i] = __float2int_rn(__fmul_rn(values[i], scale));
  if (first + kChunk <= count) {
    auto *target = reinterpret_cast<int4 *>(integers + first);
    target[0] = *reinterpret_cast<int4 *>(rounded_values);
    target[1] = *reinterpret_cast<int4 *>(rounded_values + 4);
  } else {
    for (int i = 0; first + i < count; ++i) integers[first + i] = rounded_values[i];
  }
}

}  // namespace
}  // namespace accelsim

ACCELSIM_EXPORT int accelsim_round(void const *x, int64_t count, int type, double scale,
                                   int *integers, cudaStream_t stream) {
  using namespace accelsim;
  bool const aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0;
  int64_t const a_block = kThreads * 8;
  return with_type(type, [&](auto element) {
    using T = decltype(element);
    round_all<T><<<static_cast<unsigned>((count + a_block - 1) / a_block), kThreads, 0, stream>>>(
        static_cast<T const *>(x), count, static_cast<float>(scale), aligned, integers);
  });
}
