/* The product of the accelerator my-accelerator, as a CUDA kernel. */

#include <cstdint>

constexpr int TILE = 16;

/* C[n, h] = A[n, d] * B[h, d]^T for 8-bit digits, row by row; sums wrap at 32 bits.
   They are formed without sign, because signed overflow is undefined. */
__global__ void gemm(const int8_t *a, const int8_t *b, int32_t *c,
                     int64_t n, int64_t d, int64_t h, int64_t tiles_h) {
    __shared__ int8_t tile_a[TILE][TILE + 1], tile_b[TILE][TILE + 1];
    const int64_t first_row = blockIdx.x / tiles_h * TILE;
    const int64_t first_column = blockIdx.x % tiles_h * TILE;
    const int x = threadIdx.x, y = threadIdx.y;
    uint32_t sum = 0;
    for (int64_t k = 0; k < d; k += TILE) {
        const bool inside = k + x < d;
        tile_a[y][x] = inside && first_row + y < n ? a[(first_row + y) * d + k + x] : 0;
        tile_b[y][x] = inside && first_column + y < h ? b[(first_column + y) * d + k + x] : 0;
        __syncthreads();
        for (int i = 0; i < TILE; i++)
            sum += (uint32_t)((int32_t)tile_a[y][i] * tile_b[x][i]);
        __syncthreads();
    }
    if (first_row + y < n && first_column + x < h)
        c[(first_row + y) * h + first_column + x] = (int32_t)sum;
}

/* Launch the kernel on a stream; returns a cudaError_t. n and h are not 0. */
extern "C" int my_accelerator_gemm(const int8_t *a, const int8_t *b, int32_t *c,
                                   int64_t n, int64_t d, int64_t h, void *stream) {
    const int64_t tiles_n = (n + TILE - 1) / TILE, tiles_h = (h + TILE - 1) / TILE;
    gemm<<<tiles_n * tiles_h, dim3(TILE, TILE), 0, (cudaStream_t)stream>>>(
        a, b, c, n, d, h, tiles_h);
    return cudaGetLastError();
}
