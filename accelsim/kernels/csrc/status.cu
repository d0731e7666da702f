// Whether a run is exact, decided on the device when both operands are written.
#include "entries.hpp"
#include "packed.hpp"

namespace accelsim {
namespace {

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
  unsigned serial;               // of the run; in the host's memory it is written last
};

struct Side {
  Found const *found;
  unsigned long long const *nonfinite;  // null: it was seen to be finite
  float const *scale;                   // null: a scale for each row
  int planned;                          // digits that the product takes
  int dense;                            // digits that the dense product behind the gate takes; 0: none
};

// `flags_of_run` are flags and a count of listed products. `limit` is what no sum may reach.
// `sticks`: nobody repeats a run that is not exact. The operands were multiplied by 2^exponent in all
// before they were rounded. `host`, unless it is null, gets a copy, which is complete when it has the
// `serial`.
__global__ void conclude(Side a, Side b, unsigned const *flags_of_run, double limit, bool provable,
                         bool sticks, int exponent, Status *status, Status *host, unsigned serial) {
  unsigned flags = *flags_of_run, broken = 0;
  Side const sides[2] = {a, b};
  bool dense = a.dense > 0 && b.dense > 0;
  double scale = 1, bound = 1;
  for (int i = 0; i < 2; ++i) {
    Side const &side = sides[i];
    int const digits = side.found->digits;
    broken |= side.found->flags;
    if (digits > side.planned) flags |= kDigitsFew;
    dense = dense && digits <= side.dense;
    status->digits[i] = digits;
    status->beyond[i] = side.found->beyond;
    status->largest_square[i] = side.found->largest_square;
    bound *= static_cast<double>(side.found->largest_square);
    unsigned long long const nonfinite = side.nonfinite ? *side.nonfinite : 0;
    if (nonfinite) broken |= kNotFinite;
    if (!(status->sticky & kNotFinite)) status->nonfinite[i] = nonfinite;
    if (side.scale) {
      if (!(*side.scale > 0)) broken |= kUndefined;
      scale *= static_cast<double>(*side.scale);
    }
  }
  // Cauchy and Schwarz: no entry of C exceeds the product of the norms of its row and column.
  // The float32 sums of squares are off by less than one part in 500.
  if (!provable || !(bound * 1.004 < limit * limit)) flags |= kNoProof;
  flags |= broken;
  bool const repairable = dense && broken == 0 && !(flags & kNoProof);
  status->gate = flags != 0 && repairable;
  status->flags = flags;
  if (status->gate) ++status->replans;
  if (flags != 0 && !repairable) {
    scale = __longlong_as_double(0x7ff8000000000000ll);
    if (sticks) status->sticky |= flags;
  }
  status->scale = ldexp(scale, exponent);
  status->inverse = 1.0 / status->scale;
  status->listed = flags_of_run[1];
  status->serial = serial;
  if (!host) return;
  Status copy = *status;
  copy.serial = *const_cast<unsigned volatile *>(&host->serial);
  *host = copy;
  __threadfence_system();
  *const_cast<unsigned volatile *>(&host->serial) = serial;
}

}  // namespace
}  // namespace accelsim

ACCELSIM_EXPORT int accelsim_conclude(void const *found_a, unsigned long long const *nonfinite_a,
                                      float const *scale_a, int planned_a, int dense_a,
                                      void const *found_b, unsigned long long const *nonfinite_b,
                                      float const *scale_b, int planned_b, int dense_b,
                                      unsigned const *flags, double limit, int provable,
                                      int sticks, int exponent, void *status, void *host,
                                      unsigned serial, cudaStream_t stream) {
  using namespace accelsim;
  conclude<<<1, 1, 0, stream>>>(
      {static_cast<Found const *>(found_a), nonfinite_a, scale_a, planned_a, dense_a},
      {static_cast<Found const *>(found_b), nonfinite_b, scale_b, planned_b, dense_b}, flags,
      limit, provable != 0, sticks != 0, exponent, static_cast<Status *>(status),
      static_cast<Status *>(host), serial);
  return cudaGetLastError();
}
ACCELSIM_PACKED(accelsim_conclude)
