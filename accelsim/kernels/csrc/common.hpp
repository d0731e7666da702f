// Elements, vector loads and block reductions that the kernels of the front end share.
#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "export.h"

namespace accelsim {

// Element types as the Python side numbers them.
enum class Type : int { kFloat32 = 0, kFloat16 = 1, kBfloat16 = 2 };

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

// What is left of an integer above its lowest balanced digit.
template <int kBits>
__device__ inline int high_part(int value) {
  return (value >> kBits) + ((value >> (kBits - 1)) & 1);
}

// Load kCount elements from `source[first ...]`, zeros beyond `end`; 16-byte loads if `aligned`.
template <int kCount, class T>
__device__ inline void load(T const *source, int64_t first, int64_t end, bool aligned,
                            float (&values)[kCount]) {
  constexpr int kPerVector = 16 / sizeof(T);
  static_assert(kCount % kPerVector == 0, "whole vectors");
  if (aligned && first + kCount <= end) {
    uint4 vectors[kCount / kPerVector];
#pragma unroll
    for (int v = 0; v < kCount / kPerVector; ++v)
      vectors[v] = __ldg(reinterpret_cast<uint4 const *>(source + first) + v);
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      values[i] = to_float(reinterpret_cast<T const *>(vectors)[i]);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      values[i] = first + i < end ? to_float(source[first + i]) : 0.0f;
  }
}

template <class T, class Operator>
__device__ inline T reduce_warp(T value, Operator const &combine) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2)
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}

// The combination over all threads, in thread 0 alone. `scratch` holds one T a warp.
template <class T, class Operator>
__device__ inline T reduce_block(T value, T *scratch, Operator const &combine) {
  value = reduce_warp(value, combine);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0)
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) value = combine(value, scratch[warp]);
  return value;
}

// Call `function(T{})` for the element type that `type` names.
template <class Function>
int with_type(int type, Function const &function) {
  switch (static_cast<Type>(type)) {
    case Type::kFloat32: function(float{}); break;
    case Type::kFloat16: function(__half{}); break;
    case Type::kBfloat16: function(__nv_bfloat16{}); break;
    default: return cudaErrorInvalidValue;
  }
  return cudaGetLastError();
}

}  // namespace accelsim
