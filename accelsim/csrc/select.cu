// The k-th largest magnitude of a tensor, exactly, in little more than one pass.
//
// A random sample brackets the answer. One pass counts what lies above the bracket and collects
// what lies in it; a radix select of the few collected keys ends the search. If the bracket misses
// or holds too much, the same radix select runs over the whole tensor instead: which of the two it
// is, is decided on the device.
#include "common.hpp"

namespace accelsim {
namespace {

constexpr int kBins = 2048;
constexpr int kLevels = 3;
constexpr int kSampled = 16384;
constexpr int kThreads = 256;
constexpr int kPerThread = 16;
constexpr int kBuffered = 6144;
constexpr unsigned kInfinity = 0x7f800000u;

// Also known to the Python side (select.py), which creates it as zeros.
struct State {
  unsigned long long rank;       // among what is still in question, 1 for the largest
  unsigned long long above;      // entries beyond the bracket
  unsigned long long nonfinite;  // count - index of the first NaN or infinity; 0 for none
  unsigned low, high;            // the bracket, as keys
  unsigned collected;
  unsigned whole;                // 1 if the bracket is useless and the whole tensor is searched
  unsigned prefix;               // the answer's leading bits
  unsigned largest;              // the largest key
  unsigned ticket[2];
  float alpha;                   // the answer
  float scale;                   // beta / (2 alpha) in float32; 1 for zeros; NaN if undefined
  unsigned histogram[kLevels][kBins];
};

// A key orders magnitudes as unsigned integers do.
__device__ inline unsigned key_of(float x) { return __float_as_uint(x) & 0x7fffffffu; }

__device__ inline uint64_t mixed(uint64_t x) {  // SplitMix64's finalizer (Steele et al., 2014)
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// Return the key of this rank (1 is the largest) among kSampled keys in shared memory.
__device__ unsigned sampled_key(unsigned const *keys, int rank, unsigned *histogram,
                                unsigned *found) {
  unsigned prefix = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int bin = threadIdx.x; bin < 256; bin += blockDim.x) histogram[bin] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < kSampled; i += blockDim.x)
      if (shift == 24 || (keys[i] >> (shift + 8)) == prefix)
        atomicAdd(&histogram[(keys[i] >> shift) & 255u], 1u);
    __syncthreads();
    if (threadIdx.x == 0) {
      int bin = 255;
      for (; bin > 0 && static_cast<int>(histogram[bin]) < rank; --bin) rank -= histogram[bin];
      found[0] = (prefix << 8) | bin;
      found[1] = rank;
    }
    __syncthreads();
    prefix = found[0];
    rank = found[1];
    __syncthreads();
  }
  return prefix;
}

template <class T>
__global__ void __launch_bounds__(1024) bracket(T const *x, uint64_t count, uint64_t rank,
                                                State *state) {
  extern __shared__ unsigned keys[];
  __shared__ unsigned histogram[256];
  __shared__ unsigned found[2];
  for (int i = threadIdx.x; i < kSampled; i += blockDim.x)
    keys[i] = key_of(to_float(x[mixed(i) % count]));
  for (int i = threadIdx.x; i < kLevels * kBins; i += blockDim.x) state->histogram[0][i] = 0;
  __syncthreads();
  double const share = static_cast<double>(rank) / count;
  int const middle = static_cast<int>(share * kSampled);
  int const margin = 8 + static_cast<int>(6 * sqrt(kSampled * share * (1 - share)));
  unsigned low = 0, high = 0x7fffffffu;
  if (middle + margin <= kSampled) low = sampled_key(keys, middle + margin, histogram, found);
  if (middle > margin) high = sampled_key(keys, middle - margin, histogram, found);
  if (threadIdx.x == 0) {
    state->rank = rank;
    state->above = state->nonfinite = 0;
    state->low = low;
    state->high = high;
    state->collected = state->whole = state->prefix = state->largest = 0;
    state->ticket[0] = state->ticket[1] = 0;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 6) collect(T const *x, int64_t count, bool aligned,
                                                       State *state, unsigned *buffer,
                                                       unsigned capacity) {
  __shared__ unsigned keys[kBuffered];
  __shared__ unsigned filled, start;
  __shared__ unsigned scratch[kThreads / 32];
  unsigned const low = state->low, high = state->high;
  unsigned above = 0, largest = 0;
  int64_t first_nonfinite = count;
  if (threadIdx.x == 0) filled = 0;
  __syncthreads();
  auto const flush = [&] {
    if (threadIdx.x == 0) start = atomicAdd(&state->collected, filled);
    __syncthreads();
    for (unsigned i = threadIdx.x; i < filled; i += kThreads)
      if (start + i < capacity) buffer[start + i] = keys[i];
    __syncthreads();
    if (threadIdx.x == 0) filled = 0;
    __syncthreads();
  };
  int64_t const step = int64_t{gridDim.x} * kThreads * kPerThread;
  for (int64_t base = int64_t{blockIdx.x} * kThreads * kPerThread; base < count; base += step) {
    int64_t const first = base + threadIdx.x * kPerThread;
    float values[kPerThread];
    load(x, first, count, aligned, values);
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      unsigned const key = key_of(values[i]);
      largest = max(largest, key);
      if (first + i < count) {
        above += key > high;
        if (key >= low && key <= high) keys[atomicAdd(&filled, 1u)] = key;
        if (key >= kInfinity) first_nonfinite = min(first_nonfinite, first + i);
      }
    }
    __syncthreads();
    bool const full = filled > kBuffered - kThreads * kPerThread;
    __syncthreads();
    if (full) flush();
  }
  flush();
  auto const plus = [](unsigned a, unsigned b) { return a + b; };
  auto const greater = [](unsigned a, unsigned b) { return max(a, b); };
  above = reduce_block(above, scratch, plus);
  __syncthreads();
  largest = reduce_block(largest, scratch, greater);
  if (threadIdx.x == 0) {
    atomicAdd(&state->above, static_cast<unsigned long long>(above));
    atomicMax(&state->largest, largest);
  }
  if (first_nonfinite < count)
    atomicMax(&state->nonfinite, static_cast<unsigned long long>(count - first_nonfinite));
}

// Bits of the key that each level decides, from the top: 11, 10 and 10 of 31.
__device__ inline int shift_of(int level) { return level == 0 ? 20 : level == 1 ? 10 : 0; }

template <class T>
__global__ void __launch_bounds__(kThreads) refine(T const *x, int64_t count, bool aligned,
                                                   State *state, unsigned const *buffer,
                                                   unsigned capacity, int level, double beta) {
  __shared__ unsigned histogram[kBins];
  __shared__ bool last;
  int const shift = shift_of(level);
  unsigned const mask = level == 0 ? 2047u : 1023u;
  bool const whole =
      level == 0 ? state->collected > capacity || state->rank <= state->above ||
                       state->rank > state->above + state->collected
                 : state->whole;
  unsigned const prefix = state->prefix;
  for (int bin = threadIdx.x; bin < kBins; bin += kThreads) histogram[bin] = 0;
  __syncthreads();
  auto const enter = [&](unsigned key) {
    if (level == 0 || key >> shift_of(level - 1) == prefix)
      atomicAdd(&histogram[(key >> shift) & mask], 1u);
  };
  if (whole) {
    int64_t const step = int64_t{gridDim.x} * kThreads * kPerThread;
    for (int64_t base = int64_t{blockIdx.x} * kThreads * kPerThread; base < count; base += step) {
      int64_t const first = base + threadIdx.x * kPerThread;
      float values[kPerThread];
      load(x, first, count, aligned, values);
#pragma unroll
      for (int i = 0; i < kPerThread; ++i)
        if (first + i < count) enter(key_of(values[i]));
    }
  } else {
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

  // The last block finds the bin of the answer: 8 bins a thread, the highest first.
  __shared__ unsigned long long sums[kThreads];
  __threadfence();
  constexpr int kShare = kBins / kThreads;
  unsigned counts[kShare];
  unsigned long long sum = 0;
  for (int i = 0; i < kShare; ++i) {
    counts[i] = *reinterpret_cast<unsigned volatile *>(
        &state->histogram[level][kBins - 1 - (threadIdx.x * kShare + i)]);
    sum += counts[i];
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  unsigned long long rank = state->rank - (level == 0 && !whole ? state->above : 0);
  unsigned long long before = 0;
  for (unsigned other = 0; other < threadIdx.x; ++other) before += sums[other];
  __syncthreads();
  if (threadIdx.x == 0) {
    state->whole = whole;
    state->ticket[(level & 1) ^ 1] = 0;
  }
  for (int i = 0; i < kShare; ++i) {
    if (before < rank && rank <= before + counts[i]) {
      unsigned const bin = kBins - 1 - (threadIdx.x * kShare + i);
      unsigned const answer = level == 0 ? bin : (prefix << 10) | bin;
      state->prefix = answer;
      state->rank = rank - before;
      if (level == kLevels - 1) {
        float const alpha = __uint_as_float(answer);
        float const scale = static_cast<float>(beta / (2.0 * static_cast<double>(alpha)));
        bool const defined = scale > 0 && scale < __uint_as_float(kInfinity);
        state->alpha = alpha;
        state->scale = state->largest == 0 ? 1.0f : defined ? scale : __uint_as_float(0x7fc00000u);
      }
    }
    before += counts[i];
  }
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
    constexpr int kShared = kSampled * sizeof(unsigned);
    cudaFuncSetAttribute(bracket<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
    bracket<T><<<1, 1024, kShared, stream>>>(source, count, rank, s);
    int64_t const chunks = (count + kThreads * kPerThread - 1) / (kThreads * kPerThread);
    unsigned const blocks = static_cast<unsigned>(chunks < 6 * sm_count ? chunks : 6 * sm_count);
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
