#include "norma/core/device.h"

#include <charconv>

namespace norma {

Device Device::parse(std::string_view text) {
  if (text == "cpu") return {};
  if (text == "cuda") return {Kind::cuda, 0};
  if (text.starts_with("cuda:")) {
    Device device{Kind::cuda, -1};
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + 5, end, device.index);
    if (error == std::errc{} && stop == end && device.index >= 0) return device;
  }
  fail("device", "'{}' is not a device: want cpu, cuda or cuda:N", text);
}

std::string Device::str() const { return is_cpu() ? "cpu" : fmt::format("cuda:{}", index); }

void fail_without_cuda(std::string_view op) {
  fail(op,
       "this build of norma has no CUDA backend: install the CUDA toolkit (12 or newer) and cuDNN 9 and build again, "
       "or use the device cpu (--device cpu)");
}

}  // namespace norma
