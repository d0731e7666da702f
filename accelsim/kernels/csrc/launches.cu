// Goes through a list of calls that launch kernels, and what such a list needs beside kernels.
#include <cuda_runtime.h>

#include <map>
#include <mutex>

#include "arguments.hpp"
#include "export.h"

namespace {

// Also known to the Python side (launches.py).
struct Call {
  int (*function)(void const *arguments, cudaStream_t stream);
  void const *arguments;
  int64_t beside;  // 1: on the second stream
};

// While it exists, a thread may do what would otherwise end the capture of a graph elsewhere.
class Relaxed {
 public:
  Relaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~Relaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  Relaxed(Relaxed const &) = delete;
  Relaxed &operator=(Relaxed const &) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

// The streams that graphs are recorded from, which nobody else uses.
struct Streams {
  cudaStream_t first = nullptr, beside = nullptr;

  int create() {
    if (beside) return cudaSuccess;
    int least, greatest;
    cudaDeviceGetStreamPriorityRange(&least, &greatest);
    int status = cudaSuccess;
    if (!first) status = cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    if (status != cudaSuccess) return status;
    return cudaStreamCreateWithPriority(&beside, cudaStreamNonBlocking, greatest);
  }
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

// Record all calls as a CUDA graph, which one call launches again with the arguments that they have now.
ACCELSIM_EXPORT int accelsim_record_all(Call const *calls, int64_t count, int64_t *failed,
                                        cudaGraphExec_t *recorded) {
  static std::mutex one_at_a_time;
  static std::map<int, Streams> streams_of;
  std::lock_guard<std::mutex> const lock(one_at_a_time);
  Relaxed const relaxed;
  *failed = 0;
  int device;
  int status = cudaGetDevice(&device);
  if (status != cudaSuccess) return status;
  Streams &streams = streams_of[device];
  status = streams.create();
  if (status != cudaSuccess) return status;
  status = cudaStreamBeginCapture(streams.first, cudaStreamCaptureModeRelaxed);
  if (status != cudaSuccess) return status;
  status = accelsim_launch_all(calls, count, failed, streams.first, streams.beside);
  cudaGraph_t graph = nullptr;
  int const ended = cudaStreamEndCapture(streams.first, &graph);
  if (status == cudaSuccess) status = ended;
  if (status == cudaSuccess)
    status = cudaGraphInstantiate(recorded, graph, cudaGraphInstantiateFlagUseNodePriority);
  if (graph) cudaGraphDestroy(graph);
  return status;
}

ACCELSIM_EXPORT int accelsim_replay(cudaGraphExec_t recorded, cudaStream_t stream) {
  return cudaGraphLaunch(recorded, stream);
}

// A graph that runs is freed when it has ended.
ACCELSIM_EXPORT int accelsim_forget(cudaGraphExec_t recorded) {
  Relaxed const relaxed;
  return cudaGraphExecDestroy(recorded);
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
