// Element types, and the switch from a dtype at run time to a C++ type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "norma/core/error.h"

namespace norma {

enum class DType : uint8_t { f32, f64, i64, u8, boolean };
inline constexpr DType f32 = DType::f32, f64 = DType::f64, i64 = DType::i64, u8 = DType::u8, boolean = DType::boolean;

constexpr size_t size_of(DType dtype) { return dtype == f32 ? 4 : dtype == f64 || dtype == i64 ? 8 : 1; }
constexpr bool is_floating(DType dtype) { return dtype == f32 || dtype == f64; }

constexpr std::string_view name_of(DType dtype) {
  constexpr std::string_view names[] = {"f32", "f64", "i64", "u8", "bool"};
  return names[static_cast<int>(dtype)];
}

template <class T>
constexpr DType dtype_of() {
  constexpr bool same[] = {std::is_same_v<T, float>, std::is_same_v<T, double>, std::is_same_v<T, int64_t>,
                           std::is_same_v<T, uint8_t>, std::is_same_v<T, bool>};
  static_assert(same[0] || same[1] || same[2] || same[3] || same[4], "not an element type of norma");
  return static_cast<DType>(same[0] ? 0 : same[1] ? 1 : same[2] ? 2 : same[3] ? 3 : 4);
}

// A cast that is defined for every value: from floating to integer towards zero, no further than the type reaches, and
// NaN to 0.
template <class T, class S>
constexpr T convert(S value) {
  if constexpr (std::is_floating_point_v<S> && std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    constexpr T low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
    if (!(value > S(low))) return value == value ? low : T(0);
    if (value >= S(high)) return high;
  }
  return static_cast<T>(value);
}

// Calls f.operator()<T>() with the C++ type of `dtype`:  dispatch(x.dtype(), [&]<class T>() { ... });
decltype(auto) dispatch(DType dtype, auto&& f) {
  switch (dtype) {
    case f32: return f.template operator()<float>();
    case f64: return f.template operator()<double>();
    case i64: return f.template operator()<int64_t>();
    case u8: return f.template operator()<uint8_t>();
    default: return f.template operator()<bool>();
  }
}

// The same for the two floating types; anything else is an error in the name of `op`.
decltype(auto) dispatch_floating(std::string_view op, DType dtype, auto&& f) {
  check(is_floating(dtype), op, "dtype {} is not a floating one (f32, f64)", name_of(dtype));
  return dtype == f32 ? f.template operator()<float>() : f.template operator()<double>();
}

}  // namespace norma

template <>
struct fmt::formatter<norma::DType> : norma::Formatter<norma::name_of> {};
