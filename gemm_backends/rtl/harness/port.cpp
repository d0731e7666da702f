// Drive tile_port.sv with the beats and clocks of one tile after another.
#include "Vtop.h"
#include "verilated.h"

// For each tile clocks, passing, stores and loads. Counts the clocks in which nothing is computed, and
// in `moved` the beats written, let through and read. Returns all clocks, or -1 if there are `limit`.
extern "C" long run(long tiles, const int* sizes, long limit, long* stalls, long* moved) {
    VerilatedContext context;
    Vtop top{&context};
    auto edge = [&top] {
        top.clk = 1;
        top.eval();
        top.clk = 0;
    };
    auto show = [&](long next) {
        top.clocks = sizes[4 * next];
        top.passing = sizes[4 * next + 1];
        top.stores = sizes[4 * next + 2];
        top.loads = next + 1 < tiles ? sizes[4 * next + 7] : 0;
    };
    top.clk = 0;
    top.eval();
    top.tiles = tiles;
    top.loads = sizes[3];
    top.reset = 1;
    edge();
    top.reset = 0;
    long next = 0;
    *stalls = moved[0] = moved[1] = moved[2] = 0;
    for (long clock = 0; clock < limit; clock++) {
        if (next < tiles) show(next);
        top.eval();
        if (top.finished) return clock;
        *stalls += top.stall;
        moved[0] += top.write;
        moved[1] += top.pass;
        moved[2] += top.read;
        next += top.start;
        edge();
    }
    return -1;
}
