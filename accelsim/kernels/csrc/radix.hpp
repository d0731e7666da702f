// Histograms of keys, 11 bits at a time, the bin that holds a rank, and the scale that follows.
#pragma once

#include "common.hpp"

namespace accelsim {

constexpr int kThreads = 256;
constexpr int kBinBits = 11;
constexpr int kBins = 1 << kBinBits;

// The sum over the threads before this one. All threads call.
template <class Sum>
__device__ Sum sum_before(Sum sum, Sum *warp_sums) {
  Sum before = sum;
  int const lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    Sum const other = __shfl_up_sync(0xffffffffu, before, step);
    if (lane >= step) before += other;
  }
  __syncthreads();
  if (lane == 31) warp_sums[threadIdx.x / 32] = before;
  __syncthreads();
  before -= sum;
  for (unsigned warp = 0; warp < threadIdx.x / 32; ++warp) before += warp_sums[warp];
  return before;
}

// beta / (2 alpha), rounded once; 1 for entries that are all zero, NaN where it is no positive float.
__device__ inline float scale_of(float alpha, bool zeros, double beta) {
  if (zeros) return 1.0f;
  float const scale = static_cast<float>(beta / (2.0 * static_cast<double>(alpha)));
  return scale > 0 && scale < __int_as_float(0x7f800000) ? scale : __int_as_float(0x7fffffff);
}

// Find the bin of a rank, counted from the last bin down: it and the rank within it go to `found`.
// All threads call.
__device__ inline void find_bin(unsigned const volatile *histogram, unsigned long long rank,
                         unsigned long long *warp_sums, unsigned long long *found) {
  constexpr int kShare = kBins / kThreads;
  unsigned counts[kShare];
  unsigned long long sum = 0;
#pragma unroll
  for (int i = 0; i < kShare; ++i) {
    counts[i] = histogram[kBins - 1 - (threadIdx.x * kShare + i)];
    sum += counts[i];
  }
  unsigned long long before = sum_before(sum, warp_sums);
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

}  // namespace accelsim
