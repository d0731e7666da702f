#include "dequantize_epilogue.hpp"
#include "sm90_gemm.hpp"

ACCELSIM_EXPORT int accelsim_int8_sm90_large_bf16(GemmArguments const *args, cudaStream_t stream) {
  return accelsim::WideTile<cutlass::bfloat16_t, accelsim::DequantizeSums>::run(*args, stream);
}
