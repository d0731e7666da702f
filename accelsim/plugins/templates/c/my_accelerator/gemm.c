/* The product of the accelerator my-accelerator. Replace it, or link the library that you have. */

#include <stdint.h>

/* C[n, h] = A[n, d] * B[h, d]^T for 8-bit digits, row by row; sums wrap at 32 bits.
   They are formed without sign, because signed overflow is undefined in C. */
void my_accelerator_gemm(const int8_t *a, const int8_t *b, int32_t *c,
                         int64_t n, int64_t d, int64_t h) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < h; j++) {
            uint32_t sum = 0;
            for (int64_t k = 0; k < d; k++)
                sum += (uint32_t)((int32_t)a[i * d + k] * b[j * d + k]);
            c[i * h + j] = (int32_t)sum;
        }
    }
}
