#include "examples/common/terminal.h"

#include <fmt/format.h>
#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <cstring>

namespace examples {

bool is_terminal() {
  static const bool is = [] {
    if (::isatty(STDOUT_FILENO) == 0) return false;
    // What mpirun starts gets a terminal of its making, wherever it writes itself: it is the parent, and is asked.
    if (std::getenv("OMPI_COMM_WORLD_RANK") == nullptr) return true;
    char path[16] = "";
    const ssize_t size = ::readlink(fmt::format("/proc/{}/fd/1", ::getppid()).c_str(), path, sizeof path);
    return size > 0 && std::string_view(path, static_cast<size_t>(size)).starts_with("/dev/pts/");
  }();
  return is;
}

bool is_utf8() {
  static const bool locale = [] {
    std::setlocale(LC_CTYPE, "");
    return std::strcmp(::nl_langinfo(CODESET), "UTF-8") == 0;
  }();
  return locale && is_terminal();
}

int columns() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string colored(const std::string& text, int color) {
  return is_terminal() ? fmt::format("\033[{}m{}\033[0m", color, text) : text;
}

}  // namespace examples
