// A small result on its way to the host.
#pragma once

#include <cuda_runtime.h>

namespace accelsim {

// Pinned memory, which kernels can write to themselves, and an event that tells when a result is in
// it; the Python side (arriving.py) has the same structure.
struct Mail {
  void *host;  // null: the result is not sent
  cudaEvent_t event;
};

// Record that all of a result is sent by what was queued before.
inline cudaError_t seal(Mail const &mail, cudaStream_t stream) {
  return mail.host == nullptr ? cudaSuccess : cudaEventRecord(mail.event, stream);
}

// Copy a result and seal it.
inline cudaError_t send(Mail const &mail, void const *result, size_t bytes, cudaStream_t stream) {
  if (mail.host == nullptr) return cudaSuccess;
  cudaError_t const status =
      cudaMemcpyAsync(mail.host, result, bytes, cudaMemcpyDeviceToHost, stream);
  return status != cudaSuccess ? status : seal(mail, stream);
}

}  // namespace accelsim
