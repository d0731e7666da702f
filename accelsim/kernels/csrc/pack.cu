// From the sums of a product to its result, where the product's own epilogue does not do it.
#include <type_traits>

#include "arguments.hpp"
#include "dequantize.hpp"
#include "entries.hpp"
#include "export.h"

namespace accelsim {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;
constexpr int64_t kPoison = INT64_MIN;  // an integer that no run gives

// One block a tile of C: add its corrections (modulo 2^32) to the sums. They have a place, row by row
// from 1, and a value; a place of 0 ends the list.
__global__ void correct(int *sums, int64_t stride, int tiles_across, int2 const *corrections,
                        int room) {
  int const tile = blockIdx.x;
  int const row = tile / tiles_across * kTileRows, column = tile % tiles_across * kTileColumns;
  corrections += static_cast<int64_t>(tile) * room;
  for (int i = threadIdx.x; i < room && corrections[i].x > 0; i += blockDim.x) {
    int const place = corrections[i].x - 1;
    atomicAdd(&sums[(row + place / kTileColumns) * stride + column + place % kTileColumns],
              corrections[i].y);
  }
}

// Add products of digits of one weight to 64-bit sums, modulo 2^64.
__global__ void __launch_bounds__(kThreads) accumulate(int const *sums, int64_t count, int shift,
                                                       int64_t *totals) {
  int64_t const i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count)
    totals[i] += static_cast<int64_t>(static_cast<uint64_t>(int64_t{sums[i]}) << shift);
}

// c / scale for any c, as a float64 rounded to odd.
__device__ double wide_quotient(int64_t c, double scale) {
  if (c == 0 || isnan(scale)) return c / scale;
  uint64_t const magnitude = c < 0 ? -static_cast<uint64_t>(c) : static_cast<uint64_t>(c);
  int const up = __clzll(magnitude);
  int exponent;
  // scale = divisor * 2^(exponent - 53), exactly; the quotient has 64 bits or one more.
  auto const divisor = static_cast<uint64_t>(ldexp(frexp(scale, &exponent), 53));
  unsigned __int128 const dividend = static_cast<unsigned __int128>(magnitude << up) << 53;
  unsigned __int128 const quotient = dividend / divisor;
  int const down = quotient >> 64 != 0 ? 12 : 11;  // to 53 bits, the last one sticky
  auto significand = static_cast<uint64_t>(quotient >> down);
  bool const inexact = quotient * divisor != dividend;
  significand |= inexact || static_cast<unsigned __int128>(significand) << down != quotient;
  double const result = ldexp(static_cast<double>(significand), down - up - exponent);
  return c < 0 ? -result : result;
}

template <class Out>
__device__ Out converted(int64_t sum, double scale) {
  bool const narrow = sum > -(int64_t{1} << 53) && sum < int64_t{1} << 53;
  if constexpr (std::is_same_v<Out, int64_t>) {
    return isnan(scale) ? kPoison : sum;
  } else {
    return round_once<Out>(narrow ? quotient_to_odd(static_cast<double>(sum), scale)
                                  : wide_quotient(sum, scale));
  }
}

// Round in float32, as `Dequantizer` does, by a scale for each row and column: five roundings, and so at
// most 5 units in the last place. Returns whether no product is that close to a middle.
__device__ bool beside_no_middle(int const (&sums)[kPerThread], double of_row,
                                 float const (&of_columns)[kPerThread],
                                 __nv_bfloat16 (&results)[kPerThread]) {
  constexpr unsigned kMiddle = 0x8000u, kMargin = 8u;
  bool far = of_row > 0x1p-50 && of_row < 0x1p50;  // nothing overflows or becomes subnormal
  float const inverse = static_cast<float>(1.0 / of_row);
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    far = far && of_columns[i] > 0x1p-40f && of_columns[i] < 0x1p40f;
    float const product = __fmul_rn(__fmul_rn(__int2float_rn(sums[i]), inverse),
                                    __frcp_rn(of_columns[i]));
    unsigned const above = (__float_as_uint(product) - (kMiddle - kMargin)) << 16;
    far = far && above > (2 * kMargin) << 16;
    results[i] = __float2bfloat16_rn(product);
  }
  return far;
}

template <class Sum, class Out>
__device__ bool beside_no_middle(Sum const (&)[kPerThread], double, float const (&)[kPerThread],
                                 Out (&)[kPerThread]) {
  return false;
}

// Rows of the sums are filled up to a multiple of four. Head after head has `n` rows.
template <class Sum, class Out>
__global__ void __launch_bounds__(kThreads) pack(Sum const *sums, int64_t stride, int64_t rows,
                                                 int64_t n, int h, ResultScales scales, Out *out) {
  int64_t const thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  int const across = (h + kPerThread - 1) / kPerThread;
  int64_t const row = thread / across;
  int const column = static_cast<int>(thread % across) * kPerThread;
  if (row >= rows) return;
  Sum values[kPerThread];
#pragma unroll
  for (int i = 0; i < kPerThread; i += 16 / sizeof(Sum))
    *reinterpret_cast<int4 *>(values + i) =
        __ldcs(reinterpret_cast<int4 const *>(sums + row * stride + column + i));
  Out results[kPerThread];
  bool const by_lines = scales.rows || scales.columns;
  if constexpr (std::is_same_v<Sum, int> && !std::is_same_v<Out, int64_t>) {
    if (!by_lines) {
      Dequantizer<Out> const dequantize(scales.common);
      dequantize(values, results);
    }
  }
  if (by_lines || std::is_same_v<Sum, int64_t> || std::is_same_v<Out, int64_t>) {
    double const of_row = scales.common[0] * (scales.rows ? scales.rows[row] : 1.0f);
    float const *given = scales.columns ? scales.columns + row / n * h : nullptr;
    float of_columns[kPerThread];
#pragma unroll
    for (int i = 0; i < kPerThread; ++i)
      of_columns[i] = given && column + i < h ? given[column + i] : 1.0f;
    if (!beside_no_middle(values, of_row, of_columns, results)) {
#pragma unroll
      for (int i = 0; i < kPerThread; ++i)
        results[i] = converted<Out>(values[i], of_row * of_columns[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kPerThread; ++i)
    if (column + i < h) out[row * h + column + i] = results[i];
}

}  // namespace
}  // namespace accelsim

ACCELSIM_EXPORT int accelsim_correct(accelsim::Correct const *args, cudaStream_t stream) {
  accelsim::correct<<<static_cast<unsigned>(args->tiles), 64, 0, stream>>>(
      args->sums, args->stride, accelsim::narrow(args->tiles_across),
      static_cast<int2 const *>(args->corrections), accelsim::narrow(args->room));
  return cudaGetLastError();
}

ACCELSIM_EXPORT int accelsim_accumulate(accelsim::Accumulate const *args, cudaStream_t stream) {
  using namespace accelsim;
  unsigned const blocks = static_cast<unsigned>((args->count + kThreads - 1) / kThreads);
  accumulate<<<blocks, kThreads, 0, stream>>>(args->sums, args->count, narrow(args->shift),
                                              args->totals);
  return cudaGetLastError();
}

ACCELSIM_EXPORT int accelsim_pack(accelsim::Pack const *args, cudaStream_t stream) {
  using namespace accelsim;
  ResultScales const scales{args->common, args->row_scales, args->column_scales};
  int const h = narrow(args->h);
  int64_t const threads = args->rows * ((h + kPerThread - 1) / kPerThread);
  unsigned const blocks = static_cast<unsigned>((threads + kThreads - 1) / kThreads);
  auto const run = [&](auto element) {
    auto *const out = static_cast<decltype(element) *>(args->out);
    auto const convert = [&](auto const *sums) {
      pack<<<blocks, kThreads, 0, stream>>>(sums, args->stride, args->rows, args->n, h, scales, out);
    };
    if (args->wide)
      convert(static_cast<int64_t const *>(args->sums));
    else
      convert(static_cast<int const *>(args->sums));
  };
  if (args->type != 3) return with_type(narrow(args->type), run);
  run(int64_t{});
  return cudaGetLastError();
}
