// Whole files: read and written atomically; whatever goes wrong, the old file stays and nothing is left beside it.
#include "norma/core/file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;
namespace fs = std::filesystem;

struct File : testing::Test {
  std::string folder = testing::TempDir() + "norma_file_" + std::to_string(::getpid());
  std::string path = folder + "/target";
  void SetUp() override { fs::create_directory(folder); }
  void TearDown() override {
    fs::permissions(folder, fs::perms::owner_all);
    fs::remove_all(folder);
  }

  std::string content() const {
    const std::vector<std::byte> bytes = read_file(path);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
  }
  mode_t mode() const {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_mode & 07777;
  }
};

TEST_F(File, ComesBackAndIsReplaced) {
  write_file_atomic(path, "first");
  EXPECT_EQ(content(), "first");
  write_file_atomic(path, "the second, which is longer");
  EXPECT_EQ(content(), "the second, which is longer");
  write_file_atomic(path, "");
  EXPECT_EQ(content(), "");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(File, WritesItsPartsInOrder) {
  const std::string a = "ab", b = "", c = "cde";
  const std::vector<std::span<const std::byte>> parts = {std::as_bytes(std::span(a)), std::as_bytes(std::span(b)),
                                                         std::as_bytes(std::span(c))};
  write_file_atomic(path, parts);
  EXPECT_EQ(content(), "abcde");
}

TEST_F(File, KeepsTheModeOfTheOldFileElseFollowsTheMask) {
  const mode_t before = ::umask(027);
  write_file_atomic(path, "x");
  ::umask(before);
  EXPECT_EQ(mode(), 0640u);
  ::chmod(path.c_str(), 0604);
  write_file_atomic(path, "y");
  EXPECT_EQ(mode(), 0604u);
}

TEST_F(File, ReadersNeverSeeAHalf) {
  const std::string a(1 << 16, 'a'), b(1 << 16, 'b');
  write_file_atomic(path, a);
  std::thread writer([&] {
    for (int i = 0; i < 20; ++i) write_file_atomic(path, i % 2 ? a : b);
  });
  for (int i = 0; i < 200; ++i) {
    const std::string seen = content();
    EXPECT_TRUE(seen == a || seen == b);
  }
  writer.join();
}

TEST_F(File, SeveralWritersDoNotMix) {
  std::vector<std::thread> writers;
  for (char c : {'a', 'b', 'c', 'd'})
    writers.emplace_back([&, c] {
      for (int i = 0; i < 5; ++i) write_file_atomic(path, std::string(10'000, c));
    });
  for (std::thread& writer : writers) writer.join();
  const std::string seen = content();
  EXPECT_EQ(seen, std::string(10'000, seen[0]));
  EXPECT_EQ(entries(), 1u);
}

// As on a full disk: a file may have 4096 bytes and no more.
TEST_F(File, AFailedWriteLeavesTheOldFile) {
  write_file_atomic(path, "old");
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    write_file_atomic(path, std::string(10'000, 'x'));
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, "[file] cannot write '" + path + "': File too large");
  EXPECT_EQ(content(), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(File, UnwritableTargetsAreNamed) {
  expect_error([&] { write_file_atomic(folder + "/none/target", "x"); }, "No such file or directory");
  fs::create_directory(folder + "/directory");
  expect_error([&] { write_file_atomic(folder + "/directory", "x"); }, "directory': Is a directory");
  EXPECT_EQ(entries(), 1u);
  if (::geteuid() == 0) return;  // who may write anywhere
  write_file_atomic(path, "old");
  fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
  expect_error([&] { write_file_atomic(path, "x"); }, "Permission denied");
  EXPECT_EQ(content(), "old");
}

TEST_F(File, IsMapped) {
  write_file_atomic(path, "");
  EXPECT_EQ(map_file(path).shape(), (Shape{0}));
  write_file_atomic(path, "12345");
  const Tensor x = map_file(path, 5);
  EXPECT_EQ(x.to_vector<int64_t>(), (std::vector<int64_t>{'1', '2', '3', '4', '5'}));
  x.fill('x');
  EXPECT_EQ(content(), "12345");
  write_file_atomic(path, "");
  EXPECT_EQ(x.at({4}), 'x');
  expect_error([&] { map_file(folder + "/none"); }, "[file] cannot open '" + folder + "/none': No such file");
  expect_error([&] { map_file(folder); }, "[file] '" + folder + "' is not a regular file");
  write_file_atomic(path, "12345");
  expect_error([&] { map_file(path, 4); }, "[file] '" + path + "' has 5 bytes, more than the 4 allowed");
}

TEST_F(File, UnreadableFilesAreNamed) {
  expect_error([&] { read_file(path); }, "[file] cannot open '" + path + "': No such file or directory");
  expect_error([&] { read_file(folder); }, "[file] '" + folder + "' is not a regular file");
  write_file_atomic(path, "12345");
  EXPECT_EQ(read_file(path, 5).size(), 5u);
  expect_error([&] { read_file(path, 4); }, "[file] '" + path + "' has 5 bytes, more than the 4 allowed");
  ASSERT_EQ(::mkfifo((folder + "/pipe").c_str(), 0600), 0);
  expect_error([&] { read_file(folder + "/pipe"); }, "is not a regular file");  // and does not wait for a writer
}

}  // namespace
}  // namespace norma
