// Copy packed bits, least significant first, into and out of a model's ports of any width.
#pragma once
#include <algorithm>
#include <cstring>

template <typename Port>
void load(Port& port, const unsigned char* bits, std::size_t bytes) {
    std::memset(&port, 0, sizeof port);
    std::memcpy(&port, bits, std::min(sizeof port, bytes));
}

template <typename Port>
void store(const Port& port, unsigned char* bits, std::size_t bytes) {
    std::memcpy(bits, &port, std::min(sizeof port, bytes));
}
