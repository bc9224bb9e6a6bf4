#include "norma/core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace norma {
namespace {

// A file descriptor that closes itself, and removes its temporary file unless that was renamed.
struct Descriptor {
  int fd = -1;
  std::string temporary;
  ~Descriptor() {
    if (fd < 0) return;
    ::close(fd);
    if (!temporary.empty()) ::unlink(temporary.c_str());
  }
};

constexpr int kToRead = O_RDONLY | O_CLOEXEC | O_NONBLOCK;

// The bytes of a file that was opened. Throws where it was not, or is none to be read.
size_t size_of_file(int fd, const std::string& path, size_t max_bytes) {
  check(fd >= 0, "file", "cannot open '{}': {}", path, std::strerror(errno));
  struct stat info {};
  check(::fstat(fd, &info) == 0 && S_ISREG(info.st_mode), "file", "'{}' is not a regular file", path);
  check(static_cast<uint64_t>(info.st_size) <= max_bytes, "file", "'{}' has {} bytes, more than the {} allowed", path,
        info.st_size, max_bytes);
  return static_cast<size_t>(info.st_size);
}

}  // namespace

Tensor map_file(const std::string& path, size_t max_bytes) {
  const Descriptor file{::open(path.c_str(), kToRead), {}};
  const size_t size = size_of_file(file.fd, path, max_bytes);
  if (size == 0) return Tensor({0}, u8);  // there is no mapping of nothing
  void* bytes = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.fd, 0);
  check(bytes != MAP_FAILED, "file", "cannot map '{}': {}", path, std::strerror(errno));
  return from_blob(bytes, {static_cast<int64_t>(size)}, u8, [size](void* start) { ::munmap(start, size); });
}

std::vector<std::byte> read_file(const std::string& path, size_t max_bytes) {
  const Descriptor file{::open(path.c_str(), kToRead), {}};
  std::vector<std::byte> bytes(size_of_file(file.fd, path, max_bytes));
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = ::read(file.fd, bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno == EINTR) continue;
    check(got > 0, "file", "cannot read '{}' at byte {}: {}", path, have, got < 0 ? std::strerror(errno) : "it shrank");
    have += got;
  }
  return bytes;
}

void write_file_atomic(const std::string& path, std::span<const std::span<const std::byte>> parts) {
  static std::atomic<int> counter{0};
  Descriptor file;
  do {
    file.temporary = fmt::format("{}.{}-{}.tmp", path, ::getpid(), counter++);
    file.fd = ::open(file.temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (file.fd < 0 && errno == EEXIST);
  check(file.fd >= 0, "file", "cannot create '{}': {}", file.temporary, std::strerror(errno));
  for (std::span<const std::byte> part : parts)
    while (!part.empty()) {
      const ssize_t written = ::write(file.fd, part.data(), part.size());
      if (written < 0 && errno == EINTR) continue;
      check(written > 0, "file", "cannot write '{}': {}", path, std::strerror(errno));
      part = part.subspan(static_cast<size_t>(written));
    }
  struct stat old {};
  const bool replaces = ::stat(path.c_str(), &old) == 0;
  const bool flushed = (!replaces || ::fchmod(file.fd, old.st_mode & 07777) == 0) && ::fsync(file.fd) == 0;
  check(flushed, "file", "cannot write '{}': {}", path, std::strerror(errno));
  const bool renamed = ::rename(file.temporary.c_str(), path.c_str()) == 0;
  check(renamed, "file", "cannot rename '{}' to '{}': {}", file.temporary, path, std::strerror(errno));
  file.temporary.clear();
  // The rename itself must reach the disk too.
  const std::string folder = path.substr(0, path.rfind('/') + 1) + ".";  // (npos + 1 is 0)
  const Descriptor directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), {}};
  if (directory.fd >= 0) ::fsync(directory.fd);
}

void write_file_atomic(const std::string& path, std::string_view text) {
  const std::span<const std::byte> part = std::as_bytes(std::span(text.data(), text.size()));
  write_file_atomic(path, std::span(&part, 1));
}

}  // namespace norma
