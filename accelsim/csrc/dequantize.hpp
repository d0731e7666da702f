// Integers to floating point with one rounding.
#pragma once

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

}  // namespace accelsim
