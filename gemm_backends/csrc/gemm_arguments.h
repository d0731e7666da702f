// One GEMM of digits, C = A B^T, as the Python side passes it.
#pragma once

#include <cstdint>
#include <cuda_runtime.h>

#include "export.h"

extern "C" {

// Strides are in elements of the matrix they belong to (4-bit digits count as elements).
struct GemmArguments {
  void const *a;  // [batch, n, d], K contiguous
  void const *b;  // [batch, h, d], K contiguous
  void *c;        // [batch, n, h], h contiguous
  double const *inverse_scale;  // on the device; only for dequantized results
  int64_t row_stride_a, row_stride_b, row_stride_c;
  int64_t batch_stride_a, batch_stride_b, batch_stride_c;
  int32_t n, h, d, batch;
  // K begins with this many tiles of 128 digits that weigh 2^(2 shift), then 2^shift, then 1.
  int32_t high_tiles[2];
  int32_t shift;
  int32_t sm_count;
};
}

// Entry points return 0, a cudaError_t, or this plus a cutlass::Status.
constexpr int kCutlassStatus = 10000;
