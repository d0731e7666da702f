// Integer GEMM with warp-level mma: int8 and int4 digits on sm_75 and later.
#pragma once

#include "cutlass/gemm/device/gemm_universal.h"
#include "gemm_arguments.h"

namespace accelsim {

#if ACCELSIM_SM >= 80
using Architecture = cutlass::arch::Sm80;
template <class Digit>
using Instruction = cutlass::gemm::GemmShape<16, 8, 256 / cutlass::sizeof_bits<Digit>::value>;
constexpr int kStages = 3;
#else
using Architecture = cutlass::arch::Sm75;
template <class Digit>
using Instruction = cutlass::gemm::GemmShape<8, 8, 128 / cutlass::sizeof_bits<Digit>::value>;
constexpr int kStages = 2;
#endif

// Sums saturate at the limits of int32: CUTLASS has these instructions in no other form.
template <class Digit, class Tile, class WarpTile>
struct Sm80Gemm {
  static constexpr int kAlignment = 128 / cutlass::sizeof_bits<Digit>::value;
  using Device = cutlass::gemm::device::GemmUniversal<
      Digit, cutlass::layout::RowMajor, Digit, cutlass::layout::ColumnMajor, int32_t,
      cutlass::layout::RowMajor, int32_t, cutlass::arch::OpClassTensorOp, Architecture, Tile,
      WarpTile, Instruction<Digit>,
      cutlass::epilogue::thread::LinearCombination<int32_t, 4, int32_t, int32_t,
                                                   cutlass::epilogue::thread::ScaleType::Nothing>,
      cutlass::gemm::threadblock::GemmIdentityThreadblockSwizzle<8>, kStages, kAlignment,
      kAlignment, cutlass::arch::OpMultiplyAddSaturate>;

  static int run(GemmArguments const &args, cudaStream_t stream) {
    // CUTLASS adds batch strides to pointers whose steps are whole bytes, also for 4-bit digits.
    constexpr int kPerByte = 8 / cutlass::sizeof_bits<Digit>::value;
    typename Device::Arguments arguments(
        cutlass::gemm::GemmUniversalMode::kBatched, {args.n, args.h, args.d}, args.batch, {},
        args.a, args.b, args.c, args.c, args.batch_stride_a / kPerByte,
        args.batch_stride_b / kPerByte, args.batch_stride_c, args.batch_stride_c, args.row_stride_a,
        args.row_stride_b, args.row_stride_c, args.row_stride_c);
    Device device;
    cutlass::Status status = Device::can_implement(arguments);
    if (status == cutlass::Status::kSuccess)
      status = device.initialize(arguments, nullptr, stream);
    if (status == cutlass::Status::kSuccess) status = device.run(stream);
    if (status == cutlass::Status::kSuccess) return 0;
    cudaError_t const error = cudaGetLastError();
    return error == cudaSuccess ? kCutlassStatus + static_cast<int>(status) : error;
  }
};

}  // namespace accelsim
