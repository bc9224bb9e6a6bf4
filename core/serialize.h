// Tensors in safetensors files, which numpy and PyTorch read and write: eight bytes of header length, a JSON header,
// the data. Files are taken as hostile: every size, offset and dtype is checked before it is used.
#pragma once

#include <map>

#include "norma/core/tensor.h"

namespace norma {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
using Metadata = std::map<std::string, std::string>;

struct TensorFile {
  NamedTensors tensors;  // in the order of their data
  Metadata metadata;     // "__metadata__" of the header

  const Tensor* find(std::string_view name) const;  // null if there is none
};

// Atomic (see file.h). Tensors are written contiguous, from whatever device they are on.
void save_safetensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata = {});

// Errors name the file and what is wrong: truncation, a header larger than the file, malformed JSON, unknown dtypes,
// tensors that overlap, leave holes, or lie outside of the file.
TensorFile load_safetensors(const std::string& path);
// The same, in no time and memory: the tensors are the bytes of the file as map_file (core/file.h) has them, and are
// read when they are first used; but those whose place is no multiple of their dtype's size, and so are copied, and
// bool, which is checked. They may be written to, in this process's memory alone. Danger: another program must not make
// the file shorter while any of them lives (see map_file); to replace it, as norma saves, is safe.
TensorFile map_safetensors(const std::string& path);
// `owner`: a tensor that the bytes are a part of, and which the tensors then share, where they are aligned.
TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name, const Tensor& owner = {});

}  // namespace norma
