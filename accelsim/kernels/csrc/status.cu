// The conclusion about a run, when both operands are written.
#include "arguments.hpp"
#include "conclude.hpp"
#include "export.h"

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
                             bool provable, bool sticks, int exponent, Status *status,
                             Status *host) {
  Side const sides[2] = {a.side(), b.side()};
  Conclusion const conclusion = conclude(sides, flags[0], limit, provable, exponent);
  record(conclusion, sides, flags[1], sticks, status, host);
}

}  // namespace
}  // namespace accelsim

ACCELSIM_EXPORT int accelsim_conclude(accelsim::Conclude const *args, cudaStream_t stream) {
  using namespace accelsim;
  conclude_run<<<1, 1, 0, stream>>>(
      {static_cast<Found const *>(args->found_a), args->nonfinite_a, args->scale_a,
       narrow(args->planned_a), narrow(args->dense_a)},
      {static_cast<Found const *>(args->found_b), args->nonfinite_b, args->scale_b,
       narrow(args->planned_b), narrow(args->dense_b)},
      args->flags, args->limit, args->provable != 0, args->sticks != 0, narrow(args->exponent),
      static_cast<Status *>(args->status), static_cast<Status *>(args->host));
  return cudaGetLastError();
}
