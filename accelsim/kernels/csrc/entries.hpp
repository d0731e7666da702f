// What the kernels of the pipeline share about the entries of an operand that 8 bits do not hold.
#pragma once

#include "common.hpp"

namespace accelsim {

// Why a run's result does not count.
enum Flag : unsigned {
  kListFull = 1,     // a row has more high parts than its list holds
  kColumnsFull = 2,  // more columns have high parts than there is room for
  kDigitsFew = 4,    // a high part needs more digits than there are groups
  kNoProof = 8,      // the product's bound reaches 2^31
  kCrossFull = 16,   // a tile of C has more products of two high parts than its list holds
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
