// Where the integers of an operand come from: floats that are rounded, digits, or integers.
//
// A source gives lines (rows); a line loads runs of entries as int32, saturated, and single ones
// exactly.
#pragma once

#include "common.hpp"

namespace accelsim {

constexpr int kPerThread = 16;  // entries of a line that a thread handles at once

// One float32 scale for all rows (step 0), or one for each (step 1).
struct Scale {
  float const *values;
  int step;

  __device__ float of(int64_t row) const { return values[row * step]; }
};

// The rounded entry; adding 1.5 * 2^23 rounds to nearest even in the last place of a float.
__device__ inline int to_integer(float product) {
  constexpr float kMagic = 12582912.0f;
  if (fabsf(product) < 4194304.0f)
    return __float_as_int(product + kMagic) - __float_as_int(kMagic);
  return __float2int_rn(product);
}

__device__ inline bool has_high_part(int value) {
  return static_cast<unsigned>(value) + 128u > 255u;
}

constexpr int kTooManyDigits = 9;  // of magnitudes from 2^62 on, which are refused

// How many balanced 8-bit digits a value has.
__device__ inline int digits_of(int64_t value) {
  constexpr int64_t kLimit = int64_t{1} << 62;
  if (value <= -kLimit || value >= kLimit) return kTooManyDigits;
  int digits = 1;
  for (; value < -128 || value > 127; value = (value + 128) >> 8) ++digits;
  return digits;
}

// rint(x * scale), x contiguous.
template <class T>
struct Floats {
  T const *x;
  int64_t d;
  Scale scale;
  bool aligned;

  struct Line {
    T const *x;
    int64_t d;
    float scale;
    bool aligned;

    __device__ void load(int64_t first, int (&integers)[kPerThread]) const {
      float values[kPerThread];
      accelsim::load(x, first, d, aligned, values);
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) integers[i] = to_integer(__fmul_rn(values[i], scale));
    }
    // The cache still has what was loaded.
    __device__ int64_t at(int64_t column) const {
      return __float2ll_rn(__fmul_rn(to_float(x[column]), scale));
    }
  };

  __device__ Line line(int64_t row) const { return {x + row * d, d, scale.of(row), aligned}; }
};

// Up to three planes of digits, the lowest first, each `padded` wide.
struct Planes {
  int8_t const *digits;
  int64_t stride;
  int64_t padded;
  int count;

  struct Line {
    int8_t const *digits;
    int64_t padded;
    int count;

    __device__ void load(int64_t first, int (&integers)[kPerThread]) const {
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) integers[i] = 0;
      for (int plane = count - 1; plane >= 0; --plane) {
        uint4 const vector = *reinterpret_cast<uint4 const *>(digits + plane * padded + first);
        int8_t const *bytes = reinterpret_cast<int8_t const *>(&vector);
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) integers[i] = integers[i] * 256 + bytes[i];
      }
    }
    __device__ int64_t at(int64_t column) const {
      int64_t integer = 0;
      for (int plane = count - 1; plane >= 0; --plane)
        integer = integer * 256 + digits[plane * padded + column];
      return integer;
    }
  };

  __device__ Line line(int64_t row) const { return {digits + row * stride, padded, count}; }
};

// Integers themselves, [rows, d].
struct Integers {
  int64_t const *values;
  int64_t d;

  struct Line {
    int64_t const *values;
    int64_t d;

    __device__ void load(int64_t first, int (&integers)[kPerThread]) const {
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
        int64_t const value = first + i < d ? values[first + i] : 0;
        integers[i] = static_cast<int>(min(max(value, int64_t{INT32_MIN}), int64_t{INT32_MAX}));
      }
    }
    __device__ int64_t at(int64_t column) const { return values[column]; }
  };

  __device__ Line line(int64_t row) const { return {values + row * d, d}; }
};

// Call `function(source)` for floats of the type that `type` names.
template <class Function>
int with_floats(void const *x, int type, int64_t d, float const *scale, int scale_step,
                Function const &function) {
  return with_type(type, [&](auto element) {
    using T = decltype(element);
    bool const aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0 && d * sizeof(T) % 16 == 0;
    function(Floats<T>{static_cast<T const *>(x), d, {scale, scale_step}, aligned});
  });
}

}  // namespace accelsim
