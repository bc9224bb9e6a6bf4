// Device: where a tensor's memory is, and which kernels work on it.
#pragma once

#include "norma/core/error.h"

namespace norma {

struct Device {
  enum class Kind : uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  static Device parse(std::string_view text);  // "cpu", "cuda", "cuda:1"; throws on anything else
  std::string str() const;
  bool is_cpu() const { return kind == Kind::cpu; }
  bool is_cuda() const { return kind == Kind::cuda; }
  bool operator==(const Device&) const = default;
};

inline constexpr Device cpu_device{};

// Says why a device cannot be used here and what to do about it. Throws Error; used wherever CUDA is asked for in vain.
[[noreturn]] void fail_without_cuda(std::string_view op);

}  // namespace norma

template <>
struct fmt::formatter<norma::Device> : norma::Formatter<&norma::Device::str> {};
