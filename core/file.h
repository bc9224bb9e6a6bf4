// Whole files, in and out. Writing is atomic: a temporary file beside the target, fsync, rename; whatever interrupts
// it, the old file stays whole.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace norma {

// Throws, naming the file, if it cannot be read or is larger than `max_bytes`.
std::vector<std::byte> read_file(const std::string& path, size_t max_bytes = size_t{1} << 40);

// The parts one after the other. Throws, naming the file and why (no space, no permission); the old file is then
// untouched.
void write_file_atomic(const std::string& path, std::span<const std::span<const std::byte>> parts);
void write_file_atomic(const std::string& path, std::string_view text);

}  // namespace norma
