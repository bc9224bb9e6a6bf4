// NumPy's files: an array (.npy, its format's versions 1 to 3) and an archive of named ones (.npz, a zip file, read and
// written by libzip). Read are arrays of float32, float64, int64, uint8 and bool as they are, and of other integers up
// to 32 bits as i64, in C or Fortran order. Files are taken as hostile: a size is checked against what the file can
// hold before anything is allocated, and every error names the file.
#pragma once

#include <string>

#include "norma/core/serialize.h"

namespace norma::datasets {

// Errors: what is no .npy file, another dtype or byte order, more than eight axes, a file that is truncated or goes on.
Tensor load_npy(const std::string& path);
void save_npy(const std::string& path, const Tensor& x);  // as numpy.save writes it, to the byte

// The arrays in the archive's order, by name, without ".npy". Compressed ones are read, too. Errors: a damaged archive,
// two arrays of one name, what is no array in it, and those of load_npy.
NamedTensors load_npz(const std::string& path);
// Not compressed, as numpy.savez. Both write atomically: whatever interrupts them, an older file stays whole.
void save_npz(const std::string& path, const NamedTensors& arrays);

}  // namespace norma::datasets
