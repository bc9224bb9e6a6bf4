#include "norma/datasets/idx.h"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "norma/core/file.h"

namespace norma::datasets {
namespace {

constexpr uint64_t kMostInflation = 1032;  // deflate cannot encode more than this many bytes in one

// The content of a file, unzipped where it is gzipped, read from front to back.
class Content {
 public:
  Content(std::span<const std::byte> bytes, const std::string& name) : left_(bytes), name_(name) {
    gzipped_ = bytes.size() >= 2 && bytes[0] == std::byte{0x1F} && bytes[1] == std::byte{0x8B};
    limit_ = bytes.size() * (gzipped_ ? kMostInflation : 1);
    if (gzipped_) check(inflateInit2(&stream_, 15 + 16) == Z_OK, "idx", "'{}': zlib cannot start", name_);
  }
  ~Content() {
    if (gzipped_) inflateEnd(&stream_);
  }
  Content(const Content&) = delete;
  Content& operator=(const Content&) = delete;

  uint64_t limit() const { return limit_; }  // the content is not longer than this

  void read(std::span<std::byte> to) {
    const size_t got = take(to);
    check(got == to.size(), "idx", "'{}' ends at byte {} of {} (truncated?)", name_, place_, place_ + to.size() - got);
  }

  void expect_end() {
    std::byte extra;
    const uint64_t end = place_;
    check(take(std::span(&extra, 1)) == 0, "idx", "'{}' goes on after byte {}, where its header ends the data", name_,
          end);
    check(left_.empty(), "idx", "'{}': {} bytes follow the gzip stream", name_, left_.size());
  }

 private:
  // As much as there is of what is wanted. To know that there is no more, a gzip stream is read to its checksum.
  size_t take(std::span<std::byte> to) {
    const size_t got = gzipped_ ? inflate_into(to) : std::min(to.size(), left_.size());
    if (!gzipped_) {
      std::copy_n(left_.begin(), got, to.begin());
      left_ = left_.subspan(got);
    }
    place_ += got;
    return got;
  }

  size_t inflate_into(std::span<std::byte> to) {
    constexpr size_t kMostAtOnce = size_t{1} << 30;  // zlib counts in 32 bits
    size_t got = 0;
    while (got < to.size() && !ended_) {
      const size_t in = std::min(left_.size(), kMostAtOnce), out = std::min(to.size() - got, kMostAtOnce);
      stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(left_.data()));
      stream_.avail_in = static_cast<uInt>(in);
      stream_.next_out = reinterpret_cast<Bytef*>(to.data() + got);
      stream_.avail_out = static_cast<uInt>(out);
      const int code = inflate(&stream_, Z_NO_FLUSH);
      left_ = left_.subspan(in - stream_.avail_in);
      got += out - stream_.avail_out;
      ended_ = code == Z_STREAM_END;
      check(code == Z_OK || ended_, "idx", "'{}': the gzip stream {} (unzipped to byte {})", name_,
            code == Z_BUF_ERROR ? "is truncated"
            : stream_.msg       ? stream_.msg
                                : "is damaged",
            place_ + got);
    }
    return got;
  }

  std::span<const std::byte> left_;
  const std::string& name_;
  uint64_t place_ = 0, limit_;
  bool gzipped_, ended_ = false;
  z_stream stream_{};
};

std::string find_file(const std::string& folder, const std::string& name) {
  for (const char* ending : {"", ".gz"}) {
    const std::filesystem::path path = std::filesystem::path(folder) / (name + ending);
    if (std::filesystem::is_regular_file(path)) return path.string();
  }
  fail("load_mnist_folder", "no '{}' or '{}.gz' in '{}'", name, name, folder);
}

std::vector<std::string> default_names(std::string folder) {
  std::transform(folder.begin(), folder.end(), folder.begin(), [](unsigned char c) { return std::tolower(c); });
  if (folder.find("fashion") == std::string::npos) return {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  return {"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"};
}

}  // namespace

Tensor parse_idx(std::span<const std::byte> bytes, int rank, const std::string& name) {
  Content content(bytes, name);
  std::array<std::byte, 4> word;
  const auto next_word = [&] {
    content.read(word);
    uint64_t value = 0;
    for (std::byte byte : word) value = value << 8 | std::to_integer<uint64_t>(byte);
    return value;
  };
  const uint64_t magic = next_word();
  check(magic >> 16 == 0, "idx", "'{}' is not an IDX file: it begins with {:08x}", name, magic);
  check((magic >> 8 & 0xFF) == 8, "idx", "'{}': elements of type {:#04x} at offset 2; norma reads 0x08, unsigned bytes",
        name, magic >> 8 & 0xFF);
  check((magic & 0xFF) == static_cast<uint64_t>(rank), "idx", "'{}' has rank {} at offset 3, wanted is {}", name,
        magic & 0xFF, rank);
  const uint64_t header = 4 + 4 * static_cast<uint64_t>(rank);
  check(header <= content.limit(), "idx", "'{}' has {} bytes: too short for a header", name, bytes.size());
  Shape shape;
  uint64_t size = 1;
  for (int axis = 0; axis < rank; ++axis) {
    const uint64_t extent = next_word();
    check(extent > 0, "idx", "'{}': axis {} is empty, at offset {}", name, axis, 4 + 4 * axis);
    check(!__builtin_mul_overflow(size, extent, &size) && size <= content.limit() - header, "idx",
          "'{}': {} elements of axis {} at offset {}, in a file that holds at most {} bytes", name, extent, axis,
          4 + 4 * axis, content.limit());
    shape.push_back(static_cast<int64_t>(extent));
  }
  const Tensor x(shape, u8);
  content.read(std::as_writable_bytes(std::span(x.mutable_data<uint8_t>(), size)));
  content.expect_end();
  return x;
}

Tensor load_idx(const std::string& path, int rank) { return parse_idx(read_file(path), rank, path); }

data::ImageDataset load_mnist_folder(const std::string& folder, bool train, std::vector<std::string> class_names) {
  const std::string prefix = train ? "train" : "t10k";
  const std::string images_file = find_file(folder, prefix + "-images-idx3-ubyte");
  const std::string labels_file = find_file(folder, prefix + "-labels-idx1-ubyte");
  const Tensor images = load_idx(images_file, 3), labels = load_idx(labels_file, 1);
  check(images.dim(0) == labels.dim(0), "load_mnist_folder",
        "{} pictures in '{}', {} labels in '{}' (offset 4 of each)", images.dim(0), images_file, labels.dim(0),
        labels_file);
  if (class_names.empty()) class_names = default_names(folder);
  const uint8_t* label = labels.data<uint8_t>();
  for (int64_t i = 0; i < labels.numel(); ++i)
    check(label[i] < class_names.size(), "load_mnist_folder", "'{}': label {} at offset {}, there are {} classes",
          labels_file, label[i], 8 + i, class_names.size());
  const std::filesystem::path path = std::filesystem::path(folder).lexically_normal();
  return {(path.has_filename() ? path : path.parent_path()).filename().string(),
          view::reshape(images, {images.dim(0), images.dim(1), images.dim(2), 1}), labels.to(i64), class_names};
}

}  // namespace norma::datasets
