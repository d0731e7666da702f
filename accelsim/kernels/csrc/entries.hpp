// What the kernels of the fused route share about the entries of an operand that 8 bits do not hold.
#pragma once

#include "common.hpp"

namespace accelsim {

// Why a run's result does not count. Also known to the Python side (status.py).
enum Flag : unsigned {
  kListFull = 1,     // a row has more high parts than its list holds
  kColumnsFull = 2,  // more columns have high parts than there is room for
  kDigitsFew = 4,    // an entry needs more digits than were planned
  kNoProof = 8,      // the product's bound is beyond what the sums hold
  kCrossFull = 16,   // a tile of C has more products of two high parts than its list holds
  kUndefined = 32,   // a scale is no positive finite float32
  kNotFinite = 64,   // an entry is NaN or infinite
};

// What a pass over an operand finds; zeros before it. Also known to the Python side (operand.py).
struct Found {
  float largest_square;  // the largest sum of squares of a row, off by less than one part in 500
  int digits;            // how many 8-bit digits the largest entry needs, where that is more than one
  unsigned flags;
  unsigned unused;
  unsigned long long beyond;  // entries that need more than one
};

// A listed entry: what is left of it above its low 8-bit digit.
struct Entry {
  int column;
  int high;
};

// Write the digits of a high part: the lowest one in `digits[(groups - 1) * step]`, the others before
// it. Returns whether it has no more of them.
__device__ inline bool write_high_digits(int8_t *digits, int step, int groups, int high) {
  for (int group = groups - 1; group >= 0; --group) {
    digits[group * step] = static_cast<int8_t>(high);
    high = high_part<8>(high);
  }
  return high == 0;
}

constexpr int kBlock = 256;        // rows of an operand that share columns of high digits
constexpr int kTileRows = 128;     // a tile of C: rows of A
constexpr int kTileColumns = 256;  // and rows of B

}  // namespace accelsim
