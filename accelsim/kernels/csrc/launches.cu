// Goes through a list of calls that launch kernels, and what such a list needs beside kernels.
#include <cuda_runtime.h>

#include "arguments.hpp"
#include "export.h"

namespace {

// Also known to the Python side (launches.py).
struct Call {
  int (*function)(void const *arguments, cudaStream_t stream);
  void const *arguments;
  int64_t beside;  // 1: on the second stream
};

}  // namespace

// Make all calls; `failed` is the number of the one that does not return 0, whose status is returned.
ACCELSIM_EXPORT int accelsim_launch_all(Call const *calls, int64_t count, int64_t *failed,
                                        cudaStream_t stream, cudaStream_t beside) {
  for (int64_t i = 0; i < count; ++i) {
    int const status = calls[i].function(calls[i].arguments, calls[i].beside ? beside : stream);
    if (status != 0) {
      *failed = i;
      return status;
    }
  }
  return 0;
}

// Wait until the device has written `value`; returns 0 if it does not in `spins` looks.
ACCELSIM_EXPORT int accelsim_arrives(uint32_t const volatile *word, uint32_t value, int64_t spins) {
  for (int64_t i = 0; i < spins; ++i) {
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value) return 1;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  return 0;
}

ACCELSIM_EXPORT int accelsim_clear(accelsim::Clear const *args, cudaStream_t stream) {
  return cudaMemsetAsync(args->memory, 0, args->bytes, stream);
}

ACCELSIM_EXPORT int accelsim_record(accelsim::AtEvent const *args, cudaStream_t stream) {
  return cudaEventRecord(static_cast<cudaEvent_t>(args->event), stream);
}

ACCELSIM_EXPORT int accelsim_wait(accelsim::AtEvent const *args, cudaStream_t stream) {
  return cudaStreamWaitEvent(stream, static_cast<cudaEvent_t>(args->event), 0);
}
