#include "sm90_gemm.hpp"

ACCELSIM_EXPORT int accelsim_int8_sm90_broad(GemmArguments const *args, cudaStream_t stream) {
  return accelsim::BroadCluster<int32_t>::run(*args, stream);
}
