// NumPy's files: those that NumPy wrote (tests/golden/make_numpy.py), its bytes written anew, and damaged ones.
#include "norma/datasets/numpy.h"

#include <fstream>

#include "tests/fuzz.h"

namespace norma::datasets {
namespace {

using namespace norma::test;

const std::string kData = NORMA_GOLDEN_DIR "/";

void check_array(const std::string& name, const Tensor& x) {
  SCOPED_TRACE(name);
  const std::string dtype = name.substr(name.find('/') + 1, name.find('_') - name.find('/') - 1);
  const std::map<std::string, DType> dtypes = {{"float32", f32}, {"float64", f64}, {"uint8", u8}, {"bool", boolean}};
  EXPECT_EQ(x.dtype(), dtypes.contains(dtype) ? dtypes.at(dtype) : i64);
  const std::vector<Shape> shapes = {{}, {3}, {2, 3}, {4, 1, 2}, {0, 5}, {2, 1, 2, 1, 2, 1, 1, 2}};
  const int k = name.back() - '0';
  ASSERT_EQ(x.shape(), shapes.at(static_cast<size_t>(k)));
  std::vector<double> want;
  for (int i = 0; i < x.numel(); ++i) {
    const int value = i + (dtype[0] == 'u' ? k : k - 2);
    want.push_back(dtype == "bool" ? std::abs(value % 2) : value);
  }
  EXPECT_EQ(x.to_vector<double>(), want);
}

TEST(Numpy, ReadsWhatNumpyWrote) {
  for (const char* file : {"numpy.npz", "numpy_deflated.npz"}) {
    const NamedTensors arrays = load_npz(kData + file);
    EXPECT_EQ(arrays.size(), 70u);
    for (const auto& [name, x] : arrays) check_array(name, x);
  }
  check_array("float32_2", load_npy(kData + "numpy.npy"));
}

TEST(Numpy, WritesTheSameBytes) {
  const TemporaryFolder folder;
  const Tensor x = load_npy(kData + "numpy.npy");
  save_npy(folder / "a.npy", x);
  EXPECT_EQ(read_file(folder / "a.npy"), read_file(kData + "numpy.npy"));
  // A part of a larger tensor, and one in another order.
  const Tensor wide = concat({x, x + 100, x - 50}, 0);
  save_npy(folder / "a.npy", slice(wide, 0, 2, 4));
  EXPECT_TRUE(same_bits(load_npy(folder / "a.npy"), x + 100));
  save_npy(folder / "a.npy", transpose(x, 0, 1));
  EXPECT_TRUE(same_bits(load_npy(folder / "a.npy"), transpose(x, 0, 1).contiguous()));
}

TEST(Numpy, ArchivesGoBothWays) {
  const TemporaryFolder folder;
  const std::string file = folder / "all.npz";
  const NamedTensors arrays = load_npz(kData + "numpy.npz");
  save_npz(file, arrays);
  const Bytes first = read_file(file);
  save_npz(file, arrays);  // over the old one, with the same bytes
  EXPECT_EQ(read_file(file), first);
  const NamedTensors back = load_npz(file);
  ASSERT_EQ(back.size(), arrays.size());
  for (size_t i = 0; i < back.size(); ++i) {
    EXPECT_EQ(back[i].first, arrays[i].first);
    EXPECT_TRUE(same_bits(back[i].second, arrays[i].second)) << back[i].first;
  }
  save_npz(file, {});
  EXPECT_TRUE(!std::filesystem::exists(file) || load_npz(file).empty());
}

// A .npy file of this header, and so many bytes of data.
Bytes npy(const std::string& header, size_t data, char version = 1) {
  std::string text = "\x93NUMPY";
  text += version;
  text += '\0';
  text += static_cast<char>(header.size() & 0xFF);
  text += static_cast<char>(header.size() >> 8);
  if (version > 1) text.append(2, '\0');
  text += header + std::string(data, '\1');
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST(Numpy, RefusesWhatIsDamaged) {
  const TemporaryFolder folder;
  const auto expect = [&](const Bytes& bytes, const std::string& part) {
    folder.write("x.npy", bytes);
    expect_error([&] { load_npy(folder / "x.npy"); }, part);
    expect_error([&] { load_npy(folder / "x.npy"); }, "[npy] '" + folder / "x.npy'");
  };
  const auto header = [](const std::string& descr, const std::string& shape) {
    return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape + "), }\n";
  };
  for (char version : {1, 2, 3}) {
    folder.write("x.npy", npy(header("|u1", "2, 3"), 6, version));
    EXPECT_EQ(load_npy(folder / "x.npy").shape(), (Shape{2, 3}));
  }
  folder.write("x.npy", npy(header("|b1", "2,"), 2));
  EXPECT_EQ(load_npy(folder / "x.npy").to_vector<int64_t>(), (std::vector<int64_t>{1, 1}));
  expect({}, "does not begin as a .npy file");
  expect(npy(header("|u1", "2"), 2, 4), "does not begin");
  expect(npy(header("|u1", "2, 3"), 5), "(2, 3) of '|u1' are 6 bytes, the file has 5 behind its header");
  expect(npy(header("|u1", "2, 3"), 7), "the file has 7");
  expect(npy(header(">f4", "2"), 8), "elements of '>f4', which norma does not read");
  expect(npy(header("|O", "2"), 8), "elements of '|O'");
  expect(npy(header("<f4", "4294967296, 4294967296"), 8), "a shape of (4294967296, 4294967296)");
  expect(npy(header("<f4", "99999999999999999999"), 8), "a shape of");
  expect(npy(header("<f4", "1, 1, 1, 1, 1, 1, 1, 1, 1"), 4), "a shape of");
  expect(npy(header("<f4", ", "), 4), "a shape of");
  expect(npy("{'shape': (2,)}\n", 8), "its header does not say");
  expect(npy(std::string(5000, ' '), 8), "a header of 5000 bytes");
  Bytes cut = npy(header("|u1", "2, 3"), 6);
  cut.resize(40);
  expect(cut, "a header of");
  expect_error([&] { load_npy(folder / "none.npy"); }, "none.npy");
  expect_error([&] { load_npz(folder / "none.npz"); }, "is not a regular file");
  expect_error([&] { load_npz(folder / "x.npy"); }, "cannot be opened as a zip file");
  expect_error([&] { save_npz(folder / "no/such/folder.npz", {{"a", zeros(2)}}); }, "no/such/folder.npz");
}

TEST(Numpy, RefusesArchivesOfOtherThings) {
  const TemporaryFolder folder;
  const std::string file = folder / "x.npz";
  const Bytes whole = read_file(kData + "numpy.npz");
  const std::string_view text(reinterpret_cast<const char*>(whole.data()), whole.size());
  Bytes bytes = whole;
  for (size_t at = text.find("float32_0.npy"); at != std::string_view::npos; at = text.find("float32_0.npy", at + 1))
    bytes[at + 9] = std::byte{'_'};  // both of its names
  folder.write("x.npz", bytes);
  expect_error([&] { load_npz(file); }, "float32_0_npy' is no .npy file, or there twice");
  bytes = whole;
  const size_t data = text.find("float32_1.npy") + 13 + 128;  // within its elements
  bytes[data + 4] ^= std::byte{1};
  folder.write("x.npz", bytes);
  expect_error([&] { load_npz(file); }, "float32_1.npy'");  // its checksum
}

TEST(Fuzz, Numpy) {
  constexpr int mutations = 3000;  // each is a file on the disk
  const TemporaryFolder folder;
  const auto load = [&](const std::string& name, const Bytes& file, auto f) {
    std::ofstream(folder / name, std::ios::binary).write(reinterpret_cast<const char*>(file.data()), std::ssize(file));
    f(folder / name);
  };
  const auto as_it_is = [](const Bytes& file) { return file; };
  fuzz(
      {read_file(kData + "numpy.npy"), npy("{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3), }\n", 12)},
      as_it_is, 8, [&](const Bytes& file) { load("x.npy", file, load_npy); }, mutations);
  save_npz(folder / "small.npz", {{"a", arange(6, f64)}, {"b", zeros({2, 0}, u8)}});
  const Bytes small = read_file(folder / "small.npz");
  fuzz(
      {small}, as_it_is, 1032, [&](const Bytes& file) { load("x.npz", file, load_npz); }, mutations);
}

}  // namespace
}  // namespace norma::datasets
