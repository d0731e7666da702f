// An epilogue that turns int32 sums into bfloat16: corrections added, the exact integer divided by a
// float64 scale, rounded once.
#pragma once

#include "cutlass/epilogue/collective/collective_builder.hpp"
#include "dequantize.hpp"
#include "gemm_arguments.h"

namespace accelsim {

namespace fusion = cutlass::epilogue::fusion;

struct DequantizeSums {
  static constexpr int kMostColumns = 256;  // of a tile
  struct SharedStorage {
    alignas(16) float columns[2 * kMostColumns];  // inverse scales, and behind them the scales
  };
  struct Arguments {
    double const *scale = nullptr;
    Correction const *corrections = nullptr;
    int correction_room = 0;
    float const *row_scales = nullptr;
    float const *column_scales = nullptr;
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
  CUTLASS_HOST_DEVICE DequantizeSums(Params const &params, SharedStorage const &shared)
      : params_(params), shared_(const_cast<float *>(shared.columns)) {}

  CUTLASS_DEVICE bool is_producer_load_needed() const { return false; }
  CUTLASS_DEVICE bool is_C_load_needed() const { return false; }

  template <class... Args>
  CUTLASS_DEVICE auto get_producer_load_callbacks(fusion::ProducerLoadArgs<Args...> const &) {
    return fusion::EmptyProducerLoadCallbacks{};
  }

  // kWidth: columns of a tile. `Places` are a thread's entries of the tile, relative to its first.
  // Few threads have entries to correct: these keep two corrections at hand, and read the list if
  // they have more. A thread's rows are its first one and the one 8 below.
  template <int kWidth, class Places>
  struct Store : fusion::EmptyConsumerStoreCallbacks {
    static constexpr int kAtHand = 2;

    Dequantizer<__nv_bfloat16> const dequantize;
    Places const places;
    int const first;  // the place of the thread's first entry in the tile
    Correction const *const list;
    int const room;
    Correction at_hand[kAtHand];
    int found = 0;
    bool const by_lines;
    float of_rows[2], inverses[2];
    float const *const columns;  // of the tile; null: none
    int const columns_left, thread;
    float *const shared;

    CUTLASS_DEVICE Store(double const *scale, Places const &places, int first,
                         Correction const *list, int room, float const *rows, int rows_left,
                         float const *columns, int columns_left, int thread, float *shared)
        : dequantize(scale),
          places(places),
          first(first),
          list(list),
          room(room),
          by_lines(rows || columns),
          columns(columns),
          columns_left(columns_left),
          thread(thread),
          shared(shared) {
      if (by_lines) {
        CUTLASS_PRAGMA_UNROLL
        for (int i = 0; i < 2; ++i) {
          of_rows[i] = rows && 8 * i < rows_left ? rows[8 * i] : 1.0f;
          inverses[i] = LineScales::inverse_of_row(scale, of_rows[i]);
        }
      }
      constexpr unsigned kAll = 0xffffffffu;
      int const lane = threadIdx.x % 32, row = (first - 1) / kWidth, column = (first - 1) % kWidth;
      for (int begin = 0; begin < room; begin += 32) {
        Correction const next = begin + lane < room ? list[begin + lane] : Correction{0, 0};
        // Accumulators of wgmma: a warp has 16 rows; a thread has pairs of columns, 8 apart, in two
        // of the rows, 8 apart.
        bool const in_warp = next.place > 0 && (next.place - 1) / kWidth / 16 == row / 16;
        for (unsigned rest = __ballot_sync(kAll, in_warp); rest; rest &= rest - 1) {
          int const from = __ffs(rest) - 1;
          int const place = __shfl_sync(kAll, next.place, from);
          int const value = __shfl_sync(kAll, next.value, from);
          int const down = (place - 1) / kWidth - row, right = (place - 1) % kWidth - column;
          if (down % 8 != 0 || right < 0 || right % 8 > 1) continue;
          if (found == 0) at_hand[0] = {place, value};
          if (found == 1) at_hand[1] = {place, value};
          ++found;
        }
        if (__shfl_sync(kAll, next.place, 31) == 0) break;
      }
    }

    // Global memory would be waited for at every entry.
    CUTLASS_DEVICE void begin() {
      if (!by_lines || thread >= kWidth) return;
      float const scale = columns && thread < columns_left ? __ldg(columns + thread) : 1.0f;
      shared[thread] = LineScales::inverse_of_column(scale);
      shared[kMostColumns + thread] = scale;
    }
    CUTLASS_DEVICE bool begin_sync_needed() const { return by_lines; }

    template <class Part, int kCount>
    CUTLASS_DEVICE void correct(Correction const &correction, Part const &part, int vector,
                                int (&values)[kCount]) const {
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < kCount; ++i) {
        auto const place = part(vector * kCount + i);
        if (correction.place - first == cute::get<0>(place) * kWidth + cute::get<1>(place))
          values[i] += correction.value;
      }
    }

    // One entry after the other by the same instructions: unrolled, they would not stay in the cache.
    template <class Part, int kCount>
    CUTLASS_DEVICE void round_doubtful(int const (&values)[kCount], float const (&quotients)[kCount],
                                       __nv_bfloat16 (&rounded)[kCount], Part const &part,
                                       int vector, int column) const {
      unsigned doubtful = 0;
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < kCount; ++i) {
        bool const right =
            LineScales::rounds_right(LineScales::from_middle(quotients[i]), fabsf(quotients[i]));
        doubtful |= static_cast<unsigned>(!right) << i;
      }
      CUTLASS_PRAGMA_NO_UNROLL
      for (; doubtful; doubtful &= doubtful - 1) {
        int const entry = __ffs(doubtful) - 1;
        int value = 0, right = 0;
        float quotient = 0, of_row = 0;
        CUTLASS_PRAGMA_UNROLL
        for (int i = 0; i < kCount; ++i) {
          auto const place = part(vector * kCount + i);
          if (i != entry) continue;
          value = values[i], quotient = quotients[i];
          of_row = of_rows[cute::get<0>(place) == 0 ? 0 : 1];
          right = cute::get<1>(place);
        }
        double const scale = dequantize.scale * of_row * shared[kMostColumns + column + right];
        __nv_bfloat16 const exact = LineScales::exactly(value, quotient, scale);
        CUTLASS_PRAGMA_UNROLL
        for (int i = 0; i < kCount; ++i)
          if (i == entry) rounded[i] = exact;
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
      if (found > 0) {
        auto const part = places(cute::_, cute::_, cute::_, part_m, part_n);
        if (found <= kAtHand) {
          correct(at_hand[0], part, vector, values);
          if (found == 2) correct(at_hand[1], part, vector, values);
        } else {
          for (int i = 0; i < room && list[i].place > 0; ++i)
            correct(list[i], part, vector, values);
        }
      }
      if (by_lines) {
        auto const part = places(cute::_, cute::_, cute::_, part_m, part_n);
        int const column = (first - 1) % kWidth;
        float quotients[kCount], least = LineScales::kLeast;
        unsigned nearest = ~0u;
        CUTLASS_PRAGMA_UNROLL
        for (int i = 0; i < kCount; ++i) {
          auto const place = part(vector * kCount + i);
          quotients[i] =
              LineScales::quotient(values[i], inverses[cute::get<0>(place) == 0 ? 0 : 1],
                                   shared[column + cute::get<1>(place)]);
          nearest = min(nearest, LineScales::from_middle(quotients[i]));
          least = fminf(least, fabsf(quotients[i]));
        }
        CUTLASS_PRAGMA_UNROLL
        for (int i = 0; i < kCount; ++i) rounded[i] = __float2bfloat16_rn(quotients[i]);
        if (!LineScales::rounds_right(nearest, least))
          round_doubtful(values, quotients, rounded, part, vector, column);
      } else {
        dequantize(values, rounded);
      }
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
    int64_t const whole_row = int64_t{tile_batch} * n + n - get<0>(args.residue_tCcD);
    int64_t const first_column = int64_t{tile_batch} * h + tile_column * kWidth;
    static_assert(kWidth <= kMostColumns);
    return Store<kWidth, decltype(args.tCcD)>(
        params_.scale, args.tCcD, row * kWidth + column + 1,
        params_.corrections + int64_t{tile} * params_.correction_room,
        params_.corrections ? params_.correction_room : 0,
        params_.row_scales ? params_.row_scales + whole_row : nullptr, get<0>(args.residue_tCcD),
        params_.column_scales ? params_.column_scales + first_column : nullptr,
        h - tile_column * kWidth, args.thread_idx, shared_);
  }

  Params params_;
  float *shared_ = nullptr;
};

inline void describe_epilogue(GemmArguments const &args, DequantizeSums::Arguments &epilogue) {
  epilogue = {args.scale, args.corrections, args.correction_room, args.row_scales,
              args.column_scales};
}

}  // namespace accelsim
