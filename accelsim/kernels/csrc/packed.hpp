// C functions once more in a form in which they all have the same type, so that a list of calls can
// be made ahead and gone through without Python: see launches.cu.
#pragma once

#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include <cuda_runtime.h>

#include "export.h"

namespace accelsim {

// One argument from 64 bits: a pointer, a double, or an integer.
template <class T>
T unpack(uint64_t word) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(word);
  } else if constexpr (std::is_same_v<T, double>) {
    double value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  } else {
    static_assert(std::is_integral_v<T>);
    return static_cast<T>(word);
  }
}

// Call a function whose last argument is a stream with the others from `words`.
template <class... Arguments, size_t... Index>
int call_packed(int (*function)(Arguments...), uint64_t const *words, cudaStream_t stream,
                std::index_sequence<Index...>) {
  using All = std::tuple<Arguments...>;
  return function(unpack<std::tuple_element_t<Index, All>>(words[Index])..., stream);
}

template <class... Arguments>
int call_packed(int (*function)(Arguments...), uint64_t const *words, cudaStream_t stream) {
  return call_packed(function, words, stream,
                     std::make_index_sequence<sizeof...(Arguments) - 1>{});
}

}  // namespace accelsim

#define ACCELSIM_PACKED(function)                                                    \
  ACCELSIM_EXPORT int function##_packed(uint64_t const *words, cudaStream_t stream) { \
    return accelsim::call_packed(function, words, stream);                           \
  }
