// Int8 GEMM on Hopper: TMA loads, warp-specialized wgmma, persistent tiles.
#pragma once

#include "cutlass/epilogue/collective/collective_builder.hpp"
#include "cutlass/gemm/device/gemm_universal_adapter.h"
#include "cutlass/gemm/kernel/gemm_universal.hpp"
#include "cutlass/util/packed_stride.hpp"
#include "digit_groups.hpp"
#include "gemm_arguments.h"

namespace accelsim {

namespace fusion = cutlass::epilogue::fusion;

// Sums as they are; other epilogues have a function of their own.
template <class Epilogue>
void describe_epilogue(GemmArguments const &, Epilogue &epilogue) {
  epilogue.alpha = 1;
  epilogue.beta = 0;
}

template <class Output, class Tile, class Cluster, class Schedule, class EpilogueSchedule,
          class Fusion = fusion::LinearCombination<Output, int32_t, void, int32_t>>
struct Sm90Gemm {
  static constexpr int kAlignmentOut = 16 / sizeof(Output);
  using Epilogue = typename cutlass::epilogue::collective::CollectiveBuilder<
      cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, Tile, Cluster,
      cutlass::epilogue::collective::EpilogueTileAuto, int32_t, int32_t, void,
      cutlass::layout::RowMajor, kAlignmentOut, Output, cutlass::layout::RowMajor, kAlignmentOut,
      EpilogueSchedule, Fusion>::CollectiveOp;
  using Mainloop = DigitGroupsMma<typename cutlass::gemm::collective::CollectiveBuilder<
      cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, int8_t, cutlass::layout::RowMajor, 16,
      int8_t, cutlass::layout::ColumnMajor, 16, int32_t, Tile, Cluster,
      cutlass::gemm::collective::StageCountAutoCarveout<
          static_cast<int>(sizeof(typename Epilogue::SharedStorage))>,
      Schedule>::CollectiveOp>;
  using Kernel = Gated<
      cutlass::gemm::kernel::GemmUniversal<cute::Shape<int, int, int, int>, Mainloop, Epilogue>>;
  using Device = cutlass::gemm::device::GemmUniversalAdapter<Kernel>;

  static int run(GemmArguments const &args, cudaStream_t stream) {
    using Stride = cute::Stride<int64_t, cute::Int<1>, int64_t>;
    typename Device::Arguments arguments{
        cutlass::gemm::GemmUniversalMode::kGemm,
        {args.n, args.h, args.d, args.batch},
        {{static_cast<int8_t const *>(args.a), Stride{args.row_stride_a, {}, args.batch_stride_a},
          static_cast<int8_t const *>(args.b), Stride{args.row_stride_b, {}, args.batch_stride_b}},
         &args},
        {{},
         nullptr,
         {},
         static_cast<Output *>(args.c),
         Stride{args.row_stride_c, {}, args.batch_stride_c}}};
    describe_epilogue(args, arguments.epilogue.thread);
    cudaGetDevice(&arguments.hw_info.device_id);
    arguments.hw_info.sm_count = args.sm_count;
    arguments.scheduler.max_swizzle_size = args.swizzle;
    Device device;
    cutlass::Status status = device.can_implement(arguments);
    if (status == cutlass::Status::kSuccess) status = device.initialize(arguments, nullptr, stream);
    if (status == cutlass::Status::kSuccess) status = device.run(stream);
    if (status == cutlass::Status::kSuccess) return 0;
    cudaError_t const error = cudaGetLastError();
    return error == cudaSuccess ? kCutlassStatus + static_cast<int>(status) : error;
  }
};

using cute::_1;
using cute::_128;
using cute::_2;
using cute::_256;
using cute::_64;
using Cooperative = cutlass::gemm::KernelTmaWarpSpecializedCooperative;
using CooperativeEpilogue = cutlass::epilogue::TmaWarpSpecializedCooperative;
using Pingpong = cutlass::gemm::KernelTmaWarpSpecializedPingpong;
using PingpongEpilogue = cutlass::epilogue::TmaWarpSpecialized;

// Two warpgroups on one tile: the least to read for each multiplication.
template <class Output, class Fusion>
using WideTile = Sm90Gemm<Output, cute::Shape<_128, _256, _128>, cute::Shape<_2, _1, _1>,
                          Cooperative, CooperativeEpilogue, Fusion>;
// Two warpgroups in turn: one multiplies while the other one writes its tile.
template <class Output, class Cluster>
using LargeTile =
    Sm90Gemm<Output, cute::Shape<_128, _128, _128>, Cluster, Pingpong, PingpongEpilogue>;
template <class Output>
using TallCluster = LargeTile<Output, cute::Shape<_2, _1, _1>>;
template <class Output>
using BroadCluster = LargeTile<Output, cute::Shape<_1, _2, _1>>;
template <class Output>
using MediumTile = Sm90Gemm<Output, cute::Shape<_128, _128, _128>, cute::Shape<_1, _1, _1>,
                            Cooperative, CooperativeEpilogue>;
template <class Output>
using SmallTile = Sm90Gemm<Output, cute::Shape<_64, _64, _128>, cute::Shape<_1, _1, _1>, Pingpong,
                           PingpongEpilogue>;

}  // namespace accelsim
