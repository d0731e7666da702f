// The k-th largest magnitude of every row, exactly, and the scale that follows from it.
//
// A block has a row, which the cache keeps: a radix select looks at it once for every 11 bits of its
// keys.
#include "arguments.hpp"
#include "entries.hpp"
#include "export.h"
#include "keys.hpp"

namespace accelsim {
namespace {

constexpr int kThreads = 256;
constexpr int kBinBits = 11;
constexpr int kBins = 1 << kBinBits;

// The key of a rank, 1 for the largest. All threads call and get it.
template <class T, class Each>
__device__ unsigned find_key(int64_t rank, Each const &each) {
  using K = Keys<T>;
  __shared__ unsigned histogram[kBins];
  __shared__ unsigned warp_sums[kThreads / 32];
  __shared__ unsigned found_bin;
  __shared__ unsigned found_before;
  constexpr int kShare = kBins / kThreads;
  unsigned prefix = 0, left = static_cast<unsigned>(rank);
  for (int shift = K::kBits - kBinBits, bits = K::kBits; bits > 0;) {
    shift = max(0, shift);
    int const bins = 1 << (bits - shift);
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) histogram[bin] = 0;
    __syncthreads();
    each([&](unsigned key) {
      if (bits == K::kBits || key >> bits == prefix)
        atomicAdd(&histogram[key >> shift & (bins - 1)], 1u);
    });
    __syncthreads();
    // Each thread has a run of bins, the first thread the last ones.
    unsigned sum = 0;
#pragma unroll
    for (int i = 0; i < kShare; ++i) sum += histogram[kBins - 1 - (threadIdx.x * kShare + i)];
    unsigned before = sum;
    int const lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      unsigned const other = __shfl_up_sync(0xffffffffu, before, step);
      if (lane >= step) before += other;
    }
    if (lane == 31) warp_sums[threadIdx.x / 32] = before;
    __syncthreads();
    before -= sum;
    for (unsigned warp = 0; warp < threadIdx.x / 32; ++warp) before += warp_sums[warp];
#pragma unroll
    for (int i = 0; i < kShare; ++i) {
      unsigned const bin = kBins - 1 - (threadIdx.x * kShare + i), count = histogram[bin];
      if (before < left && left <= before + count) found_bin = bin, found_before = before;
      before += count;
    }
    __syncthreads();
    prefix = prefix << (bits - shift) | found_bin;
    left -= found_before;
    bits = shift;
    shift -= kBinBits;
    __syncthreads();
  }
  return prefix;
}

// `nonfinite` becomes the largest (entries of all rows) - (index of a NaN or infinity).
template <class T>
__global__ void __launch_bounds__(kThreads) row_scales(T const *x, int64_t d, Rank rank,
                                                       bool nonzero, double beta, float *scales,
                                                       unsigned long long *nonfinite,
                                                       Found *found) {
  using K = Keys<T>;
  using Bits = typename K::Bits;
  __shared__ unsigned scratch[kThreads / 32];
  __shared__ unsigned largest, present;
  int64_t const row = blockIdx.x;
  auto const *keys = reinterpret_cast<Bits const *>(x + row * d);
  constexpr unsigned kMask = K::kMask;
  constexpr int kVector = 16 / sizeof(T);
  bool const aligned = reinterpret_cast<uintptr_t>(keys) % 16 == 0;
  auto const each = [&](auto const &visit) {
    int64_t done = 0;
    if (aligned) {
      done = d / kVector * kVector;
      for (int64_t first = int64_t{threadIdx.x} * kVector; first < done;
           first += kThreads * kVector) {
        uint4 const vector = __ldg(reinterpret_cast<uint4 const *>(keys + first));
        auto const *each_key = reinterpret_cast<Bits const *>(&vector);
#pragma unroll
        for (int i = 0; i < kVector; ++i) visit(each_key[i] & kMask);
      }
    }
    for (int64_t i = done + threadIdx.x; i < d; i += kThreads) visit(keys[i] & kMask);
  };
  unsigned most = 0, count = 0;
  each([&](unsigned key) {
    most = max(most, key);
    count += key != 0;
  });
  most = reduce_block(most, scratch, [](unsigned a, unsigned b) { return max(a, b); });
  if (threadIdx.x == 0) largest = most;
  __syncthreads();
  count = reduce_block(count, scratch, [](unsigned a, unsigned b) { return a + b; });
  if (threadIdx.x == 0) present = count;
  __syncthreads();
  if (largest >= K::kInfinity) {
    int64_t const entries = int64_t{gridDim.x} * d;
    for (int64_t i = threadIdx.x; i < d; i += kThreads)
      if ((keys[i] & kMask) >= K::kInfinity)
        atomicMax(nonfinite, static_cast<unsigned long long>(entries - (row * d + i)));
  }
  if (largest == 0) {
    if (threadIdx.x == 0) scales[row] = 1.0f;
    return;
  }
  int64_t ranked = rank.of(d);
  if (nonzero && ranked > present) ranked = rank.of(present);
  unsigned const key = find_key<T>(ranked, each);
  if (threadIdx.x > 0) return;
  float const scale = scale_for(K::magnitude(key), beta);
  scales[row] = scale;
  if (isnan(scale)) atomicOr(&found->flags, static_cast<unsigned>(kUndefined));
}

}  // namespace
}  // namespace accelsim

// The scale of each row of x [n, d]: beta / (2 alpha), alpha the magnitude of rank
// d * numerator / denominator; 1 for a row of zeros, NaN and a flag where it is no float32. `nonzero`:
// where alpha is 0 the percentile is that of the entries that are not.
ACCELSIM_EXPORT int accelsim_row_scales(accelsim::RowScales const *args, cudaStream_t stream) {
  using namespace accelsim;
  return with_type(narrow(args->type), [&](auto element) {
    using T = decltype(element);
    row_scales<T><<<static_cast<unsigned>(args->n), kThreads, 0, stream>>>(
        static_cast<T const *>(args->x), args->d, {args->numerator, args->denominator},
        args->nonzero != 0, args->beta, args->scales, args->nonfinite,
        static_cast<Found *>(args->found));
  });
}
