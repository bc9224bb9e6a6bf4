// PNG and JPEG pictures, decoded by libpng and libjpeg. They are taken as hostile: a size is checked before anything is
// allocated, and every error names the picture.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "norma/core/tensor.h"

namespace norma::datasets {

// Pixels that a picture may have: 2^27, 400 MB of colors; and for each byte of its file, since deflate cannot encode
// more than 1032 bytes in one, of at least one bit a pixel, and JPEG less.
inline constexpr int64_t kMostPixels = int64_t{1} << 27, kMostPixelsPerByte = 1032 * 8;

// What the bytes say they are, PNG or JPEG by their first ones, as RGB: u8 [H, W, 3]. Gray becomes three equal
// channels, transparency is dropped, 16 bits become 8. Errors, which begin with `name`: another format, CMYK colors, a
// damaged or truncated picture, one of more pixels than that.
Tensor decode_picture(std::span<const std::byte> bytes, const std::string& name);

// Scales a picture so that its shorter side is `side` pixels, as torchvision's Resize does (bilinear, and where it gets
// smaller over all pixels that a new one covers; in PIL's arithmetic, to the byte where PIL, too, begins with the
// rows), and cuts a square of `size` pixels out of the middle, as CenterCrop does. u8 [H, W, C] -> u8 [size, size, C].
// Errors: size or side below 1 or above 2^15, a side smaller than the size; an empty picture.
Tensor resize_and_crop(const Tensor& picture, int64_t side, int64_t size);

}  // namespace norma::datasets
