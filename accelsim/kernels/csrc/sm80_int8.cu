#include "sm80_gemm.hpp"

using cutlass::gemm::GemmShape;

ACCELSIM_EXPORT int accelsim_int8_sm80_large(GemmArguments const *args, cudaStream_t stream) {
  using Gemm = accelsim::Sm80Gemm<int8_t, GemmShape<128, 256, 64>, GemmShape<64, 64, 64>>;
  return Gemm::run(*args, stream);
}

ACCELSIM_EXPORT int accelsim_int8_sm80_small(GemmArguments const *args, cudaStream_t stream) {
  using Gemm = accelsim::Sm80Gemm<int8_t, GemmShape<64, 64, 64>, GemmShape<32, 32, 64>>;
  return Gemm::run(*args, stream);
}
