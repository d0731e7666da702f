// The search of the row pass on the host, where sorted keys are counted by bisection.
#include "search.hpp"

#include <algorithm>

// The steps it took, `limit` at most; `key` becomes what it found.
extern "C" int search(unsigned const *keys, int count, int rank, unsigned low, unsigned high,
                      unsigned step, int limit, unsigned *key) {
  unsigned const *const end = keys + count;
  auto const reach = [&](unsigned threshold) {
    return static_cast<int>(end - std::lower_bound(keys, end, threshold));
  };
  accelsim::Bracket const known{low, high, low == 0 ? count : reach(low), reach(high)};
  accelsim::KeySearch search(known, rank, keys[count - 1], step);
  int steps = 0;
  for (; search.open() && steps < limit; ++steps) {
    unsigned first, second;
    search.choose(first, second);
    search.narrow(first, second, reach(first), reach(second));
  }
  accelsim::Bracket const &found = search.known;
  if (found.high - found.low == 1)
    *key = found.low;
  else if (found.low > 0 && found.at_low == rank)
    *key = *std::lower_bound(keys, end, found.low);
  else
    *key = *(std::lower_bound(keys, end, found.high) - 1);
  return steps;
}
