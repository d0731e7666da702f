// A Hopper mainloop whose K is made of groups of digits with different weights.
//
// K begins with the groups of the highest weight. Behind each group the accumulators are shifted
// left by one digit (Horner's scheme), so that one pass gives the sum of all weighted groups and no
// partial product ever leaves the registers. Sums are modulo 2^32: a final sum that fits is exact.
#pragma once

#include "cutlass/gemm/collective/collective_builder.hpp"

namespace accelsim {

using namespace cute;

template <class Base>
struct DigitGroupsMma : Base {
  using typename Base::MainloopPipeline;
  using typename Base::PipelineState;
  using typename Base::SmemLayoutA;
  using typename Base::SmemLayoutB;
  using typename Base::TensorStorage;
  using typename Base::TiledMma;

  static constexpr int kHighGroups = 2;

  struct Arguments {
    typename Base::Arguments operands;
    int high_tiles[kHighGroups];
    int shift;
  };

  struct Params : Base::Params {
    int high_tiles[kHighGroups];
    int shift;
  };

  template <class ProblemShape>
  static constexpr Params to_underlying_arguments(ProblemShape const &shape, Arguments const &args,
                                                  void *workspace) {
    return {Base::to_underlying_arguments(shape, args.operands, workspace),
            {args.high_tiles[0], args.high_tiles[1]},
            args.shift};
  }

  template <class ProblemShape>
  static bool can_implement(ProblemShape const &shape, Arguments const &args) {
    return Base::can_implement(shape, args.operands);
  }

  // Consumer side: all tiles of K, group by group. The last tile's buffer is released by mma_tail.
  template <class Accumulators>
  CUTLASS_DEVICE void mma(MainloopPipeline pipeline, PipelineState read, Accumulators &sums,
                          int tiles, int thread, TensorStorage &storage, Params const &params) {
    Tensor shared_a = make_tensor(make_smem_ptr(storage.smem_A.data()), SmemLayoutA{});
    Tensor shared_b = make_tensor(make_smem_ptr(storage.smem_B.data()), SmemLayoutB{});
    constexpr int kWarpgroups = size(TiledMma{}) / cutlass::NumThreadsPerWarpGroup;
    auto first_threads =
        make_layout(Int<kWarpgroups>{}, Int<cutlass::NumThreadsPerWarpGroup>{});
    int const warpgroup = __shfl_sync(0xffffffff, thread / cutlass::NumThreadsPerWarpGroup, 0);
    TiledMma tiled_mma;
    auto slice = tiled_mma.get_slice(first_threads(warpgroup));
    Tensor a = slice.make_fragment_A(slice.partition_A(shared_a));
    Tensor b = slice.make_fragment_B(slice.partition_B(shared_b));

    tiled_mma.accumulate_ = GMMA::ScaleOut::Zero;
    PipelineState release = read;
    int remaining = tiles;
    CUTLASS_PRAGMA_UNROLL
    for (int group = 0; group < kHighGroups; ++group) {
      int const count = params.high_tiles[group];
      if (count > 0) {
        multiply(pipeline, read, release, count, tiled_mma, a, b, sums);
        remaining -= count;
      }
      if (remaining < tiles) {
        warpgroup_wait<0>();
        warpgroup_fence_operand(sums);
        if (count > 0) {
          pipeline.consumer_release(release);
          ++release;
        }
        CUTLASS_PRAGMA_UNROLL
        for (int i = 0; i < size(sums); ++i) {
          sums(i) = sums(i) << params.shift;
        }
        warpgroup_fence_operand(sums);
      }
    }
    multiply(pipeline, read, release, remaining, tiled_mma, a, b, sums);
  }

 private:
  // Multiply `count` tiles; the buffer of the last one stays held and its products in flight.
  template <class A, class B, class Accumulators>
  CUTLASS_DEVICE static void multiply(MainloopPipeline &pipeline, PipelineState &read,
                                      PipelineState &release, int count, TiledMma &tiled_mma,
                                      A const &a, B const &b, Accumulators &sums) {
    warpgroup_fence_operand(sums);
    start(pipeline, read, tiled_mma, a, b, sums);
    CUTLASS_PRAGMA_NO_UNROLL
    for (int tile = 1; tile < count; ++tile) {
      warpgroup_fence_operand(sums);
      start(pipeline, read, tiled_mma, a, b, sums);
      warpgroup_wait<1>();
      warpgroup_fence_operand(sums);
      pipeline.consumer_release(release);
      ++release;
    }
    warpgroup_fence_operand(sums);
  }

  template <class A, class B, class Accumulators>
  CUTLASS_DEVICE static void start(MainloopPipeline &pipeline, PipelineState &read,
                                   TiledMma &tiled_mma, A const &a, B const &b,
                                   Accumulators &sums) {
    pipeline.consumer_wait(read, pipeline.consumer_try_wait(read));
    int const stage = read.index();
    warpgroup_arrive();
    CUTLASS_PRAGMA_UNROLL
    for (int step = 0; step < size<2>(a); ++step) {
      cute::gemm(tiled_mma, a(_, _, step, stage), b(_, _, step, stage), sums);
      tiled_mma.accumulate_ = GMMA::ScaleOut::One;
    }
    warpgroup_commit_batch();
    ++read;
  }
};

}  // namespace accelsim
