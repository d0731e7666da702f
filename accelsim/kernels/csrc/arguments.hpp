// What the C functions take that Python calls with a structure of their own, which it fills by the same
// names (gemm_backends/cuda/fused/arguments.py, accelsim/kernels/launches.py). Every field has 64 bits.
#pragma once

#include <cstdint>

namespace accelsim {

struct Clear {
  void *memory;
  int64_t bytes;
};

struct AtEvent {
  void *event;
};

// From floats, or planes of digits, to low digits and what is above them.
struct Split {
  void const *x;
  int64_t type, planes, x_stride, n, d, padded;
  float const *scale;
  int64_t scale_step;
  int8_t *low;
  int64_t low_stride, slots_at;
  int const *slots;
  int64_t groups, slot_count;
  void *entries;
  int64_t list_length;
  int *list_counts, *column_counts;
  uint8_t *marks;
  int *chains, *next;
  void *found;
  unsigned *flags;
};

struct SampleColumns {
  void const *x;
  int64_t type, n, d, step;
  float const *scale;
  int64_t scale_step;
  int *counts;
};

struct WritePlanes {
  void const *x;
  int64_t type, n, d;
  float const *scale;
  int64_t scale_step;
  int8_t *digits;
  int64_t stride, padded, rows, stored, first, count;
  void *found;
  int const *gate;
};

struct AssignSlots {
  int const *counts_a, *counts_b;
  int64_t d, threshold_a, threshold_b, threshold_product, room, first;
  int *slots, *taken, *sources_a, *sources_b;
  unsigned *flags;
};

struct AssignPlaces {
  uint8_t const *marks;
  int64_t rows, d;
  int const *slots;
  int64_t room;
  int *places, *sources;
  unsigned *flags;
};

// What follows `flags` is for A alone; null without high parts in B.
struct Fill {
  int8_t *digits;
  int64_t stride, rows, d, groups, slots, places, written;
  int const *slot_of, *place_of;
  void const *entries;
  int64_t list_length;
  int const *list_counts;
  unsigned *flags;
  void const *entries_b;
  int64_t list_length_b;
  int const *chains, *next;
  int *counts;
  void *corrections;
  int64_t room, tiles_across;
};

// `rows` is a multiple of four, `columns` and `width` are of 128.
struct Gather {
  int8_t *digits;
  int64_t stride, rows, columns, copies;
  int const *sources;
  int64_t width;
};

struct RowScales {
  void const *x;
  int64_t type, n, d, numerator, denominator, nonzero;
  double beta;
  float *scales;
  unsigned long long *nonfinite;
  void *found;
};

struct Conclude {
  void const *found_a;
  unsigned long long const *nonfinite_a;
  float const *scale_a;
  int64_t planned_a, dense_a;
  void const *found_b;
  unsigned long long const *nonfinite_b;
  float const *scale_b;
  int64_t planned_b, dense_b;
  unsigned const *flags;
  double limit;
  int64_t provable, sticks, exponent;
  void *status, *host;
};

struct Correct {
  int *sums;
  int64_t stride, tiles, tiles_across;
  void const *corrections;
  int64_t room;
};

struct Accumulate {
  int const *sums;
  int64_t count, shift;
  int64_t *totals;
};

// Sums [rows, stride] are int32, or int64 if `wide`; out [rows, h] has a type of common.hpp, or 3 for
// int64.
struct Pack {
  void const *sums;
  int64_t wide, stride, rows, n, h;
  double const *common;
  float const *row_scales, *column_scales;
  void *out;
  int64_t type;
};

inline int narrow(int64_t x) { return static_cast<int>(x); }

}  // namespace accelsim
