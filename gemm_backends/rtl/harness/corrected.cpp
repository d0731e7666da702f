// Drive an array with the ports of corrected_array.sv, and a port `choice`, through one tile.
#include <vector>

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

using Bytes = std::vector<unsigned char>;

void put(Bytes& bits, long low, long width, long long value) {
    for (long i = 0; i < width; i++)
        if (value >> i & 1) bits[(low + i) / 8] |= 1 << (low + i) % 8;
}

template <typename Port>
long long get(const Port& port, long low, long width) {
    const auto* bits = reinterpret_cast<const unsigned char*>(&port);
    long long value = 0;
    for (long i = 0; i < width; i++) value |= (bits[(low + i) / 8] >> (low + i) % 8 & 1LL) << i;
    return value;
}

}  // namespace

extern "C" void* create() {
    auto* array = new Array;
    array->top.clk = 0;
    array->top.eval();
    return array;
}

extern "C" void destroy(void* array) { delete static_cast<Array*>(array); }

// Take k columns of both operands and the high digits of both, and clocks until the array is idle.
//
// `sizes` are banks, lanes of a bank, groups, and the bits of a group, a line, a level and a digit.
// High digits come bank by bank, those of A first: `counts` of each, and for each the first and the
// last group, line, value and level, and the digits of the other operand for every group.
// Returns the clocks, or -1 if the array is not idle after `limit` of them.
extern "C" long run(void* array, long choice, const unsigned char* a, long a_bytes,
                    const unsigned char* b, long b_bytes, long k, long limit, const long* sizes,
                    const long long* counts, const long long* entries, const long long* digits,
                    unsigned char* sums, long sums_bytes) {
    Vtop& top = static_cast<Array*>(array)->top;
    const long banks = sizes[0], lanes = sizes[1], groups = sizes[2], group_bits = sizes[3],
               line_bits = sizes[4], level_bits = sizes[5], digit_bits = sizes[6];
    std::vector<long> next(2 * banks), end(2 * banks);
    long total = 0;
    for (long i = 0; i < 2 * banks; i++) {
        next[i] = total;
        end[i] = total += counts[i];
    }
    top.choice = choice;
    top.reset = 1;
    top.valid = top.first = 0;
    top.offered = 0;
    static_cast<Array*>(array)->edge();
    top.reset = 0;
    long side = 0, clock = 0;
    for (;; clock++) {
        top.valid = clock < k;
        top.first = clock == 0;
        if (clock < k) {
            load(top.a, a + clock * a_bytes, a_bytes);
            load(top.b, b + clock * b_bytes, b_bytes);
        }
        if (side == 0) {
            side = 1;
            for (long g = 0; g < banks; g++)
                if (next[g] < end[g]) side = 0;
        }
        auto bytes = [banks](long width) { return Bytes((banks * width + 7) / 8); };
        Bytes offered = bytes(1), first = bytes(group_bits), last = bytes(group_bits),
              line = bytes(line_bits), value = bytes(digit_bits), level = bytes(level_bits);
        for (long g = 0; g < banks; g++) {
            const long at = side * banks + g;
            if (next[at] == end[at]) {  // what is not offered must not matter
                put(value, g * digit_bits, digit_bits, -1);
                put(level, g * level_bits, level_bits, 1);
                continue;
            }
            const long long* entry = entries + 5 * next[at];
            put(offered, g, 1, 1);
            put(first, g * group_bits, group_bits, entry[0]);
            put(last, g * group_bits, group_bits, entry[1]);
            put(line, g * line_bits, line_bits, entry[2]);
            put(value, g * digit_bits, digit_bits, entry[3]);
            put(level, g * level_bits, level_bits, entry[4]);
        }
        top.of_b = side;
        load(top.offered, offered.data(), offered.size());
        load(top.first_group, first.data(), first.size());
        load(top.last_group, last.data(), last.size());
        load(top.line, line.data(), line.size());
        load(top.value, value.data(), value.size());
        load(top.level, level.data(), level.size());
        top.eval();
        Bytes asked = bytes(lanes * digit_bits);
        for (long g = 0; g < banks; g++) {
            const long at = side * banks + g;
            const long group = get(top.group, g * group_bits, group_bits);
            const bool there = next[at] < end[at] && group < groups;
            const long long* row = digits + (next[at] * groups + group) * lanes;
            for (long i = 0; i < lanes; i++)
                put(asked, (g * lanes + i) * digit_bits, digit_bits, there ? row[i] : -1);
        }
        load(top.digits, asked.data(), asked.size());
        top.eval();
        if (clock >= k && top.idle) break;
        if (clock >= limit) return -1;
        for (long g = 0; g < banks; g++) {
            const long at = side * banks + g;
            if (next[at] < end[at] && get(top.taken, g, 1)) next[at]++;
        }
        static_cast<Array*>(array)->edge();
    }
    store(top.sums, sums, sums_bytes);
    return clock;
}
