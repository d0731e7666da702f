// Magnitudes as unsigned integers in the same order, the rank of a percentile among them, and the scale
// that follows from a magnitude.
#pragma once

#include <type_traits>

#include "common.hpp"

namespace accelsim {

template <class T>
struct Keys {  // the bits of a number without its sign order magnitudes
  static constexpr int kBits = 8 * sizeof(T) - 1;
  static constexpr unsigned kMask = (1u << kBits) - 1;
  static constexpr unsigned kInfinity = sizeof(T) == 4                      ? 0x7f800000u
                                        : std::is_same_v<T, __nv_bfloat16> ? 0x7f80u
                                                                           : 0x7c00u;
  using Bits = std::conditional_t<sizeof(T) == 2, unsigned short, unsigned>;
  __device__ static float magnitude(unsigned key) {
    auto const bits = static_cast<Bits>(key);
    return to_float(*reinterpret_cast<T const *>(&bits));
  }
};

// The rank of a percentile among `count` magnitudes: count * numerator / denominator, at least 1.
struct Rank {
  int64_t numerator, denominator;
  __device__ int64_t of(int64_t count) const {
    auto const share = static_cast<__int128>(count) * numerator / denominator;
    return max(int64_t{1}, static_cast<int64_t>(share));
  }
};

// beta / (2 alpha), rounded once; NaN where it is no positive finite float32.
__device__ inline float scale_for(float alpha, double beta) {
  float const scale = static_cast<float>(beta / (2.0 * static_cast<double>(alpha)));
  bool const defined = scale > 0 && scale < __uint_as_float(0x7f800000u);
  return defined ? scale : __uint_as_float(0x7fffffffu);
}

}  // namespace accelsim
