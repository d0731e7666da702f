#include "sm90_gemm.hpp"

ACCELSIM_EXPORT int accelsim_int8_sm90_small(GemmArguments const *args, cudaStream_t stream) {
  return accelsim::SmallTile<int32_t>::run(*args, stream);
}
