// One GEMM of digits, C = A B^T, as the Python side passes it.
#pragma once

#include <cstdint>
#include <cuda_runtime.h>

#include "export.h"

extern "C" {

// Tiles of K side by side in rows of A and of B. They begin at tile `a` and `b`, and that many tiles
// further for every 256 columns of C (A) or rows of C (B).
struct Segment {
  int32_t tiles, a, a_step, b, b_step;
};

// What to add to an entry of a tile of C. Its place is counted row by row, from 1; 0 ends a list.
struct Correction {
  int32_t place, value;
};

// Strides are in elements of the matrix they belong to (4-bit digits count as elements).
struct GemmArguments {
  void const *a;  // [batch, n, d], K contiguous
  void const *b;  // [batch, h, d], K contiguous
  void *c;        // [batch, n, h], h contiguous
  double const *scale;  // of the sums, and its inverse, on the device; only for dequantized results
  int64_t row_stride_a, row_stride_b, row_stride_c;
  int64_t batch_stride_a, batch_stride_b, batch_stride_c;
  int32_t n, h, d, batch;
  int32_t sm_count;
  // The rest is read where there is wgmma only.
  int32_t swizzle;  // lines of tiles that are worked on side by side
  int32_t columns_a, columns_b;  // digits that a row of A and of B has
  // K begins with this many tiles of 128 digits that weigh 2^(3 shift), then 2^(2 shift), 2^shift, 1.
  int32_t high_tiles[3];
  int32_t shift;
  // Where K's tiles lie in the rows of A and B; none: side by side from the first.
  int32_t segment_count;
  struct Segment segments[12];
  // Numbers to add to sums before they are dequantized: for each tile of C a list with room for
  // `correction_room` of them, which it may fill. Null: none.
  struct Correction const *corrections;
  int32_t correction_room;
  // On the device: the kernel does nothing where this is 0. Null: it always runs.
  int32_t const *gate;
  // Further scales for each row and column of dequantized results, [batch * n] and [batch * h], on the
  // device. Null: none.
  float const *row_scales, *column_scales;
};
}

// Entry points return 0, a cudaError_t, or this plus a cutlass::Status.
constexpr int kCutlassStatus = 10000;
