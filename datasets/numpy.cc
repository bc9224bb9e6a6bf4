#include "norma/datasets/numpy.h"

// GCC 12 takes parts of std::regex for uninitialized where the sanitizers are on.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include <zip.h>

#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <regex>
#include <set>

#include "norma/core/file.h"

namespace norma::datasets {
namespace {

constexpr size_t kMostHeader = 1 << 12;    // NumPy's are 128 bytes long
constexpr uint64_t kMostInflation = 1032;  // deflate cannot encode more bytes in one
// An array of bytes as NumPy keeps them.
template <class From>
Tensor read(std::span<const std::byte> bytes, const Shape& shape, DType dtype) {
  const Tensor x(shape, dtype);
  dispatch(dtype, [&]<class T>() {
    T* to = x.mutable_data<T>();
    for (size_t at = 0; at < bytes.size(); at += sizeof(From)) {
      From value;
      std::memcpy(&value, bytes.data() + at, sizeof value);
      *to++ = static_cast<T>(value);
    }
  });
  return x;
}

struct Kind {
  const char* descr;
  DType dtype;
  size_t width;
  Tensor (*read)(std::span<const std::byte> bytes, const Shape& shape, DType dtype);
};
constexpr Kind kKinds[] = {{"<f4", f32, 4, read<float>},       {"<f8", f64, 8, read<double>},
                           {"<i8", i64, 8, read<int64_t>},     {"|u1", u8, 1, read<uint8_t>},
                           {"|b1", boolean, 1, read<uint8_t>}, {"|i1", i64, 1, read<int8_t>},
                           {"<i2", i64, 2, read<int16_t>},     {"<i4", i64, 4, read<int32_t>},
                           {"<u2", i64, 2, read<uint16_t>},    {"<u4", i64, 4, read<uint32_t>}};

struct Archive {
  Archive(const std::string& file, int flags) : path(file) {
    int code = 0;
    zip = zip_open(path.c_str(), flags, &code);
    check(zip != nullptr, "npz", "'{}' cannot be opened as a zip file (libzip's error {})", path, code);
  }
  ~Archive() { zip_discard(zip); }
  void want(bool succeeded) const { check(succeeded, "npz", "'{}': {}", path, zip_strerror(zip)); }
  const std::string& path;
  zip_t* zip;
};

std::string npy(const Tensor& x) {  // the bytes of a file
  const Tensor in = x.contiguous().to(cpu_device);
  const Kind* kind = kKinds;
  while (kind->dtype != x.dtype()) ++kind;
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", kind->descr,
                                 fmt::join(x.shape(), ", "), x.rank() == 1 ? "," : "");
  text.resize((text.size() + 11 + 63) / 64 * 64 - 11, ' ');  // at most 245, for eight axes
  text = std::string("\x93NUMPY\x01\0", 8) + static_cast<char>(text.size() + 1) + '\0' + text + '\n';
  return text.append(reinterpret_cast<const char*>(in.memory().data()), in.memory().size());
}

}  // namespace

static Tensor parse_npy(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  check(text.size() >= 12 && text.starts_with("\x93NUMPY") && text[6] >= 1 && text[6] <= 3, "npy",
        "'{}' does not begin as a .npy file", name);
  const size_t start = text[6] == 1 ? 10 : 12;
  uint32_t length = 0;
  std::memcpy(&length, text.data() + 8, start - 8);
  check(length <= kMostHeader && length <= text.size() - start, "npy", "'{}': a header of {} bytes at offset 8", name,
        length);
  static const std::regex form(
      R"(\{'descr': '(.{1,8})', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n)");
  std::cmatch parts;
  check(std::regex_match(text.data() + start, text.data() + start + length, parts, form), "npy",
        "'{}': its header does not say descr, fortran_order and shape as NumPy's do", name);
  const Kind* kind = kKinds;
  while (kind != std::end(kKinds) && kind->descr != parts[1].str()) ++kind;
  check(kind != std::end(kKinds), "npy", "'{}': elements of '{}', which norma does not read", name, parts[1].str());
  const std::string extents = parts[3];
  Shape shape;
  uint64_t size = kind->width;
  for (const char *at = extents.data(), *end = at + extents.size(); at != end;) {
    int64_t extent = 0;
    const auto [stop, error] = std::from_chars(at, end, extent);
    check(error == std::errc() && shape.rank() < Shape::kMaxRank && !__builtin_mul_overflow(size, extent, &size), "npy",
          "'{}': a shape of ({})", name, extents);
    shape.push_back(extent);
    at = std::find_if(stop, end, [](char c) { return c != ',' && c != ' '; });
  }
  const std::span<const std::byte> data = bytes.subspan(start + length);
  check(size == data.size(), "npy", "'{}': ({}) of '{}' are {} bytes, the file has {} behind its header", name, extents,
        kind->descr, size, data.size());
  if (parts[2] == "False") return kind->read(data, shape, kind->dtype);
  Shape turned, axes;
  for (int i = shape.rank() - 1; i >= 0; --i) turned.push_back(shape[i]), axes.push_back(i);
  return view::permute(kind->read(data, turned, kind->dtype), axes).contiguous();
}

Tensor load_npy(const std::string& path) { return parse_npy(read_file(path), path); }

void save_npy(const std::string& path, const Tensor& x) { write_file_atomic(path, npy(x)); }

NamedTensors load_npz(const std::string& path) {
  std::error_code none;
  check(std::filesystem::is_regular_file(path, none), "npz", "'{}' is not a regular file", path);
  uint64_t room = kMostInflation * std::filesystem::file_size(path, none);  // of all arrays together
  const Archive archive(path, ZIP_RDONLY | ZIP_CHECKCONS);
  NamedTensors arrays;
  std::set<std::string> names;
  for (zip_uint64_t i = 0; i < static_cast<zip_uint64_t>(zip_get_num_entries(archive.zip, 0)); ++i) {
    zip_stat_t info;
    archive.want(zip_stat_index(archive.zip, i, 0, &info) == 0);
    const std::string name = info.name, place = path + "/" + name;
    check(name.ends_with(".npy") && names.insert(name).second, "npz", "'{}' is no .npy file, or there twice", place);
    check(info.size <= room, "npz", "'{}': {} bytes, more than the file can hold", place, info.size);
    room -= info.size;
    const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> entry(zip_fopen_index(archive.zip, i, 0), zip_fclose);
    archive.want(entry != nullptr);
    std::vector<std::byte> content(info.size);
    check(zip_fread(entry.get(), content.data(), info.size) == static_cast<zip_int64_t>(info.size) &&
              zip_fread(entry.get(), &info, 1) == 0,  // reads its checksum
          "npz", "'{}': {}", place, zip_file_strerror(entry.get()));
    arrays.emplace_back(name.substr(0, name.size() - 4), parse_npy(content, place));
  }
  return arrays;
}

void save_npz(const std::string& path, const NamedTensors& arrays) {
  Archive archive(path, ZIP_CREATE | ZIP_TRUNCATE);
  std::vector<std::string> contents;  // to which libzip keeps pointers: each is too long to lie in its string
  for (const auto& [name, x] : arrays) {
    const std::string& bytes = contents.emplace_back(npy(x));
    zip_source_t* source = zip_source_buffer(archive.zip, bytes.data(), bytes.size(), 0);
    const zip_int64_t i = zip_file_add(archive.zip, (name + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
    archive.want(i >= 0);
    zip_set_file_compression(archive.zip, static_cast<zip_uint64_t>(i), ZIP_CM_STORE, 0);
    zip_file_set_mtime(archive.zip, static_cast<zip_uint64_t>(i), 315532800, 0);  // 1980: the same bytes at any time
  }
  archive.want(zip_close(archive.zip) == 0);  // writes a file of its own, which then takes the old one's place
  archive.zip = nullptr;
}

}  // namespace norma::datasets
