// Drive an array with the ports of systolic_array.sv through one tile.
#include "Vtop.h"
#include "ports.h"
#include "verilated.h"

namespace {

struct Array {
    VerilatedContext context;
    Vtop top{&context};

    void edge() {
        top.clk = 1;
        top.eval();
        top.clk = 0;  // takes effect with the next inputs
    }
};

bool bit(const unsigned char* bits, long index) { return bits[index / 8] >> (index % 8) & 1; }

}  // namespace

extern "C" void* create() {
    auto* array = new Array;
    array->top.clk = 0;
    array->top.eval();
    return array;
}

extern "C" void destroy(void* array) { delete static_cast<Array*>(array); }

// Take k columns of both operands, and clocks until the array is idle. Counts at every place the
// products added and the overflows, and notes the number of the first product that overflowed.
// Returns the clocks, or -1 if the array is not idle after `limit` of them.
extern "C" long run(void* array, const unsigned char* a, long a_bytes, const unsigned char* b,
                    long b_bytes, long k, long limit, unsigned char* sums, long sums_bytes,
                    long places, long long* added, long long* overflows, long long* first) {
    Vtop& top = static_cast<Array*>(array)->top;
    top.reset = 1;
    top.valid = 0;
    top.first = 0;
    static_cast<Array*>(array)->edge();
    top.reset = 0;
    long clock = 0;
    for (;; clock++) {
        top.valid = clock < k;
        top.first = clock == 0 && k > 0;
        if (clock < k) {
            load(top.a, a + clock * a_bytes, a_bytes);
            load(top.b, b + clock * b_bytes, b_bytes);
        }
        top.eval();
        if (clock >= k && top.idle) break;
        if (clock >= limit) return -1;
        const auto* stepped = reinterpret_cast<const unsigned char*>(&top.stepped);
        const auto* overflow = reinterpret_cast<const unsigned char*>(&top.overflow);
        for (long byte = 0; byte < (places + 7) / 8; byte++) {
            if (stepped[byte] == 0) continue;
            for (long place = 8 * byte; place < std::min(8 * byte + 8, places); place++) {
                if (overflow[byte] && bit(stepped, place) && bit(overflow, place) &&
                    overflows[place]++ == 0)
                    first[place] = added[place];
                added[place] += bit(stepped, place);
            }
        }
        static_cast<Array*>(array)->edge();
    }
    store(top.sums, sums, sums_bytes);
    return clock;
}
