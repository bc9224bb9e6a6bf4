#include "examples/common/run_log.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "norma/core/error.h"

namespace examples {

AppendedFile::AppendedFile(const std::string& path) : path_(path) {
  if (path.empty()) return;
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  norma::check(file_ >= 0, "log", "cannot open '{}': {}", path, std::strerror(errno));
}

AppendedFile::~AppendedFile() {
  if (file_ >= 0) ::close(file_);
}

void AppendedFile::write(std::string_view record) {
  if (file_ < 0) return;
  errno = ENOSPC;  // what else writes a part of it
  if (::write(file_, record.data(), record.size()) == static_cast<ssize_t>(record.size())) return;
  fmt::print(stderr, "warning: cannot write '{}': {}; the log ends here\n", path_, std::strerror(errno));
  ::close(std::exchange(file_, -1));
}

int64_t peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;  // Linux counts KiB
}

}  // namespace examples
