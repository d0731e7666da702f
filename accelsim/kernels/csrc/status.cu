// The conclusion about a run, when both operands are written.
#include "conclude.hpp"
#include "packed.hpp"

namespace accelsim {
namespace {

struct Operand {
  Found const *found;
  unsigned long long const *nonfinite;  // null: it was seen to be finite
  float const *scale;                   // null: a scale for each row
  int planned, dense;

  __device__ Side side() const {
    double const one_scale = scale ? static_cast<double>(*scale) : 1.0;
    return {*found, nonfinite ? *nonfinite : 0, one_scale, planned, dense};
  }
};

// `flags` are flags and a count of listed products.
__global__ void conclude_run(Operand a, Operand b, unsigned const *flags, double limit,
                             bool provable, bool sticks, int exponent, Status *status, Status *host,
                             unsigned serial) {
  Side const sides[2] = {a.side(), b.side()};
  Conclusion const conclusion = conclude(sides, flags[0], limit, provable, exponent);
  record(conclusion, sides, flags[1], sticks, status, host, serial);
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
  conclude_run<<<1, 1, 0, stream>>>(
      {static_cast<Found const *>(found_a), nonfinite_a, scale_a, planned_a, dense_a},
      {static_cast<Found const *>(found_b), nonfinite_b, scale_b, planned_b, dense_b}, flags,
      limit, provable != 0, sticks != 0, exponent, static_cast<Status *>(status),
      static_cast<Status *>(host), serial);
  return cudaGetLastError();
}
ACCELSIM_PACKED(accelsim_conclude)
