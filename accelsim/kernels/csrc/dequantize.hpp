// Integers to floating point with one rounding.
#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace accelsim {

// Round a double to a float whose last bit is sticky (round to odd): a second rounding to at most
// 22 bits then gives what one rounding of the double would (Boldo and Melquiond, IEEE Trans.
// Computers 57(4), 2008).
__device__ inline float round_to_odd(double x) {
  float const toward_zero = __double2float_rz(x);
  unsigned const bits = __float_as_uint(toward_zero);
  return static_cast<double>(toward_zero) == x || (bits & 0x7fffffffu) >= 0x7f800000u
             ? toward_zero
             : __uint_as_float(bits | 1u);
}

template <class T>
__device__ T round_once(double x);
template <>
__device__ inline __nv_bfloat16 round_once(double x) {
  return __float2bfloat16_rn(round_to_odd(x));
}
template <>
__device__ inline __half round_once(double x) {
  return __float2half_rn(round_to_odd(x));
}
template <>
__device__ inline float round_once(double x) {
  return __double2float_rn(x);
}

// Turns int32 sums into a floating-point type: the integer times a float64 scale, rounded once.
template <class T>
struct Dequantizer {
  double scale;

  __device__ explicit Dequantizer(double scale) : scale(scale) {}
  template <int kCount>
  __device__ void operator()(int const (&sums)[kCount], T (&results)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) results[i] = round_once<T>(sums[i] * scale);
  }
};

// Conversions from and to float64 are slow. In float32 the sum, the scale and their product are
// rounded, each by at most 2^-24 of its size and so all together by at most 3 units in the last
// place. Unless that is how close the product is to the middle between two bfloat16s, it rounds as
// the float64 product does.
template <>
struct Dequantizer<__nv_bfloat16> {
  double scale;
  float rounded_scale;
  bool simple;  // nothing overflows or becomes subnormal

  __device__ explicit Dequantizer(double scale)
      : scale(scale),
        rounded_scale(static_cast<float>(scale)),
        simple(scale > 0x1p-90 && scale < 0x1p90) {}

  template <int kCount>
  __device__ void operator()(int const (&sums)[kCount], __nv_bfloat16 (&results)[kCount]) const {
    constexpr unsigned kMiddle = 0x8000u, kMargin = 4u;
    float products[kCount];
    unsigned nearest = ~0u;  // to a middle, in the upper half
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      products[i] = __fmul_rn(__int2float_rn(sums[i]), rounded_scale);
      nearest = min(nearest, (__float_as_uint(products[i]) - (kMiddle - kMargin)) << 16);
    }
    if (simple && nearest > (2 * kMargin) << 16) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) results[i] = __float2bfloat16_rn(products[i]);
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) results[i] = round_once<__nv_bfloat16>(sums[i] * scale);
    }
  }
};

// int64 results are the integers themselves.
template <>
struct Dequantizer<int64_t> {
  __device__ explicit Dequantizer(double) {}
  template <int kCount>
  __device__ void operator()(int const (&sums)[kCount], int64_t (&results)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) results[i] = sums[i];
  }
};

}  // namespace accelsim
