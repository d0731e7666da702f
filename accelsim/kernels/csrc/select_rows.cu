// The k-th largest and the largest magnitude of every row, exactly: a block a row.
//
// The bits of a float without its sign order magnitudes as integers do. A radix select reads the row
// three times, from the cache but for the first, and each time fixes 11 bits of the answer.
#include "mail.hpp"
#include "radix.hpp"

namespace accelsim {
namespace {

constexpr unsigned kMagnitude = 0x7fffffffu;
constexpr int kKeyBits = 31;

// What is asked for; the Python side (select.py) has the same structure.
struct RowSearch {
  float const *x;        // [rows, d]
  int64_t rows, d;
  int64_t rank;          // 1 for the largest magnitude
  int64_t const *ranks;  // of each row; null: `rank` for all
  double beta;           // for the scales
  float *found;          // [3, rows]: the k-th largest magnitudes, the largest, the scales
  Mail mail;             // for what is found
};

__global__ void __launch_bounds__(kThreads) select_rows(RowSearch search) {
  __shared__ unsigned histogram[kBins];
  __shared__ unsigned long long warp_sums[kThreads / 32];
  __shared__ unsigned long long found[2];
  __shared__ unsigned scratch[kThreads / 32];
  float const *row = search.x + blockIdx.x * search.d;
  unsigned long long left = search.ranks == nullptr ? search.rank : search.ranks[blockIdx.x];
  unsigned answer = 0, largest = 0;
  for (int top = kKeyBits; top > 0; top -= kBinBits) {
    int const shift = max(0, top - kBinBits);
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) histogram[bin] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < search.d; i += kThreads) {
      unsigned const key = __float_as_uint(__ldg(row + i)) & kMagnitude;
      if (top == kKeyBits) largest = max(largest, key);
      // The first time there is nothing above the bits in question.
      if (key >> top == answer >> top) atomicAdd(&histogram[(key >> shift) & (kBins - 1)], 1u);
    }
    __syncthreads();
    find_bin(histogram, left, warp_sums, found);
    answer |= static_cast<unsigned>(found[0]) << shift;
    left = found[1];
    __syncthreads();
  }
  largest = reduce_block(largest, scratch, [](unsigned a, unsigned b) { return max(a, b); });
  if (threadIdx.x > 0) return;
  float const alpha = __uint_as_float(answer);
  search.found[blockIdx.x] = alpha;
  search.found[gridDim.x + blockIdx.x] = __uint_as_float(largest);
  search.found[2 * gridDim.x + blockIdx.x] = scale_of(alpha, largest == 0, search.beta);
}

}  // namespace
}  // namespace accelsim

ACCELSIM_EXPORT int accelsim_select_rows(accelsim::RowSearch const *search, cudaStream_t stream) {
  using namespace accelsim;
  select_rows<<<static_cast<unsigned>(search->rows), kThreads, 0, stream>>>(*search);
  cudaError_t const sent =
      send(search->mail, search->found, 3 * search->rows * sizeof(float), stream);
  return sent != cudaSuccess ? sent : cudaGetLastError();
}
