// C = A B^T for a few rows of A, as fast as B can be read.
//
// The digits of A stand below each other as rows of their own, so that B is read once, however many
// digits there are. B's rows are the rows of the instruction and A's are its columns. Blocks of a cluster
// have different parts of K, as the warps of a block do; their sums meet in shared memory. What B has
// above its low digits is rare: the result takes it from a list.
#include <type_traits>

#include <cooperative_groups.h>

#include "conclude.hpp"
#include "dequantize.hpp"

namespace accelsim {

// Also known to the Python side (few.py).
struct FewRows {
  int8_t const *a;  // [n, planes, padded], rows `stride_a` apart
  int8_t const *b;  // [h, padded], rows `stride_b` apart
  void *c;          // [n, h]
  int64_t stride_a, stride_b, padded;
  int32_t const *offsets;   // [h + 1]: row j of B has the entries from offsets[j] to offsets[j + 1]
  Entry const *entries;     // what is above its low digits
  Found const *found_a;     // [n]
  unsigned long long const *nonfinite;  // [n]
  Found const *found_b;
  float const *scale_a, *scale_b;  // [n]; [h], or one
  Status *status, *host;           // null: the conclusion is not recorded
  double limit;
  int32_t n, h, planes, digits_b, scale_b_step, exponent, provable, sticks, type, splits, sms;
};

namespace {

namespace cg = cooperative_groups;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kDepth = 64;  // digits of K in a step: 16 for each thread of four
constexpr unsigned kAll = 0xffffffffu;
constexpr int64_t kPoison = INT64_MIN;

__device__ inline uint4 load_once(int8_t const *address) {
  uint4 x;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(address));
  return x;
}

__device__ inline uint4 load_digits(int8_t const *address) {
  uint4 x;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(address)
               : "memory");
  return x;
}

__device__ inline void prefetch(void const *address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

__device__ inline void multiply(int (&sums)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                                unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// A warp concludes from what was found in each row; its first thread returns it.
__device__ Conclusion conclude_rows(FewRows const &args) {
  Found all{};
  unsigned long long nonfinite = 0;
  for (int row = threadIdx.x % 32; row < args.n; row += 32) {
    Found const found = args.found_a[row];
    // fmaxf would drop a NaN.
    if (!(found.largest_square <= all.largest_square)) all.largest_square = found.largest_square;
    all.digits = max(all.digits, found.digits);
    all.flags |= found.flags;
    all.beyond += found.beyond;
    nonfinite = max(nonfinite, args.nonfinite[row]);
  }
  for (int step = 16; step > 0; step /= 2) {
    float const square = __shfl_xor_sync(kAll, all.largest_square, step);
    if (!(square <= all.largest_square)) all.largest_square = square;
    all.digits = max(all.digits, __shfl_xor_sync(kAll, all.digits, step));
    all.flags |= __shfl_xor_sync(kAll, all.flags, step);
    all.beyond += __shfl_xor_sync(kAll, all.beyond, step);
    nonfinite = max(nonfinite, __shfl_xor_sync(kAll, nonfinite, step));
  }
  double const scale_b = args.scale_b_step ? 1.0 : static_cast<double>(*args.scale_b);
  Side const sides[2] = {{all, nonfinite, 1.0, args.planes, 0},
                         {*args.found_b, 0, scale_b, args.digits_b, 0}};
  Conclusion const found =
      conclude(sides, 0, args.limit, args.provable != 0, args.exponent);
  if (threadIdx.x % 32 == 0 && blockIdx.x == 0 && args.status) {
    unsigned const listed = static_cast<unsigned>(args.offsets[args.h]) * args.n;
    record(found, sides, listed, args.sticks != 0, args.status, args.host);
  }
  return found;
}

// `common`: the scale of all of C, NaN to poison it, and its inverse.
template <class Out>
__device__ Out converted(int sum, double const (&common)[2], float of_row, float of_column) {
  double const scale = common[0] * static_cast<double>(of_row) * static_cast<double>(of_column);
  if constexpr (sizeof(Out) == sizeof(int64_t)) {
    return isnan(scale) ? kPoison : sum;
  } else if constexpr (std::is_same_v<Out, __nv_bfloat16>) {
    float const quotient = LineScales::quotient(sum, LineScales::inverse_of_row(common, of_row),
                                                LineScales::inverse_of_column(of_column));
    bool const right = LineScales::rounds_right(LineScales::from_middle(quotient), fabsf(quotient));
    return right ? __float2bfloat16_rn(quotient) : LineScales::exactly(sum, quotient, scale);
  } else {
    return round_once<Out>(quotient_to_odd(static_cast<double>(sum), scale));
  }
}

template <int kTiles, int kColumns>
constexpr int kBlocks = kTiles * kColumns <= 16 ? 2 : 1;  // on an SM

// The sums of half of a block's warps.
template <int kGroups, int kTiles, int kColumns>
constexpr int kSlabs = kWarps / kGroups / 2 * kGroups * kTiles * kColumns * 4 * 32;

// A block has kGroups times kTiles times 16 rows of B, and up to kColumns times 8 rows of digits.
template <class Out, int kGroups, int kTiles, int kColumns>
__global__ void __launch_bounds__(kThreads, kBlocks<kTiles, kColumns>)
    few_rows(__grid_constant__ FewRows const args) {
  constexpr int kRows = kGroups * kTiles * 16;
  constexpr int kParts = kWarps / kGroups;  // of K
  constexpr int kSums = kTiles * kColumns * 4;
  // Sums of warps, and behind them what the blocks of the cluster send: [splits, columns, share].
  extern __shared__ __align__(16) int shared[];
  int *const received = shared + kSlabs<kGroups, kTiles, kColumns>;
  __shared__ double common[2];
  auto const cluster = cg::this_cluster();
  int const rank = static_cast<int>(cluster.block_rank());
  int const warp = threadIdx.x / 32, lane = threadIdx.x % 32, line = lane / 4, quarter = lane % 4;
  int const group = warp % kGroups, part = warp / kGroups;
  int const first_row = static_cast<int>(blockIdx.x) / args.splits * kRows;
  int const columns = args.planes * args.n;

  // Of rows of B from the first one of the block, and of lines of digits: 32 bits are enough.
  int8_t const *const first_of_b = args.b + first_row * args.stride_b + quarter * 16;
  int rows[kTiles][2], lines[kColumns];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      int const row = (group * kTiles + tile) * 16 + half * 8 + line;
      rows[tile][half] = min(row, args.h - 1 - first_row) * static_cast<int>(args.stride_b);
    }
#pragma unroll
  for (int tile = 0; tile < kColumns; ++tile) {
    int const column = min(tile * 8 + line, columns - 1);
    lines[tile] = column % args.n * static_cast<int>(args.stride_a) +
                  column / args.n * static_cast<int>(args.padded) + quarter * 16;
  }
  int const steps = static_cast<int>(args.padded / kDepth), apart = kParts * args.splits;
  int step = rank * kParts + part;
  uint4 b[kTiles][2];
  auto const load_b = [&] {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        b[tile][half] = load_once(first_of_b + (rows[tile][half] + step * kDepth));
  };
  // B is there before A is: the kernel that writes A may still run.
  if (step < steps) load_b();
  for (int later = step + apart; later < steps; later += apart)
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        if (quarter % 2 == 0) prefetch(first_of_b + (rows[tile][half] + later * kDepth));
  // The blocks of a cluster have a share of its columns of C each; a thread has one of them.
  int const share_bits = __ffs(kRows / args.splits) - 1, share = 1 << share_bits;
  int const own = static_cast<int>(threadIdx.x) & (share - 1);
  int const output = first_row + rank * share + own, inside = min(output, args.h - 1);
  int const first_entry = args.offsets[inside], last_entry = args.offsets[inside + 1];
  float const scale_b = args.scale_b_step ? args.scale_b[inside] : 1.0f;
  Entry const entry_ahead = first_entry < last_entry ? args.entries[first_entry] : Entry{0, 0};
  // No block writes to another one's memory before that one runs.
  cluster.barrier_arrive();
  cudaGridDependencySynchronize();

  int sums[kTiles][kColumns][4] = {};
  while (step < steps) {
    constexpr int kAtOnce = kColumns < 4 ? kColumns : 4;
#pragma unroll
    for (int first = 0; first < kColumns; first += kAtOnce) {
      uint4 a[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) a[i] = load_digits(args.a + (lines[first + i] + step * kDepth));
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          uint4 const &upper = b[tile][0], &lower = b[tile][1];
          int(&sum)[4] = sums[tile][first + i];
          multiply(sum, upper.x, lower.x, upper.y, lower.y, a[i].x, a[i].y);
          multiply(sum, upper.z, lower.z, upper.w, lower.w, a[i].z, a[i].w);
        }
    }
    step += apart;
    if (step < steps) load_b();
  }

  // The parts of K in this block.
  auto const each = [&](auto const &visit) {
#pragma unroll
    for (int i = 0; i < kSums; ++i)
      visit(sums[i / 4 / kColumns][i / 4 % kColumns][i % 4], i);
  };
#pragma unroll
  for (int half = kParts / 2; half > 0; half /= 2) {
    int *const slab = shared + ((part % half) * kGroups + group) * kSums * 32 + lane;
    if (part >= half && part < 2 * half) each([&](int &sum, int i) { slab[i * 32] = sum; });
    __syncthreads();
    if (part < half) each([&](int &sum, int i) { sum += slab[i * 32]; });
    __syncthreads();
  }
  cluster.barrier_wait();
  if (part == 0)
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int column = 0; column < kColumns; ++column)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          int const row = (group * kTiles + tile) * 16 + i / 2 * 8 + line;
          int const at = column * 8 + quarter * 2 + i % 2;
          int *const theirs = cluster.map_shared_rank(received, row >> share_bits);
          theirs[(rank * kColumns * 8 + at) * share + (row & (share - 1))] = sums[tile][column][i];
        }
  if (warp == kWarps - 1) {
    Conclusion const conclusion = conclude_rows(args);
    if (lane == 0) common[0] = conclusion.scale, common[1] = 1.0 / conclusion.scale;
  }
  cluster.sync();

  // The parts of K in the cluster.
  if (output >= args.h) return;
  for (int token = threadIdx.x >> share_bits; token < args.n; token += kThreads >> share_bits) {
    unsigned sum = 0;
    for (int other = 0; other < args.splits; ++other)
      for (int plane = 0; plane < args.planes; ++plane) {
        int const at = other * kColumns * 8 + plane * args.n + token;
        sum += static_cast<unsigned>(received[at * share + own]) << (8 * plane);
      }
    int8_t const *const digits = args.a + token * args.stride_a;
    for (int at = first_entry; at < last_entry; ++at) {
      Entry const entry = at == first_entry ? entry_ahead : args.entries[at];
      unsigned integer = 0;
      for (int plane = 0; plane < args.planes; ++plane)
        integer += static_cast<unsigned>(int{digits[plane * args.padded + entry.column]})
                   << (8 * plane);
      sum += (static_cast<unsigned>(entry.high) << 8) * integer;
    }
    static_cast<Out *>(args.c)[int64_t{token} * args.h + output] =
        converted<Out>(static_cast<int>(sum), common, args.scale_a[token], scale_b);
  }
}

template <class Out, int kGroups, int kTiles, int kColumns>
int launch(FewRows const &args, cudaStream_t stream) {
  constexpr int kRows = kGroups * kTiles * 16;
  constexpr int kShared = (kSlabs<kGroups, kTiles, kColumns> + kRows * kColumns * 8) *
                          static_cast<int>(sizeof(int));
  auto *const kernel = few_rows<Out, kGroups, kTiles, kColumns>;
  cudaError_t status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
  if (status != cudaSuccess) return status;
  FewRows split = args;
  // All blocks at once, if K has steps for all of their warps.
  int const tiles = (args.h + kRows - 1) / kRows, most = args.sms * kBlocks<kTiles, kColumns>;
  int64_t const steps = args.padded / kDepth;
  split.splits = 1;
  while (split.splits < 8 && 2 * tiles * split.splits <= most &&
         2 * split.splits * (kWarps / kGroups) <= steps)
    split.splits *= 2;
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {static_cast<unsigned>(split.splits), 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(tiles * split.splits));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = kShared;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  status = cudaLaunchKernelEx(&config, kernel, split);
  return status != cudaSuccess ? status : cudaGetLastError();
}

template <class Out>
int launch_for(FewRows const &args, cudaStream_t stream) {
  int const columns = args.planes * args.n;
  if (columns <= 8) return launch<Out, 1, 4, 1>(args, stream);
  if (columns <= 16) return launch<Out, 1, 4, 2>(args, stream);
  if (columns <= 32) return launch<Out, 1, 4, 4>(args, stream);
  if (columns <= 64) return launch<Out, 4, 2, 8>(args, stream);
  if (columns <= 128) return launch<Out, 4, 2, 16>(args, stream);
  return cudaErrorInvalidValue;
}

}  // namespace
}  // namespace accelsim

// The type of C is one of common.hpp, or 3 for int64; up to 128 rows of digits.
ACCELSIM_EXPORT int accelsim_few_rows(accelsim::FewRows const *args, cudaStream_t stream) {
  using namespace accelsim;
  if (args->type == 3) return launch_for<int64_t>(*args, stream);
  int status = cudaErrorInvalidValue;
  int const typed = with_type(
      args->type, [&](auto element) { status = launch_for<decltype(element)>(*args, stream); });
  return typed != cudaSuccess ? typed : status;
}
