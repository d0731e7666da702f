// Evaluate a combinational module with the ports `in` and `out` on many inputs.
#include "model.cc"
#include "ports.h"

extern "C" void evaluate(const unsigned char* in, long in_bytes, unsigned char* out,
                         long out_bytes, long count) {
    cxxrtl_design::p_top top;
    for (long i = 0; i < count; i++) {
        load(top.p_in, in + i * in_bytes, in_bytes);
        top.step();
        store(top.p_out, out + i * out_bytes, out_bytes);
    }
}
