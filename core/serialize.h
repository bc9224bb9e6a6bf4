// Tensors in safetensors files, which numpy and PyTorch read and write: eight bytes of header length, a JSON header,
// the data. Files are taken as hostile: every size, offset and dtype is checked before it is used.
#pragma once

#include <map>

#include "norma/core/tensor.h"

namespace norma {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

struct TensorFile {
  NamedTensors tensors;                         // in the order of their data
  std::map<std::string, std::string> metadata;  // "__metadata__" of the header

  const Tensor* find(std::string_view name) const;  // null if there is none
};

// Atomic (see file.h). Tensors are written contiguous, from whatever device they are on.
void save_safetensors(const std::string& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata = {});

// Errors name the file and what is wrong: truncation, a header larger than the file, malformed JSON, unknown dtypes,
// tensors that overlap, leave holes, or lie outside of the file.
TensorFile load_safetensors(const std::string& path);
TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

}  // namespace norma
