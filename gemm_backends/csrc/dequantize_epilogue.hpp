// An epilogue that turns int32 sums into bfloat16: the exact integer times a float64 scale, rounded
// once.
#pragma once

#include "cutlass/epilogue/collective/collective_builder.hpp"
#include "dequantize.hpp"

namespace accelsim {

namespace fusion = cutlass::epilogue::fusion;

struct DequantizeSums {
  struct SharedStorage {};
  struct Arguments {
    double const *inverse_scale = nullptr;
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

  struct Store : fusion::EmptyConsumerStoreCallbacks {
    Dequantizer<__nv_bfloat16> const dequantize;
    CUTLASS_DEVICE explicit Store(double inverse_scale) : dequantize(inverse_scale) {}

    template <class Sum, int kCount>
    CUTLASS_DEVICE cutlass::Array<cutlass::bfloat16_t, kCount> visit(
        cutlass::Array<Sum, kCount> const &sums, int, int, int) {
      static_assert(sizeof(Sum) == sizeof(int), "sums are int32");
      int values[kCount];
      __nv_bfloat16 rounded[kCount];
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < kCount; ++i) values[i] = sums[i];
      dequantize(values, rounded);
      cutlass::Array<cutlass::bfloat16_t, kCount> result;
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < kCount; ++i) result[i] = cutlass::bfloat16_t(rounded[i]);
      return result;
    }
  };

  template <bool kReferenceSource, class... Args>
  CUTLASS_DEVICE auto get_consumer_store_callbacks(fusion::ConsumerStoreArgs<Args...> const &) {
    return Store(*params_.inverse_scale);
  }

  Params params_;
};

}  // namespace accelsim
