#include "sm80_gemm.hpp"

using cutlass::int4b_t;
using cutlass::gemm::GemmShape;

ACCELSIM_EXPORT int accelsim_int4_sm80_large(GemmArguments const *args, cudaStream_t stream) {
  using Gemm = accelsim::Sm80Gemm<int4b_t, GemmShape<128, 256, 128>, GemmShape<64, 64, 128>>;
  return Gemm::run(*args, stream);
}

ACCELSIM_EXPORT int accelsim_int4_sm80_small(GemmArguments const *args, cudaStream_t stream) {
  using Gemm = accelsim::Sm80Gemm<int4b_t, GemmShape<64, 64, 128>, GemmShape<32, 32, 128>>;
  return Gemm::run(*args, stream);
}

namespace {

// One thread packs 8 digits of a row: digit 2i in the low nibble of byte i. `too_wide` becomes 1 if
// one has more than 4 bits.
__global__ void pack(int8_t const *digits, uint32_t *packed, int64_t rows, int64_t d,
                     int64_t packed_words, int *too_wide) {
  int64_t const index = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (index >= rows * packed_words) return;
  int64_t const first = index % packed_words * 8;
  int8_t const *row = digits + index / packed_words * d;
  uint32_t word = 0;
  bool wide = false;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    int const digit = first + i < d ? row[first + i] : 0;
    word |= (digit & 15u) << (4 * i);
    wide |= digit < -8 || digit > 7;
  }
  packed[index] = word;
  if (wide) *too_wide = 1;
}

}  // namespace

// Digits [rows, d] int8, contiguous, to nibbles [rows, 8 * packed_words], zeros appended.
ACCELSIM_EXPORT int accelsim_pack_int4(int8_t const *digits, uint32_t *packed, int64_t rows,
                                       int64_t d, int64_t packed_words, int *too_wide,
                                       cudaStream_t stream) {
  int64_t const words = rows * packed_words;
  if (words == 0) return 0;
  pack<<<static_cast<unsigned>((words + 255) / 256), 256, 0, stream>>>(digits, packed, rows, d,
                                                                        packed_words, too_wide);
  return cudaGetLastError();
}
