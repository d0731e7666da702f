// A Hopper mainloop whose K is made of groups of digits with different weights, put together from
// segments of A's and B's rows.
//
// K begins with the groups of the highest weight. Behind each group the accumulators are shifted
// left by one digit (Horner's scheme), so that one pass gives the sum of all weighted groups and no
// partial product ever leaves the registers. Sums are modulo 2^32: a final sum that fits is exact.
//
// A segment may lie elsewhere in A for other columns of C, and elsewhere in B for other rows of C:
// a tile of C then has columns of K of its own.
#pragma once

#include "cutlass/gemm/collective/collective_builder.hpp"
#include "gemm_arguments.h"

namespace accelsim {

using namespace cute;

constexpr int kSegments = sizeof(GemmArguments::segments) / sizeof(Segment);
constexpr int kHighGroups = sizeof(GemmArguments::high_tiles) / sizeof(int32_t);
constexpr int kBlock = 256;  // rows or columns of C that share a segment's place

template <class Base>
struct DigitGroupsMma : Base {
  using typename Base::MainloopPipeline;
  using typename Base::PipelineState;
  using typename Base::SmemLayoutA;
  using typename Base::SmemLayoutB;
  using typename Base::TensorStorage;
  using typename Base::TiledMma;
  using typename Base::TileShape;
  using Cluster = typename Base::DispatchPolicy::ClusterShape;

  // The blocks of a cluster share tiles by multicast: of A in its rows, of B in its columns.
  static constexpr unsigned kRows = size<0>(Cluster{}), kColumns = size<1>(Cluster{});
  static_assert(kRows * size<0>(TileShape{}) <= kBlock);
  static_assert(kColumns * size<1>(TileShape{}) <= kBlock);

  struct Arguments {
    typename Base::Arguments operands;
    GemmArguments const *gemm;
  };

  struct Params : Base::Params {
    int high_tiles[kHighGroups];
    int shift;
    int segment_count;
    Segment segments[kSegments];
    int const *gate;
  };

  template <class ProblemShape>
  static Params to_underlying_arguments(ProblemShape const &shape, Arguments const &args,
                                        void *workspace) {
    GemmArguments const &gemm = *args.gemm;
    auto with_columns = shape;
    get<2>(with_columns) = gemm.columns_a;
    Params params{Base::to_underlying_arguments(with_columns, args.operands, workspace),
                  {}, gemm.shift, gemm.segment_count, {}, gemm.gate};
    get<2>(with_columns) = gemm.columns_b;
    params.tma_load_b =
        Base::to_underlying_arguments(with_columns, args.operands, workspace).tma_load_b;
    for (int group = 0; group < kHighGroups; ++group)
      params.high_tiles[group] = gemm.high_tiles[group];
    for (int i = 0; i < gemm.segment_count; ++i) params.segments[i] = gemm.segments[i];
    if (params.segment_count == 0) {
      constexpr int kDepth = size<2>(TileShape{});
      params.segment_count = 1;
      params.segments[0] = {(gemm.d + kDepth - 1) / kDepth, 0, 0, 0, 0};
    }
    return params;
  }

  template <class ProblemShape>
  static bool can_implement(ProblemShape const &shape, Arguments const &args) {
    return args.gemm->segment_count <= kSegments && Base::can_implement(shape, args.operands);
  }

  // Producer side: all tiles of K, segment by segment.
  template <class TensorA, class TensorB, class TileIterator, class BlockCoord>
  CUTLASS_DEVICE void load(Params const &params, MainloopPipeline pipeline, PipelineState write,
                           cute::tuple<TensorA, TensorB> const &inputs, BlockCoord const &where,
                           TileIterator, int, int, uint32_t rank_in_cluster,
                           TensorStorage &storage) {
    if (!cute::elect_one_sync()) return;
    Tensor shared_a = make_tensor(make_smem_ptr(storage.smem_A.data()), SmemLayoutA{});
    Tensor shared_b = make_tensor(make_smem_ptr(storage.smem_B.data()), SmemLayoutB{});
    auto const [row, column, k, batch] = where;
    unsigned const own_row = rank_in_cluster % kRows, own_column = rank_in_cluster / kRows;
    auto copy_a = params.tma_load_a.get_slice(own_column);
    auto copy_b = params.tma_load_b.get_slice(own_row);
    Tensor from_a = copy_a.partition_S(get<0>(inputs)(_, _, row, _, batch));
    Tensor from_b = copy_b.partition_S(get<1>(inputs)(_, _, column, _, batch));
    Tensor to_a = copy_a.partition_D(shared_a);
    Tensor to_b = copy_b.partition_D(shared_b);
    uint16_t share_a = 0;  // a bit for each block of the cluster that gets the tile
    for (unsigned column = 0; column < kColumns; ++column)
      share_a |= 1u << (own_row + column * kRows);
    uint16_t const share_b = ((1u << kRows) - 1) << (own_column * kRows);
    int const row_block = row * size<0>(TileShape{}) / kBlock;
    int const column_block = column * size<1>(TileShape{}) / kBlock;
    CUTLASS_PRAGMA_NO_UNROLL
    for (int s = 0; s < params.segment_count; ++s) {
      Segment const segment = params.segments[s];
      int const a = segment.a + column_block * segment.a_step;
      int const b = segment.b + row_block * segment.b_step;
      CUTLASS_PRAGMA_NO_UNROLL
      for (int tile = 0; tile < segment.tiles; ++tile) {
        pipeline.producer_acquire(write);
        auto *barrier = pipeline.producer_get_barrier(write);
        int const stage = write.index();
        copy(params.tma_load_a.with(*barrier, share_a), from_a(_, _, _, a + tile),
             to_a(_, _, _, stage));
        copy(params.tma_load_b.with(*barrier, share_b), from_b(_, _, _, b + tile),
             to_b(_, _, _, stage));
        ++write;
      }
    }
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

// A kernel that does nothing where its gate is 0.
template <class Kernel>
struct Gated : Kernel {
  CUTLASS_DEVICE void operator()(typename Kernel::Params const &params, char *shared) {
    if (params.mainloop.gate && *params.mainloop.gate == 0) return;
    Kernel::operator()(params, shared);
  }
};

}  // namespace accelsim
