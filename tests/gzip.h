// Makes gzip files. Test support only; apart from tests/files.h, since it needs zlib.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include "tests/files.h"

namespace norma::test {

// As gzip writes it.
inline Bytes gzip(const Bytes& content) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Bytes file(deflateBound(&stream, content.size()) + 32);
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(file.data());
  stream.avail_out = static_cast<uInt>(file.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  file.resize(stream.total_out);
  deflateEnd(&stream);
  return file;
}

// The same without compression: one stored block of less than 64 KiB. Fast enough for a fuzz test.
inline Bytes gzip_stored(const Bytes& content) {
  Bytes file;
  for (int byte : {0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255, 1}) file.push_back(static_cast<std::byte>(byte));
  const uint32_t length = static_cast<uint32_t>(content.size());
  put32(file, length | ~length << 16, false);
  file.insert(file.end(), content.begin(), content.end());
  put32(file, static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(content.data()), length)), false);
  put32(file, length, false);
  return file;
}

}  // namespace norma::test
