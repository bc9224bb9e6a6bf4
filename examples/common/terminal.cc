#include "examples/common/terminal.h"

#include <fmt/format.h>
#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstring>

namespace examples {

bool is_terminal() { return ::isatty(STDOUT_FILENO) != 0; }

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
