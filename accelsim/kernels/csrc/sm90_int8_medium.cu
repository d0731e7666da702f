#include "sm90_gemm.hpp"

ACCELSIM_EXPORT int accelsim_int8_sm90_medium(GemmArguments const *args, cudaStream_t stream) {
  return accelsim::MediumTile<int32_t>::run(*args, stream);
}
