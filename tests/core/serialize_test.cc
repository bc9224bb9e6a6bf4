// safetensors: what is saved comes back, and every damaged file is an error that names it.
#include "norma/core/serialize.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "norma/core/file.h"
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

std::string temporary(const std::string& name) {
  return fmt::format("{}norma_serialize_{}_{}", testing::TempDir(), getpid(), name);
}

// A file of this header and so many bytes of data, each 1.
std::vector<std::byte> file_of(const std::string& header, size_t data, uint64_t length = 0) {
  std::vector<std::byte> bytes(8 + header.size() + data, std::byte{1});
  if (length == 0) length = header.size();
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>(length >> 8 * i);
  for (size_t i = 0; i < header.size(); ++i) bytes[8 + i] = static_cast<std::byte>(header[i]);
  return bytes;
}

// What f throws.
std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void expect_damage(const std::vector<std::byte>& bytes, const std::string& part) {
  const std::string path = temporary("damaged");
  const std::span<const std::byte> whole = bytes;
  write_file_atomic(path, std::span(&whole, 1));
  const std::string error = error_of([&] { load_safetensors(path); });
  EXPECT_EQ(error_of([&] { map_safetensors(path); }), error);
  EXPECT_TRUE(error.starts_with("[safetensors] '" + path + "'")) << error;
  std::filesystem::remove(path);
  expect_error([&] { parse_safetensors(bytes, "broken.safetensors"); }, part);
  expect_error([&] { parse_safetensors(bytes, "broken.safetensors"); }, "[safetensors] 'broken.safetensors'");
}
void expect_damage(const std::string& header, size_t data, const std::string& part) {
  expect_damage(file_of(header, data), part);
}

TEST(Serialize, EveryDtypeComesBack) {
  const NamedTensors saved = {{"f32", tensor({0.1f, -2.5f, 1e30f}, {3, 1})},
                              {"bool", tensor({true, false, true})},
                              {"f64", tensor({1. / 3, double{INFINITY}})},
                              {"u8", tensor<uint8_t>({0, 255, 7})},
                              {"i64", tensor({INT64_MIN, int64_t{5}, INT64_MAX}, {1, 3})},
                              {"scalar", scalar(4.5)},
                              {"empty", zeros({0, 3}, i64)},
                              {"a name/with \"quotes\", \\ and \u00e9", zeros({1})}};
  const std::string path = temporary("dtypes");
  save_safetensors(path, saved);
  const TensorFile file = load_safetensors(path);
  ASSERT_EQ(file.tensors.size(), saved.size());
  for (const auto& [name, x] : saved) {
    const Tensor* loaded = file.find(name);
    ASSERT_NE(loaded, nullptr) << name;
    EXPECT_TRUE(same_bits(*loaded, x)) << name;
  }
  EXPECT_EQ(file.find("other"), nullptr);
  EXPECT_TRUE(file.metadata.empty());
  std::filesystem::remove(path);
}

TEST(Serialize, MappedTensorsAreTheFilesOwn) {
  const std::string path = temporary("mapped");
  const Tensor big = randn({1 << 16});
  const NamedTensors saved = {{"big", big},
                              {"odd", tensor<uint8_t>({1, 2, 3})},
                              {"unaligned", tensor({0.5, 2.})},
                              {"bool", tensor({true, false})},
                              {"none", zeros({0, 2}, i64)}};
  save_safetensors(path, saved, {{"k", "v"}});
  const auto is_mapped = [&] {
    std::ifstream maps("/proc/self/maps");
    return std::string(std::istreambuf_iterator<char>(maps), {}).find(path) != std::string::npos;
  };
  const int64_t in_use = cpu_memory().stats().bytes_in_use;
  {
    std::optional<TensorFile> file = map_safetensors(path);
    EXPECT_LT(cpu_memory().stats().bytes_in_use, in_use + big.bytes() / 16) << "nothing large is copied";
    EXPECT_EQ(file->metadata, load_safetensors(path).metadata);
    ASSERT_EQ(file->tensors.size(), saved.size());
    for (size_t i = 0; i < saved.size(); ++i) {
      EXPECT_EQ(file->tensors[i].first, saved[i].first);
      EXPECT_TRUE(same_bits(file->tensors[i].second, saved[i].second)) << saved[i].first;
    }
    const Tensor written = *file->find("big"), odd = *file->find("odd");
    EXPECT_NE(written.storage(), odd.storage()) << "what pins the one would forbid to write into the other";
    file.reset();
    written.fill(7);
    EXPECT_TRUE(same_bits(odd, saved[1].second));
    const Tensor again = *map_safetensors(path).find("big");
    EXPECT_TRUE(same_bits(again, big)) << "what is written is not in the file, nor in another mapping";
    save_safetensors(path, {{"big", zeros({2})}});
    EXPECT_EQ(map_safetensors(path).find("big")->numel(), 2);
    EXPECT_TRUE(same_bits(again, big)) << "the file's former content stays";
    std::filesystem::remove(path);
    EXPECT_TRUE(same_bits(again, big));
    EXPECT_EQ(written.to_vector<double>()[0], 7);
    EXPECT_TRUE(is_mapped());
  }
  EXPECT_FALSE(is_mapped()) << "with the last tensor the mapping goes";
  EXPECT_EQ(cpu_memory().stats().bytes_in_use, in_use);
}

TEST(Serialize, KeepsMetadata) {
  const std::map<std::string, std::string> metadata = {{"epoch", "3"}, {"note", "line\nbreak, \"quotes\""}, {"", ""}};
  const std::string path = temporary("metadata");
  save_safetensors(path, {{"x", ones({2})}}, metadata);
  EXPECT_EQ(load_safetensors(path).metadata, metadata);
  save_safetensors(path, {}, metadata);  // over the old file
  EXPECT_EQ(load_safetensors(path).metadata, metadata);
  EXPECT_TRUE(load_safetensors(path).tensors.empty());
  std::filesystem::remove(path);
}

TEST(Serialize, WritesViewsContiguous) {
  const Tensor x = random({4, 6});
  const NamedTensors views = {{"t", view::permute(x, {1, 0})},
                              {"s", view::slice(x, 1, 1, 6, 2)},
                              {"row", view::slice(x, 0, 2, 3)},
                              {"e", view::expand(view::slice(x, 0, 0, 1), {3, 6})}};
  const std::string path = temporary("views");
  save_safetensors(path, views);
  const TensorFile file = load_safetensors(path);
  for (const auto& [name, v] : views) EXPECT_TRUE(same_bits(*file.find(name), v)) << name;
  std::filesystem::remove(path);
}

TEST(Serialize, HasTheFormatOfTheOthers) {
  const std::string path = temporary("format");
  save_safetensors(path, {{"b", ones({2}, u8)}, {"a", zeros({1, 2})}}, {{"k", "v"}});
  const std::vector<std::byte> bytes = read_file(path);
  const std::string header = R"({"__metadata__":{"k":"v"},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                             R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[2,10]}})";
  EXPECT_EQ(std::to_integer<size_t>(bytes[0]), (header.size() + 7) / 8 * 8);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()) + 8, header.size()), header);
  EXPECT_EQ(bytes.size(), 8 + (header.size() + 7) / 8 * 8 + 10);
  std::filesystem::remove(path);
}

TEST(Serialize, ReadsTensorsInTheOrderOfTheirData) {
  const TensorFile file = parse_safetensors(
      file_of(
          R"({"z":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
          3),
      "good");
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].first, "a");
  EXPECT_EQ(file.tensors[1].first, "z");
}

TEST(Serialize, RefusesToWriteWhatNobodyCouldRead) {
  const std::string path = temporary("unwritten");
  expect_error(
      [&] {
        save_safetensors(path, {{"x", ones({1})}, {"x", ones({2})}});
      },
      "[safetensors] two tensors are named 'x'");
  expect_error(
      [&] {
        save_safetensors(path, {{"__metadata__", ones({1})}});
      },
      "[safetensors] '__metadata__' is no name for a tensor");
  expect_error([&] { save_safetensors(path, {{"\xff", ones({1})}}); }, "is not UTF-8");
  expect_error([&] { save_safetensors(path, {{"x", ones({1})}}, {{"k", "\xc3"}}); }, "is not UTF-8");
  expect_error([&] { save_safetensors(path, {{"x", Tensor()}}); }, "an undefined tensor was used");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Serialize, TruncatedFiles) {
  const std::string header = R"({"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})";
  const std::vector<std::byte> whole = file_of(header, 16);
  EXPECT_EQ(parse_safetensors(whole, "whole").tensors.size(), 1u);
  for (size_t size = 0; size < whole.size(); ++size)  // wherever it was cut
    expect_damage({whole.begin(), whole.begin() + static_cast<int64_t>(size)}, "[safetensors]");
  expect_damage({whole.begin(), whole.begin() + 5}, "has 5 bytes: too short for a header");
  expect_damage({whole.begin(), whole.end() - 1}, "tensor 'x' ends at 16, the data have 15 bytes (truncated?)");
  std::vector<std::byte> longer = whole;
  longer.push_back(std::byte{0});
  expect_damage(longer, "17 bytes of data, the header accounts for 16");
}

TEST(Serialize, HeadersLargerThanTheFile) {
  expect_damage(file_of("{}", 0, uint64_t{1} << 60),
                "a header of 1152921504606846976 bytes at offset 8 in a file of 10 bytes");
  expect_damage(file_of("{}", 0, UINT64_MAX), "a header of 18446744073709551615 bytes");
  expect_damage(file_of("{}", 0, 3), "a header of 3 bytes at offset 8 in a file of 10 bytes");
}

TEST(Serialize, HeadersThatAreNotAsTheyShould) {
  expect_damage("{\"x\":", 0, "the header is not JSON");
  expect_damage("{} {}", 0, "the header is not JSON");
  expect_damage(std::string("{\"\xff\":{}}"), 0, "the header is not JSON");
  expect_damage(std::string(50'000, '['), 0, "the header is not JSON");
  expect_damage("[]", 0, "the header is not a JSON object");
  expect_damage(R"({"x":3})", 0, "tensor 'x' wants exactly dtype, shape and two data_offsets");
  expect_damage(R"({"x":{"dtype":"U8","shape":[1]}})", 1, "tensor 'x' wants exactly");
  expect_damage(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}})", 1, "tensor 'x' wants exactly");
  expect_damage(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, "tensor 'x' wants exactly");
  expect_damage(R"({"x":{"dtype":8,"shape":[1],"data_offsets":[0,1]}})", 1, "tensor 'x' wants exactly");
  expect_damage(R"({"__metadata__":[]})", 0, "__metadata__ is not an object");
  expect_damage(R"({"__metadata__":{"k":1}})", 0, "metadata 'k' is not a string");
  expect_damage(
      R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2,
      "the header names a tensor twice");
  expect_damage(R"({"__metadata__":{},"__metadata__":{}})", 0, "the header names a tensor twice");
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{}]}})", name, dtype, shape, offsets);
}
std::string header_of(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{" + entry("x", dtype, shape, offsets) + "}";
}

TEST(Serialize, OffsetsThatDoNotFit) {
  expect_damage("{" + entry("a", "U8", "4", "0,4") + "," + entry("b", "U8", "4", "2,6") + "}", 6,
                "tensor 'b' begins at 2, but the data before it end at 4");
  expect_damage("{" + entry("a", "U8", "2", "0,2") + "," + entry("b", "U8", "2", "3,5") + "}", 5,
                "tensor 'b' begins at 3, but the data before it end at 2");
  expect_damage(header_of("U8", "2", "1,3"), 3, "tensor 'x' begins at 1, but the data before it end at 0");
  expect_damage(header_of("U8", "8", "0,8"), 7, "tensor 'x' ends at 8, the data have 7 bytes");
  expect_damage(header_of("F32", "2", "0,4"), 4, "tensor 'x' of shape [2] (f32) wants 8 bytes, its offsets are [0, 4)");
  expect_damage(header_of("U8", "2", "2,0"), 2, "its offsets are [2, 0)");
  expect_damage(header_of("U8", "1", "-1,0"), 1, "tensor 'x': '-1' is not a whole number");
  expect_damage(header_of("U8", "1", "0,1.0"), 1, "tensor 'x': '1.0' is not a whole number");
  expect_damage(header_of("U8", "1099511627776", "0,1099511627776"), 8, "ends at 1099511627776, the data have 8 bytes");
}

TEST(Serialize, ShapesThatDoNotFit) {
  expect_damage(header_of("U8", "-1", "0,1"), 1, "tensor 'x': '-1' is not a whole number");
  expect_damage(header_of("U8", "1.5", "0,1"), 1, "tensor 'x': '1.5' is not a whole number");
  expect_damage(header_of("U8", "\"1\"", "0,1"), 1, "is not a whole number");
  expect_damage(header_of("U8", "1,1,1,1,1,1,1,1,1", "0,1"), 1, "tensor 'x' has rank 9, at most 8 is read");
  expect_damage(header_of("U8", "18446744073709551615", "0,1"), 1, "the shape of tensor 'x' is too large");
  expect_damage(header_of("F64", "4294967296,4294967296", "0,8"), 8, "the shape of tensor 'x' is too large");
  expect_damage(header_of("U8", "0,4611686018427387903,4611686018427387903", "0,0"), 0,
                "the shape of tensor 'x' is too large");
}

TEST(Serialize, TypesThatAreNotRead) {
  expect_damage(header_of("BF16", "1", "0,2"), 2,
                "tensor 'x' has dtype 'BF16'; norma reads F32, F64, I64, U8 and BOOL");
  expect_damage(header_of("f32", "1", "0,4"), 4, "tensor 'x' has dtype 'f32'");
  std::vector<std::byte> bytes = file_of(header_of("BOOL", "3", "0,3"), 3);
  EXPECT_TRUE(parse_safetensors(bytes, "good").tensors[0].second.to_vector<bool>()[2]);
  bytes.back() = std::byte{2};
  expect_damage(bytes, "tensor 'x' is BOOL but holds other bytes than 0 and 1");
}

TEST(Serialize, FilesOnDiskAreNamed) {
  expect_error([] { load_safetensors("/nonexistent/x.safetensors"); },
               "[file] cannot open '/nonexistent/x.safetensors': No such file or directory");
  expect_error([] { map_safetensors("/nonexistent/x.safetensors"); },
               "[file] cannot open '/nonexistent/x.safetensors': No such file or directory");
  const std::string path = temporary("garbage");
  write_file_atomic(path, "garbage, not tensors");
  expect_error([&] { load_safetensors(path); }, "[safetensors] '" + path + "': a header of ");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace norma
