// An epilogue that turns int32 sums into bfloat16: corrections added, the exact integer times a
// float64 scale, rounded once.
#pragma once

#include "cutlass/epilogue/collective/collective_builder.hpp"
#include "dequantize.hpp"
#include "gemm_arguments.h"

namespace accelsim {

namespace fusion = cutlass::epilogue::fusion;

struct DequantizeSums {
  struct SharedStorage {};
  struct Arguments {
    double const *inverse_scale = nullptr;
    int const *correction_counts = nullptr;
    Correction const *corrections = nullptr;
    int correction_capacity = 0;
  };
  using Params = Arguments;

  template <class Shape>
  static constexpr Params to_underlying_arguments(Shape const &, Arguments const &args, void *) {
    return args;
  }
  template <class Shape>
  static bool can_implement(Shape const &, Arguments const &) {
    return true;
  }
  template <class Shape>
  static size_t get_workspace_size(Shape const &, Arguments const &) {
    return 0;
  }
  template <class Shape>
  static cutlass::Status initialize_workspace(Shape const &, Arguments const &, void *,
                                              cudaStream_t, cutlass::CudaHostAdapter * = nullptr) {
    return cutlass::Status::kSuccess;
  }

  CUTLASS_HOST_DEVICE DequantizeSums() {}
  CUTLASS_HOST_DEVICE DequantizeSums(Params const &params, SharedStorage const &)
      : params_(params) {}

  CUTLASS_DEVICE bool is_producer_load_needed() const { return false; }
  CUTLASS_DEVICE bool is_C_load_needed() const { return false; }

  template <class... Args>
  CUTLASS_DEVICE auto get_producer_load_callbacks(fusion::ProducerLoadArgs<Args...> const &) {
    return fusion::EmptyProducerLoadCallbacks{};
  }

  // kWidth: columns of a tile. `Places` are a thread's entries of the tile, relative to its first.
  template <int kWidth, class Places>
  struct Store : fusion::EmptyConsumerStoreCallbacks {
    Dequantizer<__nv_bfloat16> const dequantize;
    Places const places;
    int const first;  // place of the thread's first entry in the tile
    Correction const *const corrections;
    int count;  // zero if none of them is this thread's

    CUTLASS_DEVICE Store(double inverse_scale, Places const &places, int first,
                         Correction const *corrections, int count)
        : dequantize(inverse_scale),
          places(places),
          first(first),
          corrections(corrections),
          count(0) {
      for (int i = 0; i < count; ++i) {
        // Accumulators of wgmma: a thread has pairs of columns, 8 apart, in two rows, 8 apart.
        int const place = corrections[i].place;
        int const row = place / kWidth - first / kWidth, column = place % kWidth - first % kWidth;
        if ((row == 0 || row == 8) && column >= 0 && column % 8 < 2) this->count = count;
      }
    }

    template <class Sum, int kCount>
    CUTLASS_DEVICE cutlass::Array<cutlass::bfloat16_t, kCount> visit(
        cutlass::Array<Sum, kCount> const &sums, int vector, int part_m, int part_n) {
      static_assert(sizeof(Sum) == sizeof(int), "sums are int32");
      int values[kCount];
      __nv_bfloat16 rounded[kCount];
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < kCount; ++i) values[i] = sums[i];
      if (count > 0) {
        auto const part = places(cute::_, cute::_, cute::_, part_m, part_n);
        for (int entry = 0; entry < count; ++entry) {
          Correction const correction = corrections[entry];
          CUTLASS_PRAGMA_UNROLL
          for (int i = 0; i < kCount; ++i) {
            auto const place = part(vector * kCount + i);
            if (correction.place == first + cute::get<0>(place) * kWidth + cute::get<1>(place))
              values[i] += correction.value;
          }
        }
      }
      dequantize(values, rounded);
      cutlass::Array<cutlass::bfloat16_t, kCount> result;
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < kCount; ++i) result[i] = cutlass::bfloat16_t(rounded[i]);
      return result;
    }
  };

  template <bool kReferenceSource, class... Args>
  CUTLASS_DEVICE auto get_consumer_store_callbacks(fusion::ConsumerStoreArgs<Args...> const &args) {
    using namespace cute;
    constexpr int kHeight = get<0>(decltype(args.tile_shape_mnk){});
    constexpr int kWidth = get<1>(decltype(args.tile_shape_mnk){});
    auto const [n, h, d, batch] = args.problem_shape_mnkl;
    auto const [tile_row, tile_column, tile_k, tile_batch] = args.tile_coord_mnkl;
    int const row = n - get<0>(args.residue_tCcD) - tile_row * kHeight;
    int const column = h - get<1>(args.residue_tCcD) - tile_column * kWidth;
    int const tile = tile_row * ceil_div(h, kWidth) + tile_column;
    bool const any = params_.correction_counts != nullptr;
    int const count =
        any ? min(params_.correction_counts[tile], params_.correction_capacity) : 0;
    return Store<kWidth, decltype(args.tCcD)>(
        *params_.inverse_scale, args.tCcD, row * kWidth + column,
        params_.corrections + int64_t{tile} * params_.correction_capacity, count);
  }

  Params params_;
};

}  // namespace accelsim
