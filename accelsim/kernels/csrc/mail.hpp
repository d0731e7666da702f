// A small result on its way to the host.
#pragma once

#include <cuda_runtime.h>

namespace accelsim {

// Pinned memory, and an event that tells when a result is in it; the Python side (arriving.py) has the
// same structure.
struct Mail {
  void *host;  // null: the result is not sent
  cudaEvent_t event;
};

inline cudaError_t send(Mail const &mail, void const *result, size_t bytes, cudaStream_t stream) {
  if (mail.host == nullptr) return cudaSuccess;
  cudaError_t const status =
      cudaMemcpyAsync(mail.host, result, bytes, cudaMemcpyDeviceToHost, stream);
  return status != cudaSuccess ? status : cudaEventRecord(mail.event, stream);
}

}  // namespace accelsim
