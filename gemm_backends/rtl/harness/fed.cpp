// Drive an array with the ports of fed_array.sv: a memory that has every byte when it is asked for.
#include "Vtop.h"
#include "ports.h"
#include "verilated.h"

// Reads beats of `bytes` from `digits` and writes beats to `sums` until it is finished. Counts the
// clocks in which it stalls. Returns all clocks, or -1 if there are `limit` of them.
extern "C" long run(long n, long h, const unsigned char* digits, long loads, unsigned char* sums,
                    long stores, long bytes, long limit, long* stalls) {
    VerilatedContext context;
    Vtop top{&context};
    auto edge = [&top] {
        top.clk = 1;
        top.eval();
        top.clk = 0;
    };
    top.clk = 0;
    top.eval();
    top.n = n;
    top.h = h;
    top.reset = 1;
    edge();
    top.reset = 0;
    long read = 0, written = 0;
    *stalls = 0;
    for (long clock = 0; clock < limit; clock++) {
        if (read < loads) load(top.read_data, digits + read * bytes, bytes);
        top.eval();
        if (top.finished) return written == stores ? clock : -2;
        *stalls += top.stall;
        if (top.read && read++ == loads) return -2;
        if (top.write) {
            if (written == stores) return -2;
            store(top.write_data, sums + written++ * bytes, bytes);
        }
        edge();
    }
    return -1;
}
