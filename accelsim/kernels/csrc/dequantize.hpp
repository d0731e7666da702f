// Integers to floating point with one rounding: the exact quotient C / scale, to nearest, ties to even.
#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace accelsim {

// Round-to-odd makes the last bit sticky: a second rounding to at most two bits less then gives what
// one rounding would (Boldo and Melquiond, IEEE Trans. Computers 57(4), 2008).

__device__ inline float round_to_odd(double x) {
  float const toward_zero = __double2float_rz(x);
  unsigned const bits = __float_as_uint(toward_zero);
  return static_cast<double>(toward_zero) == x || (bits & 0x7fffffffu) >= 0x7f800000u
             ? toward_zero
             : __uint_as_float(bits | 1u);
}

// c / scale, scale positive, rounded to odd. The remainder of a quotient is exact in an fma.
__device__ inline double quotient_to_odd(double c, double scale) {
  double const quotient = c / scale;
  double const remainder = fma(-quotient, scale, c);
  if (remainder == 0) return quotient;
  long long bits = __double_as_longlong(quotient);
  if ((remainder < 0) != (c < 0)) --bits;  // it was rounded away from zero
  return __longlong_as_double(bits | 1);
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

// The scale of all of C, on the device, and that of each row and column if they have their own.
struct ResultScales {
  double const *common;  // and its inverse behind it; NaN for a result that does not count
  float const *rows;     // null: none
  float const *columns;
};

// Where the quotient of a sum and a scale lies beside the middle between two bfloat16s is the sign of an
// fma, which rounds once. `near` is so close to the quotient that the bfloat16 below it is one of its
// neighbours; middle and scale have no more bits than their product in the fma.
__device__ inline __nv_bfloat16 round_beside(float near, double sum, double scale) {
  unsigned const bits = __float_as_uint(near), below = bits & 0x7fff0000u;
  double const middle = __uint_as_float(below | 0x8000u);
  double const excess = fma(-middle, scale, fabs(sum));
  bool const up = excess > 0 || (excess == 0 && (below & 0x10000u));
  unsigned const rounded = (bits & 0x80000000u) | (below + (up ? 0x10000u : 0u));
  return __ushort_as_bfloat16(static_cast<unsigned short>(rounded >> 16));
}

// Turns int32 sums into bfloat16 by a scale for each row and column, as `Dequantizer` does, in float32.
// An integer, the inverse of a row's scale (twice), that of a column's and two products are rounded: six
// roundings of at most 2^-24 of a number's size, and so at most 6 units in the last place.
struct LineScales {
  static constexpr unsigned kMiddle = 0x8000u, kMargin = 7u;
  static constexpr float kLeast = 0x1p-100f;

  // 0 where the float32 quotients may overflow or be subnormal.
  __device__ static float inverse_of_row(double const *common, float scale) {
    double const whole = common[0] * scale;
    bool const simple = whole > 0x1p-40 && whole < 0x1p40 && scale > 0x1p-40f && scale < 0x1p40f;
    return simple ? static_cast<float>(common[1] * static_cast<double>(__frcp_rn(scale))) : 0.0f;
  }
  __device__ static float inverse_of_column(float scale) {
    return scale > 0x1p-40f && scale < 0x1p40f ? __frcp_rn(scale) : 0.0f;
  }
  __device__ static float quotient(int sum, float of_row, float of_column) {
    return __fmul_rn(__fmul_rn(__int2float_rn(sum), of_row), of_column);
  }
  // How far a quotient is from the middle below it, in the upper half; small if it may be beyond it.
  __device__ static unsigned from_middle(float quotient) {
    return (__float_as_uint(quotient) - (kMiddle - kMargin)) << 16;
  }
  __device__ static bool rounds_right(unsigned from_middle, float magnitude) {
    return from_middle > (2 * kMargin) << 16 && magnitude >= kLeast;
  }
  __device__ static __nv_bfloat16 exactly(int sum, float quotient, double scale) {
    if (fabsf(quotient) >= kLeast) return round_beside(quotient, sum, scale);
    if (sum == 0 && scale > 0) return __ushort_as_bfloat16(0);
    return round_once<__nv_bfloat16>(quotient_to_odd(static_cast<double>(sum), scale));
  }
};

// Turns int32 sums into a floating-point type by one scale for all.
template <class T>
struct Dequantizer {
  double scale, inverse;

  __device__ explicit Dequantizer(double const *common) : scale(common[0]), inverse(common[1]) {}

  // The quotient in float64 is off by less than 4 units in its last place: unless it is that close
  // to the middle between two numbers of the type, it rounds as the exact one does.
  template <int kCount>
  __device__ void operator()(int const (&sums)[kCount], T (&results)[kCount]) const {
    constexpr int kDropped = sizeof(T) == 4 ? 29 : 42;  // bits of a float64
    constexpr unsigned long long kMiddle = 1ull << (kDropped - 1), kMargin = 4;
    double const smallest = sizeof(T) == 4 ? 0x1p-125 : 0x1p-13;  // beyond subnormal numbers
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      double quotient = sums[i] * inverse;
      unsigned long long const rest =
          (static_cast<unsigned long long>(__double_as_longlong(quotient)) & (2 * kMiddle - 1)) -
          (kMiddle - kMargin);
      if (rest <= 2 * kMargin || !(fabs(quotient) >= smallest))
        quotient = quotient_to_odd(sums[i], scale);
      results[i] = round_once<T>(quotient);
    }
  }
};

// Conversions from and to float64 are slow. In float32 the sum, the inverse of the scale and their
// product are rounded, each by at most 2^-24 of its size and so all together by at most 3 units in the
// last place. Unless that is how close the product is to the middle between two bfloat16s, it rounds
// as the exact quotient does.
template <>
struct Dequantizer<__nv_bfloat16> {
  double scale, inverse;
  float rounded_inverse;
  bool simple;  // nothing overflows or becomes subnormal

  __device__ explicit Dequantizer(double const *common)
      : scale(common[0]),
        inverse(common[1]),
        rounded_inverse(static_cast<float>(common[1])),
        simple(scale > 0x1p-90 && scale < 0x1p90) {}

  template <int kCount>
  __device__ void operator()(int const (&sums)[kCount], __nv_bfloat16 (&results)[kCount]) const {
    constexpr unsigned kMiddle = 0x8000u, kMargin = 4u;
    float products[kCount];
    unsigned nearest = ~0u;  // to a middle, in the upper half
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      products[i] = __fmul_rn(__int2float_rn(sums[i]), rounded_inverse);
      nearest = min(nearest, (__float_as_uint(products[i]) - (kMiddle - kMargin)) << 16);
    }
    if (simple && nearest > (2 * kMargin) << 16) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) results[i] = __float2bfloat16_rn(products[i]);
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) results[i] = exactly(sums[i]);
    }
  }

 private:
  __device__ __nv_bfloat16 exactly(int sum) const {
    double const c = sum;
    return round_beside(__double2float_rz(c * inverse), c, scale);
  }
};

}  // namespace accelsim
