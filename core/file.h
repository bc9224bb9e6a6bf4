// Whole files, in and out. Writing is atomic: a temporary file beside the target, fsync, rename; whatever interrupts
// it, the old file stays whole.
#pragma once

#include "norma/core/tensor.h"

namespace norma {

// Throws, naming the file, if it cannot be read or is larger than `max_bytes`.
std::vector<std::byte> read_file(const std::string& path, size_t max_bytes = SIZE_MAX / 4);
// The bytes as u8 [size], which the system reads when they are first looked at, and again where it has dropped them for
// want of memory. What is written into them is this process's alone, and not the file's. They stay while the tensor
// lives, whatever takes the file's place under its name. Danger: where another program makes the file itself shorter,
// or overwrites it, the bytes change, and the process dies (SIGBUS) at those that are gone. write_file_atomic does
// neither. Throws as read_file.
Tensor map_file(const std::string& path, size_t max_bytes = SIZE_MAX / 4);

// The parts one after the other. Throws, naming the file and why (no space, no permission); the old file is then
// untouched.
void write_file_atomic(const std::string& path, std::span<const std::span<const std::byte>> parts);
void write_file_atomic(const std::string& path, std::string_view text);

}  // namespace norma
