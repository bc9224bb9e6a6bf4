#include "norma/core/serialize.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "norma/core/file.h"

namespace norma {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kDTypeNames[] = {"F32", "F64", "I64", "U8", "BOOL"};  // in the order of DType
constexpr size_t kMaxHeader = 100'000'000;                                       // the format's own limit

struct Header {
  std::string name;
  DType dtype;
  uint64_t begin, end;
  Shape shape{};
};

uint64_t whole_number(const Json& value, const std::string& file, const std::string& name) {
  check(value.is_number_unsigned(), "safetensors", "'{}': tensor '{}': '{}' is not a whole number", file, name,
        value.dump(-1, ' ', false, Json::error_handler_t::replace));
  return value.get<uint64_t>();
}

Header parse_entry(const std::string& name, const Json& entry, const std::string& file) {
  check(entry.is_object() && entry.size() == 3 && entry.contains("dtype") && entry.contains("shape") &&
            entry.contains("data_offsets") && entry["dtype"].is_string() && entry["shape"].is_array() &&
            entry["data_offsets"].is_array() && entry["data_offsets"].size() == 2,
        "safetensors", "'{}': tensor '{}' wants exactly dtype, shape and two data_offsets", file, name);
  const auto text = entry["dtype"].get<std::string>();
  const auto dtype = std::ranges::find(kDTypeNames, text) - kDTypeNames;
  check(dtype < std::ssize(kDTypeNames), "safetensors",
        "'{}': tensor '{}' has dtype '{}'; norma reads F32, F64, I64, U8 and BOOL", file, name, text);
  const auto offset = [&](size_t i) { return whole_number(entry["data_offsets"][i], file, name); };
  Header header{name, static_cast<DType>(dtype), offset(0), offset(1)};
  check(entry["shape"].size() <= Shape::kMaxRank, "safetensors", "'{}': tensor '{}' has rank {}, at most {} is read",
        file, name, entry["shape"].size(), int{Shape::kMaxRank});
  uint64_t bytes = size_of(header.dtype);
  for (const Json& extent : entry["shape"]) {
    const uint64_t n = whole_number(extent, file, name);
    check(!__builtin_mul_overflow(bytes, std::max<uint64_t>(n, 1), &bytes) && bytes < uint64_t{1} << 46, "safetensors",
          "'{}': the shape of tensor '{}' is too large", file, name);
    header.shape.push_back(static_cast<int64_t>(n));
  }
  if (header.shape.numel() == 0) bytes = 0;
  check(header.begin <= header.end && header.end - header.begin == bytes, "safetensors",
        "'{}': tensor '{}' of shape {} ({}) wants {} bytes, its offsets are [{}, {})", file, name, header.shape,
        header.dtype, bytes, header.begin, header.end);
  return header;
}

Json parse_json(std::span<const std::byte> bytes, const std::string& file) {
  size_t read = 0, kept = 0;  // keys of the header and of its entries: of two alike, one is kept
  const auto count = [&](int depth, Json::parse_event_t event, const Json&) {
    read += event == Json::parse_event_t::key && depth <= 2;
    return true;
  };
  const char* text = reinterpret_cast<const char*>(bytes.data());
  Json json;
  try {
    json = Json::parse(text, text + bytes.size(), count);
  } catch (const nlohmann::json::exception& error) {
    fail("safetensors", "'{}': the header is not JSON: {}", file, error.what());
  }
  check(json.is_object(), "safetensors", "'{}': the header is not a JSON object", file);
  for (const Json& entry : json) kept += 1 + (entry.is_object() ? entry.size() : 0);
  check(read == kept, "safetensors", "'{}': the header names a tensor twice", file);
  return json;
}

}  // namespace

const Tensor* TensorFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &NamedTensors::value_type::first);
  return found == tensors.end() ? nullptr : &found->second;
}

TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name, const Tensor& owner) {
  check(bytes.size() >= 8, "safetensors", "'{}' has {} bytes: too short for a header", name, bytes.size());
  uint64_t length;  // little endian, as all numbers of the file
  std::memcpy(&length, bytes.data(), sizeof length);
  check(length <= bytes.size() - 8 && length <= kMaxHeader, "safetensors",
        "'{}': a header of {} bytes at offset 8 in a file of {} bytes", name, length, bytes.size());
  const Json json = parse_json(bytes.subspan(8, length), name);
  const std::span<const std::byte> data = bytes.subspan(8 + length);

  TensorFile result;
  std::vector<Header> headers;
  for (const auto& [key, entry] : json.items()) {
    if (key != "__metadata__") {
      headers.push_back(parse_entry(key, entry, name));
      continue;
    }
    check(entry.is_object(), "safetensors", "'{}': __metadata__ is not an object", name);
    for (const auto& [meta, value] : entry.items()) {
      check(value.is_string(), "safetensors", "'{}': metadata '{}' is not a string", name, meta);
      result.metadata[meta] = value.get<std::string>();
    }
  }
  std::ranges::stable_sort(headers, std::less(), [](const Header& h) { return std::pair(h.begin, h.end); });
  uint64_t place = 0;
  for (const Header& header : headers) {
    check(header.begin == place, "safetensors", "'{}': tensor '{}' begins at {}, but the data before it end at {}",
          name, header.name, header.begin, place);
    check(header.end <= data.size(), "safetensors", "'{}': tensor '{}' ends at {}, the data have {} bytes (truncated?)",
          name, header.name, header.end, data.size());
    place = header.end;
    const std::span<const std::byte> source = data.subspan(header.begin, header.end - header.begin);
    if (header.dtype == boolean)
      check(std::all_of(source.begin(), source.end(), [](std::byte b) { return b <= std::byte{1}; }), "safetensors",
            "'{}': tensor '{}' is BOOL but holds other bytes than 0 and 1", name, header.name);
    auto* start = const_cast<std::byte*>(source.data());
    const bool shared = owner.defined() && reinterpret_cast<uintptr_t>(start) % size_of(header.dtype) == 0;
    const Tensor x =
        shared ? from_blob(start, header.shape, header.dtype, [owner](void*) {}) : Tensor(header.shape, header.dtype);
    if (!shared) std::ranges::copy(source, x.memory().begin());
    result.tensors.emplace_back(header.name, x);
  }
  check(place == data.size(), "safetensors", "'{}': {} bytes of data, the header accounts for {}", name, data.size(),
        place);
  return result;
}

TensorFile load_safetensors(const std::string& path) { return parse_safetensors(read_file(path), path); }

TensorFile map_safetensors(const std::string& path) {
  const Tensor file = map_file(path);
  return parse_safetensors(file.memory(), path, file);
}

void save_safetensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::vector<Tensor> kept;  // what the parts below point into
  std::vector<std::span<const std::byte>> parts(2);
  uint64_t place = 0;
  for (const auto& [name, x] : tensors) {
    check(name != "__metadata__", "safetensors", "'{}' is no name for a tensor", name);
    check(!header.contains(name), "safetensors", "two tensors are named '{}'", name);
    const auto bytes = kept.emplace_back(x.to(cpu_device).contiguous()).memory();
    header[name] = {{"dtype", kDTypeNames[static_cast<size_t>(x.dtype())]},
                    {"shape", std::vector<int64_t>(x.shape().begin(), x.shape().end())},
                    {"data_offsets", {place, place + bytes.size()}}};
    parts.push_back(bytes);
    place += bytes.size();
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& error) {
    fail("safetensors", "'{}': a name or some metadata is not UTF-8: {}", path, error.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data begin at a multiple of eight
  const uint64_t length = text.size();
  parts[0] = std::as_bytes(std::span(&length, 1));
  parts[1] = std::as_bytes(std::span(text));
  write_file_atomic(path, parts);
}

}  // namespace norma
