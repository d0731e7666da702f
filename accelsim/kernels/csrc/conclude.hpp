// Whether a run is exact, from what was found about its operands.
#pragma once

#include "entries.hpp"

namespace accelsim {

// Also known to the Python side (status.py). What stays until the host clears it: `sticky` and
// `nonfinite`.
struct Status {
  unsigned flags;             // of this run
  unsigned sticky;            // of all runs whose results were poisoned
  int gate;                   // 1: the dense product must run
  int replans;                // runs in which it had to
  int digits[2];              // of the largest entries, where more than expected
  float largest_square[2];
  unsigned long long nonfinite[2];  // entries - index of the first NaN or infinity; 0 for none
  double scale;               // of the operands with one scale; NaN poisons the result
  double inverse;
  unsigned long long beyond[2];  // entries that need more than one digit
  unsigned listed;               // products of two high parts that were made one by one
  unsigned serial;               // of the run that is reported; the host's is written last
};

struct Side {
  Found found;
  unsigned long long nonfinite;  // 0 if it was seen to be finite
  double scale;                  // 1 where each row has its own
  int planned;                   // digits that the product takes
  int dense;                     // digits that the dense product behind the gate takes; 0: none
};

struct Conclusion {
  unsigned flags;
  bool gate;      // the dense product makes the run exact all the same
  double scale;   // NaN if nothing does
};

// `flags`: what kernels collected. `limit` is what no sum may reach. The operands were multiplied by
// 2^exponent in all before they were rounded.
__device__ inline Conclusion conclude(Side const (&sides)[2], unsigned flags, double limit,
                                      bool provable, int exponent) {
  unsigned broken = 0;
  bool dense = sides[0].dense > 0 && sides[1].dense > 0;
  double scale = 1, bound = 1;
  for (Side const &side : sides) {
    int const digits = side.found.digits;
    broken |= side.found.flags;
    if (digits > side.planned) flags |= kDigitsFew;
    dense = dense && digits <= side.dense;
    bound *= static_cast<double>(side.found.largest_square);
    if (side.nonfinite) broken |= kNotFinite;
    if (!(side.scale > 0)) broken |= kUndefined;
    scale *= side.scale;
  }
  // Cauchy and Schwarz: no entry of C exceeds the product of the norms of its row and column.
  // The float32 sums of squares are off by less than one part in 500.
  if (!provable || !(bound * 1.004 < limit * limit)) flags |= kNoProof;
  flags |= broken;
  bool const repairable = dense && broken == 0 && !(flags & kNoProof);
  if (flags != 0 && !repairable) scale = __longlong_as_double(0x7ff8000000000000ll);
  return {flags, flags != 0 && repairable, ldexp(scale, exponent)};
}

// One thread writes it down. `sticks`: nobody repeats a run that is not exact. `host`, unless it is
// null, gets a copy, which is complete when it has the next serial.
__device__ inline void record(Conclusion const &conclusion, Side const (&sides)[2], unsigned listed,
                              bool sticks, Status *status, Status *host) {
  for (int i = 0; i < 2; ++i) {
    status->digits[i] = sides[i].found.digits;
    status->beyond[i] = sides[i].found.beyond;
    status->largest_square[i] = sides[i].found.largest_square;
    if (!(status->sticky & kNotFinite)) status->nonfinite[i] = sides[i].nonfinite;
  }
  status->gate = conclusion.gate;
  status->flags = conclusion.flags;
  if (conclusion.gate) ++status->replans;
  if (conclusion.flags != 0 && !conclusion.gate && sticks) status->sticky |= conclusion.flags;
  status->scale = conclusion.scale;
  status->inverse = 1.0 / conclusion.scale;
  status->listed = listed;
  if (!host) return;
  unsigned const serial = ++status->serial;
  Status copy = *status;
  copy.serial = *const_cast<unsigned volatile *>(&host->serial);
  *host = copy;
  __threadfence_system();
  *const_cast<unsigned volatile *>(&host->serial) = serial;
}

}  // namespace accelsim
