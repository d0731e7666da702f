// Evaluate a combinational module with the ports `in` and `out` on many inputs.
#include "Vtop.h"
#include "ports.h"
#include "verilated.h"

extern "C" void evaluate(const unsigned char* in, long in_bytes, unsigned char* out,
                         long out_bytes, long count) {
    VerilatedContext context;
    Vtop top{&context};
    for (long i = 0; i < count; i++) {
        load(top.in, in + i * in_bytes, in_bytes);
        top.eval();
        store(top.out, out + i * out_bytes, out_bytes);
    }
}
