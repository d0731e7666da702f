// The k-th largest magnitude of a tensor, exactly, in little more than one pass.
//
// A random sample brackets the answer. One pass counts what lies above the bracket and looks closer
// at what lies in it: 16-bit types have so few values there that a histogram of them is the answer;
// float32 keys are collected, and a radix select of the few ends the search. If the bracket misses
// or holds too much, the same radix select runs over the whole tensor instead: which of the two it
// is, is decided on the device.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include <cooperative_groups.h>

#include "mail.hpp"
#include "radix.hpp"

namespace accelsim {
namespace {

constexpr int kLevels = 3;  // of 31 bits, 11 at a time
constexpr int kSampleBits = 15;
constexpr int kSampleThreads = 1024;
constexpr int kSampledPerThread = 8;
constexpr int kSampled = kSampleThreads * kSampledPerThread;
constexpr int kSampleBytes = 2 << kSampleBits;  // a histogram of 16-bit counts
constexpr int kVectors = 2;  // of 16 bytes that a thread has in flight, twice
constexpr int kBuffered = 6144;

// What the host is sent; the Python side (select.py) has the same structure.
struct Answer {
  float alpha;
  float scale;    // beta / (2 alpha) in float32; 1 for zeros; NaN if undefined
  float largest;  // magnitude
};

// Also known to the Python side (select.py); `bracket` sets all but the answer.
struct State {
  unsigned long long rank;       // among the keys still in question, 1 for the largest
  unsigned long long above;      // keys beyond the bracket
  unsigned long long nonfinite;  // count - index of the first NaN or infinity; 0 for none
  unsigned low, high;            // the keys still in question
  unsigned collected;            // of the bracket; more than fit the buffer make it useless
  unsigned done;                 // 1 if the answer is found
  unsigned ticket;               // blocks that have finished
  unsigned largest;              // the largest magnitude, as the bits of a float
  unsigned unused[2];
  float alpha;                   // the answer
  float scale;                   // beta / (2 alpha) in float32; 1 for zeros; NaN if undefined
  unsigned histogram[kLevels][kBins];
};

// A key orders magnitudes as unsigned integers do: the bits of the number without its sign.
template <class T>
struct Keys {
  static constexpr int kBits = 8 * sizeof(T) - 1;
  static constexpr int kPerVector = 16 / sizeof(T);
  static constexpr unsigned kLargest = (1u << kBits) - 1;
  static constexpr bool kSmall = sizeof(T) == 2;

  __device__ static unsigned of(uint4 const &vector, int i) {
    unsigned const words[4] = {vector.x, vector.y, vector.z, vector.w};
    if constexpr (kSmall) return (words[i / 2] >> (16 * (i % 2))) & kLargest;
    return words[i] & kLargest;
  }
  __device__ static float magnitude(unsigned key) {
    if constexpr (!kSmall) return __uint_as_float(key);
    auto const bits = static_cast<unsigned short>(key);
    return to_float(*reinterpret_cast<T const *>(&bits));
  }
};
template <class T>
__device__ constexpr unsigned infinity();
template <>
__device__ constexpr unsigned infinity<float>() { return 0x7f800000u; }
template <>
__device__ constexpr unsigned infinity<__half>() { return 0x7c00u; }
template <>
__device__ constexpr unsigned infinity<__nv_bfloat16>() { return 0x7f80u; }

// A tensor as vectors of 16 bytes, the last one filled up with zeros.
template <class T>
struct Source {
  T const *x;
  int64_t count;
  bool aligned;

  __device__ int valid(int64_t vector) const {
    int64_t const rest = count - vector * Keys<T>::kPerVector;
    return static_cast<int>(min(max(rest, int64_t{0}), int64_t{Keys<T>::kPerVector}));
  }
  __device__ uint4 load(int64_t vector) const {
    constexpr int kEach = Keys<T>::kPerVector;
    if (aligned && (vector + 1) * kEach <= count)
      return __ldg(reinterpret_cast<uint4 const *>(x) + vector);
    alignas(16) T values[kEach] = {};
    int const present = valid(vector);
    for (int i = 0; i < present; ++i) values[i] = x[vector * kEach + i];
    return *reinterpret_cast<uint4 const *>(values);
  }

  // Call `visit(vector, index of the vector, elements in it)` for all vectors that a thread has;
  // loads run ahead of the visits.
  template <class Visit>
  __device__ void each(Visit const &visit) const {
    constexpr int kTile = kThreads * kVectors;
    int64_t const vectors = (count + Keys<T>::kPerVector - 1) / Keys<T>::kPerVector;
    int64_t const step = int64_t{gridDim.x} * kTile;
    uint4 next[kVectors];
    int64_t first = int64_t{blockIdx.x} * kTile + threadIdx.x;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) next[v] = load(first + v * kThreads);
    for (; first - threadIdx.x < vectors; first += step) {
      uint4 current[kVectors];
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        current[v] = next[v];
        next[v] = load(first + step + v * kThreads);
      }
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        int64_t const index = first + v * kThreads;
        visit(current[v], index, valid(index));
      }
    }
  }
};

__device__ inline uint32_t mixed(uint32_t x) {  // MurmurHash3's finalizer (Appleby, 2011)
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}

// The place of a sample: a random one in each of kSampled equal parts, so that no part is missed.
__device__ inline int64_t sampled_index(uint32_t sample, int64_t count) {
  if (count < kSampled) return sample % count;
  uint64_t const part = static_cast<uint64_t>(count) / kSampled;
  return static_cast<int64_t>(sample * part + __umul64hi(uint64_t{mixed(sample + 1)} << 32, part));
}

// Prepare the state: `lower` and `upper` are the bracket's ranks in a sample.
template <class T>
__global__ void __launch_bounds__(kSampleThreads) bracket(Source<T> source, uint64_t rank,
                                                          int lower, int upper, State *state) {
  extern __shared__ __align__(16) unsigned pairs[];  // two counts a word
  __shared__ unsigned warp_sums[kSampleThreads / 32];
  __shared__ unsigned bounds[2];
  constexpr int kWords = kSampleBytes / 4 / kSampleThreads;
  constexpr int kShift = Keys<T>::kBits - kSampleBits;
  auto const *keys = reinterpret_cast<std::conditional_t<Keys<T>::kSmall, unsigned short,
                                                         unsigned> const *>(source.x);
  unsigned sampled[kSampledPerThread];
#pragma unroll
  for (int i = 0; i < kSampledPerThread; ++i)
    sampled[i] = keys[sampled_index(i * kSampleThreads + threadIdx.x, source.count)];
  for (int i = 0; i < kWords; ++i) pairs[i * kSampleThreads + threadIdx.x] = 0;
  for (int i = threadIdx.x; i < kLevels * kBins; i += kSampleThreads) state->histogram[0][i] = 0;
  if (threadIdx.x == 0) bounds[0] = 0, bounds[1] = (1u << kSampleBits) - 1;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kSampledPerThread; ++i) {
    unsigned const bin = (sampled[i] & Keys<T>::kLargest) >> kShift;
    atomicAdd(&pairs[bin / 2], bin % 2 ? 0x10000u : 1u);
  }
  __syncthreads();
  // Each thread has 32 bins, the first thread the last ones.
  unsigned const *own = pairs + (kSampleThreads - 1 - threadIdx.x) * kWords;
  unsigned both = 0;
#pragma unroll
  for (int i = 0; i < kWords / 4; ++i) {
    uint4 const four = reinterpret_cast<uint4 const *>(own)[i];
    both += four.x + four.y + four.z + four.w;
  }
  int const sum = (both & 0xffffu) + (both >> 16);
  int const before = sum_before(static_cast<unsigned>(sum), warp_sums);
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    int const wanted = side ? upper : lower;
    if (before >= wanted || wanted > before + sum) continue;
    int above = before;
    for (int bin = 2 * kWords - 1; bin >= 0; --bin) {
      above += (own[bin / 2] >> (16 * (bin % 2))) & 0xffffu;
      if (above < wanted) continue;
      bounds[side] = (kSampleThreads - 1 - threadIdx.x) * 2 * kWords + bin;
      break;
    }
  }
  __syncthreads();
  if (threadIdx.x > 0) return;
  state->rank = rank;
  state->above = state->nonfinite = 0;
  unsigned const low = bounds[0] << kShift, high = (bounds[1] << kShift) | ((1u << kShift) - 1);
  state->low = low;
  state->high = Keys<T>::kSmall ? min(high, low + kBins - 1) : high;  // for the histogram
  state->collected = state->done = state->ticket = state->largest = 0;
}

template <class T>
__device__ void finish(State *state, unsigned key, double beta, Answer *host) {
  float const alpha = Keys<T>::magnitude(key);
  state->alpha = alpha;
  state->scale = scale_of(alpha, state->largest == 0, beta);
  state->done = 1;
  if (host) *host = {alpha, state->scale, __uint_as_float(state->largest)};
}

// What one thread finds in its vectors of keys.
template <class T>
struct Finding {
  using K = Keys<T>;
  unsigned low, high;    // the bracket
  unsigned above = 0;    // keys beyond it
  unsigned largest = 0;  // key

  // `enter(key)` is called for keys of the bracket.
  template <class Enter>
  __device__ void look(unsigned key, Enter const &enter) {
    largest = max(largest, key);
    above += key > high;
    if (key - low <= high - low) enter(key);
  }
  template <class Enter>
  __device__ void look(uint4 const &vector, Enter const &enter) {
    if constexpr (K::kSmall) {
      look_at_pairs(vector, enter);
    } else {
#pragma unroll
      for (int i = 0; i < K::kPerVector; ++i) look(K::of(vector, i), enter);
    }
  }

  // Two keys at a time. Their free upper bits, set first, tell which of a subtraction's fields were
  // not negative.
  template <class Enter>
  __device__ void look_at_pairs(uint4 const &vector, Enter const &enter) {
    unsigned const words[4] = {vector.x, vector.y, vector.z, vector.w};
    unsigned counted = 0, most = 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      unsigned const keys = words[w] | 0x80008000u;
      counted += ((keys - (high + 1) * 0x10001u) >> 15) & 0x10001u;
      most = __vmaxu2(most, keys);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        unsigned const key = half ? keys >> 16 : keys & 0xffffu;
        if (key - (low | 0x8000u) <= high - low) enter(key & K::kLargest);
      }
    }
    above += (counted & 0xffffu) + (counted >> 16);
    largest = max(largest, max(most & K::kLargest, (most >> 16) & K::kLargest));
  }
};

// The one pass. 16-bit keys of the bracket are counted, and the last block to finish finds the
// answer; float32 keys go to `buffer`.
template <class T>
__global__ void __launch_bounds__(kThreads, 5) pass(Source<T> source, State *state,
                                                    unsigned *buffer, unsigned capacity,
                                                    double beta, Answer *host) {
  using K = Keys<T>;
  __shared__ unsigned keys[K::kSmall ? kBins : kBuffered];  // a histogram, or a list
  __shared__ unsigned filled, start;
  __shared__ unsigned scratch[kThreads / 32];
  unsigned const low = state->low, range = state->high - low;
  Finding<T> found_keys{low, state->high};
  if (threadIdx.x == 0) filled = 0;
  if constexpr (K::kSmall)
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) keys[bin] = 0;
  __syncthreads();
  auto const enter = [&](unsigned key) {
    if constexpr (K::kSmall) {
      atomicAdd(&keys[key - low], 1u);
    } else {
      unsigned const position = atomicAdd(&filled, 1u);
      if (position < kBuffered) keys[position] = key;
    }
  };
  source.each([&](uint4 const &vector, int64_t, int valid) {
    if (valid == K::kPerVector) {
      found_keys.look(vector, enter);
    } else {
      for (int i = 0; i < valid; ++i) found_keys.look(K::of(vector, i), enter);
    }
  });
  unsigned above = found_keys.above, largest = found_keys.largest;
  int64_t first_nonfinite = source.count;
  if (largest >= infinity<T>()) {  // rare enough to look for it again
    source.each([&](uint4 const &vector, int64_t index, int valid) {
      for (int i = valid - 1; i >= 0; --i)
        if (K::of(vector, i) >= infinity<T>())
          first_nonfinite = min(first_nonfinite, index * K::kPerVector + i);
    });
  }
  __syncthreads();
  above = reduce_block(above, scratch, [](unsigned a, unsigned b) { return a + b; });
  __syncthreads();
  largest = reduce_block(largest, scratch, [](unsigned a, unsigned b) { return max(a, b); });
  if (threadIdx.x == 0) {
    atomicAdd(&state->above, static_cast<unsigned long long>(above));
    atomicMax(&state->largest, __float_as_uint(K::magnitude(largest)));
  }
  if (first_nonfinite < source.count)
    atomicMax(&state->nonfinite, static_cast<unsigned long long>(source.count - first_nonfinite));
  if constexpr (!K::kSmall) {
    if (threadIdx.x == 0)
      start = atomicAdd(&state->collected, filled <= kBuffered ? filled : capacity + 1);
    __syncthreads();
    for (unsigned i = threadIdx.x; i < min(filled, static_cast<unsigned>(kBuffered)); i += kThreads)
      if (start < capacity && i < capacity - start) buffer[start + i] = keys[i];
  } else {
    __shared__ unsigned long long warp_sums[kThreads / 32];
    __shared__ unsigned long long found[2];
    for (unsigned bin = threadIdx.x; bin <= range; bin += kThreads)
      if (keys[bin]) atomicAdd(&state->histogram[0][bin], keys[bin]);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      start = atomicAdd(&state->ticket, 1u);
      found[1] = 0;
    }
    __syncthreads();
    if (start < gridDim.x - 1) return;
    __threadfence();
    unsigned long long const beyond = *const_cast<unsigned long long volatile *>(&state->above);
    if (state->rank > beyond) {
      find_bin(state->histogram[0], state->rank - beyond, warp_sums, found);
      if (threadIdx.x == 0 && found[1])
        finish<T>(state, low + static_cast<unsigned>(found[0]), beta, host);
    }
    __syncthreads();
    // The search over the whole tensor, if that found nothing, counts from the beginning.
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) state->histogram[0][bin] = 0;
  }
}

// Radix select, 2048 bins at a time, over what was collected, or over the whole tensor.
template <class T>
__global__ void __launch_bounds__(kThreads) settle(Source<T> source, State *state,
                                                   unsigned const *buffer, unsigned capacity,
                                                   double beta, Answer *host) {
  using K = Keys<T>;
  __shared__ unsigned histogram[kBins];
  __shared__ unsigned long long warp_sums[kThreads / 32];
  __shared__ unsigned long long found[2];
  if (state->done) return;
  unsigned long long rank = state->rank;
  unsigned low = state->low, high = state->high;
  bool const whole = K::kSmall || state->collected > capacity || rank <= state->above ||
                     rank > state->above + state->collected;
  if (whole)
    low = 0, high = K::kLargest;
  else
    rank -= state->above;
  for (int level = 0; level < kLevels && low < high; ++level) {
    unsigned const range = high - low;
    int const shift = max(0, 32 - __clz(static_cast<int>(range)) - kBinBits);
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) histogram[bin] = 0;
    __syncthreads();
    auto const enter = [&](unsigned key) {
      if (key - low <= range) atomicAdd(&histogram[(key - low) >> shift], 1u);
    };
    if (whole) {
      source.each([&](uint4 const &vector, int64_t, int valid) {
#pragma unroll
        for (int i = 0; i < K::kPerVector; ++i)
          if (i < valid) enter(K::of(vector, i));
      });
    } else {
      for (unsigned i = blockIdx.x * kThreads + threadIdx.x; i < state->collected;
           i += gridDim.x * kThreads)
        enter(buffer[i]);
    }
    __syncthreads();
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads)
      if (histogram[bin]) atomicAdd(&state->histogram[level][bin], histogram[bin]);
    cooperative_groups::this_grid().sync();
    find_bin(state->histogram[level], rank, warp_sums, found);
    low += static_cast<unsigned>(found[0]) << shift;
    high = min(high, low + ((1u << shift) - 1));
    rank = found[1];
    __syncthreads();
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) finish<T>(state, low, beta, host);
}

// What is asked for; the Python side (select.py) has the same structure.
struct Search {
  void const *x;     // [count]
  int64_t count;
  int64_t rank;      // 1 for the largest magnitude
  double beta;       // for the scale
  State *state;      // gets the answer
  uint32_t *buffer;  // of `capacity` words
  uint32_t capacity;
  int type;          // of the entries
  int sm_count;      // of the device
  Mail mail;         // for the answer
};

template <class T>
int select(Search const &search, cudaStream_t stream) {
  auto const [x, count, rank, beta, state, buffer, capacity, type, sm_count, mail] = search;
  bool const aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0;
  Source<T> source{static_cast<T const *>(x), count, aligned};
  auto *host = static_cast<Answer *>(mail.host);
  // The answer's rank in the sample is binomial. Within 3.5 standard deviations it is missed in one
  // run of two thousand, which then searches the whole tensor; a wider bracket slows down every run.
  double const share = static_cast<double>(rank) / count;
  double const middle = share * kSampled;
  double const margin = 4 + 3.5 * sqrt(middle * (1 - share));
  cudaError_t const status = cudaFuncSetAttribute(
      bracket<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, kSampleBytes);
  if (status != cudaSuccess) return status;
  bracket<T><<<1, kSampleThreads, kSampleBytes, stream>>>(
      source, rank, static_cast<int>(middle + margin), static_cast<int>(middle - margin), state);
  // Enough blocks that the keys each one collects fit its buffer with room to spare.
  double const expected = count * 2 * margin / kSampled;
  int64_t const each = kThreads * kVectors * Keys<T>::kPerVector;
  int64_t const chunks = (count + each - 1) / each;
  int64_t const wanted = std::max<double>(5.0 * sm_count, expected / (kBuffered / 3));
  unsigned const blocks = static_cast<unsigned>(std::min(chunks, wanted));
  pass<T><<<blocks, kThreads, 0, stream>>>(source, state, buffer, capacity, beta, host);
  Search copy = search;
  void *arguments[] = {&source, &copy.state, &copy.buffer, &copy.capacity, &copy.beta,
                       &copy.mail.host};
  cudaLaunchCooperativeKernel(settle<T>, dim3(2 * sm_count), dim3(kThreads), arguments, 0, stream);
  cudaError_t const sealed = seal(mail, stream);
  return sealed != cudaSuccess ? sealed : cudaGetLastError();
}

}  // namespace
}  // namespace accelsim

// Find the k-th largest magnitude and the scale beta / (2 alpha).
ACCELSIM_EXPORT int accelsim_select(accelsim::Search const *search, cudaStream_t stream) {
  using namespace accelsim;
  int status = cudaSuccess;
  int const known = with_type(search->type, [&](auto element) {
    status = select<decltype(element)>(*search, stream);
  });
  return status != cudaSuccess ? status : known;
}
