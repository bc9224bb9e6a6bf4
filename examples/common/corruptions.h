// Corruptions: what can happen to a picture between the scene and the file, in five strengths. In the manner of
// Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations" (2019), but
// with formulas and strengths of their own, made for small pictures.
#pragma once

#include <array>
#include <cstdint>

#include "norma/core/tensor.h"

namespace examples {

enum class Corruption : uint8_t { noise, blur, contrast, brightness, fog };
inline constexpr std::array kCorruptions = {Corruption::noise, Corruption::blur, Corruption::contrast,
                                            Corruption::brightness, Corruption::fog};
const char* name(Corruption corruption);

// u8 [N, H, W, C] -> the same. strength: 1 to 5. With x in [0, 1]:
//   noise       x + a n, n normal                       a = 0.06 strength, a draw of its own for each value
//   blur        a Gaussian filter, edges repeated       of deviation 0.3 strength pixels
//   contrast    m + a (x - m), m the picture's mean     a = 0.75 ... 0.15
//   brightness  x + a                                   a = 0.1 strength
//   fog         (1 - a) x + a f                         a = 0.15 strength; f in [0.5, 1] varies slowly over the picture
// clipped to [0, 1]. Picture i is a function of (seed, i) alone.
norma::Tensor corrupt(const norma::Tensor& images, Corruption corruption, int strength, uint64_t seed = 1);

}  // namespace examples
