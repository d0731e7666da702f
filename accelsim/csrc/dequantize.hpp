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
  __device__ T operator()(int sum) const { return round_once<T>(sum * scale); }
};

// Conversions from and to float64 are slow. A product of float32 pairs has a relative error below
// 2^-20, so unless it is that close to the middle between two bfloat16s it rounds as the float64
// product does.
template <>
struct Dequantizer<__nv_bfloat16> {
  double scale;
  float high, low;  // scale = high + low, up to 2^-48
  bool simple;      // nothing overflows or becomes subnormal

  __device__ explicit Dequantizer(double scale)
      : scale(scale),
        high(static_cast<float>(scale)),
        low(static_cast<float>(scale - static_cast<double>(high))),
        simple(scale > 0x1p-90 && scale < 0x1p90) {}

  __device__ __nv_bfloat16 operator()(int sum) const {
    unsigned const magnitude = sum < 0 ? 0u - static_cast<unsigned>(sum) : sum;
    float const upper = static_cast<float>(magnitude & ~0xfffu);
    float const lower = static_cast<float>(magnitude & 0xfffu);
    float const product = fmaf(upper, high, fmaf(lower, high, upper * low));
    constexpr unsigned kMiddle = 0x8000u, kMargin = 32u;
    unsigned const distance = (__float_as_uint(product) & 0xffffu) - (kMiddle - kMargin);
    if (!simple || distance <= 2 * kMargin) return round_once<__nv_bfloat16>(sum * scale);
    return __float2bfloat16_rn(sum < 0 ? -product : product);
  }
};

// int64 results are the integers themselves.
template <>
struct Dequantizer<int64_t> {
  __device__ explicit Dequantizer(double) {}
  __device__ int64_t operator()(int sum) const { return sum; }
};

}  // namespace accelsim
