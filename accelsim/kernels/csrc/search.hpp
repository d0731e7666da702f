// The search for the key of a rank, 1 for the largest, by counting the keys that reach two thresholds at
// a time. Also compiled for the host, where its number of steps is tested.
#pragma once

#if defined(__CUDACC__)
#define ACCELSIM_ANYWHERE __host__ __device__
#else
#define ACCELSIM_ANYWHERE
#endif

namespace accelsim {

// Of keys from `low` on there are `at_low` >= rank, of those from `high` on `at_high` < rank.
struct Bracket {
  unsigned low, high;
  int at_low, at_high;
};

struct KeySearch {
  static constexpr unsigned kFar = 1u << 28;
  Bracket known;
  int rank;
  unsigned largest, step;
  unsigned width = ~0u;  // before the last count
  bool thirds = false;

  // `step`: how far from what is known the first thresholds are, where there is nothing to interpolate.
  ACCELSIM_ANYWHERE KeySearch(Bracket bracket, int rank, unsigned largest, unsigned step)
      : known(bracket), rank(rank), largest(largest), step(step) {
    // Beyond the largest key there is nothing to count, however far away a guess was.
    if (known.high > largest) known.high = largest + 1, known.at_high = 0;
  }

  // Whether the key is neither `low`, nor next to a limit that is known with its number.
  ACCELSIM_ANYWHERE bool open() const {
    return known.high - known.low > 1 && (known.at_low > rank || known.low == 0) &&
           known.at_high + 1 < rank;
  }

  // Two thresholds above `low` and below `high`, the first one not above the second.
  ACCELSIM_ANYWHERE void choose(unsigned &first, unsigned &second) {
    unsigned const low = known.low, high = known.high, left = high - low, last = high - 1;
    if (known.at_high == 0 && high > largest) {  // nothing above the answer is known yet
      first = low + step, second = low + 4 * step, step = smaller(8 * step, kFar);
    } else if (low == 0) {
      second = high > step ? high - step : 1, first = high > 4 * step ? high - 4 * step : 1;
      step = smaller(8 * step, kFar);
    } else if (left <= 3 || (left > width / 4 && !thirds)) {
      first = low + larger(left / 3, 1), second = low + larger(2 * left / 3, 1);
      thirds = true;
    } else {
      float const share = (known.at_low - rank + 0.5f) / static_cast<float>(known.at_low - known.at_high);
      auto const middle = low + static_cast<unsigned>(share * static_cast<float>(left));
      unsigned const margin = left / 16;
      first = middle - smaller(margin, middle), second = middle + larger(margin, 1);
      thirds = false;
    }
    first = smaller(larger(first, low + 1), last);
    second = smaller(larger(second, first), last);
    width = left;
  }

  // Take in how many keys reach the two.
  ACCELSIM_ANYWHERE void narrow(unsigned first, unsigned second, int at_first, int at_second) {
    if (at_second >= rank)
      known.low = second, known.at_low = at_second;
    else if (at_first >= rank)
      known = {first, second, at_first, at_second};
    else
      known.high = first, known.at_high = at_first;
  }

 private:
  ACCELSIM_ANYWHERE static unsigned smaller(unsigned a, unsigned b) { return a < b ? a : b; }
  ACCELSIM_ANYWHERE static unsigned larger(unsigned a, unsigned b) { return a > b ? a : b; }
};

}  // namespace accelsim
