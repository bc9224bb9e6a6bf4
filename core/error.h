// The one exception norma throws, and the one helper that throws it.
// Messages have one form: `[op] what is wrong, with the offending shapes`, and inside a model also where it is:
// `[conv2d] ... (in features.2.conv1)`.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace norma {

// While it lives, a variable has another value; then its former one again. Several of one variable end in the reverse
// order of their beginnings, as local variables do.
template <class T>
struct Scoped {
  Scoped(T& place, T value) : variable(place), before(std::exchange(place, value)) {}
  ~Scoped() { variable = before; }
  Scoped& operator=(Scoped&&) = delete;  // neither moved nor copied
  T& variable;
  const T before;
};

// The op that this thread runs (autograd/op.h), or null: the name of errors that are found where nothing knows a
// better.
inline constinit thread_local const char* running_op = nullptr;
// The path of the module that this thread runs (nn::Module::Running), or "": errors end with it.
inline constinit thread_local const char* running_module = "";
inline std::string in_module(const char* path) { return *path ? fmt::format(" (in {})", path) : ""; }

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class... Args>
[[noreturn]] void fail(std::string_view op, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format("[{}] {}{}", op, fmt::format(text, std::forward<Args>(args)...), in_module(running_module)));
}

// Throws unless `ok`, in the name of `op`: a text, or a string. The message is only formatted, and the name's length
// only counted, when it is needed.
template <class... Args>
void check(bool ok, const auto& op, fmt::format_string<Args...> text, Args&&... args) {
  if (!ok) [[unlikely]]
    fail(op, text, std::forward<Args>(args)...);
}

// A formatter that prints text(x), `text` a function or a member function of x.
template <auto text>
struct Formatter : fmt::formatter<std::string_view> {
  auto format(const auto& x, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(std::invoke(text, x), context);
  }
};

}  // namespace norma
