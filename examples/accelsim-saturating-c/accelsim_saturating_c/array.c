/* An accelerator that sums products one step of K at a time in a register of any width up to 32
   bits, which stops at its limits. The library knows nothing of Python or of accelsim. */

#include <stdint.h>

/* What is known of the steps at which a sum did not fit: how many, and the first in the order of
   rows, columns and steps (row is -1 if there is none). */
typedef struct {
    int64_t count, row, column, step;
} overflow_report;

/* C[n, h] = A[n, d] * B[h, d]^T for 8-bit digits, row by row, in an accumulator of `bits` bits. */
void array_gemm(const int8_t *a, const int8_t *b, int32_t *c, int64_t n, int64_t d, int64_t h,
                int bits, overflow_report *report) {
    const int64_t high = ((int64_t)1 << (bits - 1)) - 1, low = -high - 1;
    *report = (overflow_report){0, -1, -1, -1};
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < h; j++) {
            int64_t sum = 0;
            for (int64_t k = 0; k < d; k++) {
                sum += (int32_t)a[i * d + k] * b[j * d + k];
                if (sum > high || sum < low) {
                    sum = sum > high ? high : low;
                    if (report->count++ == 0) {
                        report->row = i;
                        report->column = j;
                        report->step = k;
                    }
                }
            }
            c[i * h + j] = (int32_t)sum;
        }
    }
}
