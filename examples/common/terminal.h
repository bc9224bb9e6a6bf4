// What standard output can show.
#pragma once

#include <algorithm>
#include <string>

namespace examples {

bool is_terminal();  // else a file or a pipe: no colours, nothing that moves
bool is_utf8();      // by the locale, for a terminal; files get ASCII
int columns();       // of the terminal; 80 if unknown

// In characters of UTF-8.
inline size_t width_of(const std::string& text) {
  return std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; });
}

std::string colored(const std::string& text, int color);  // one of the 16 ANSI colours, on a terminal
inline constexpr int kRed = 31, kGreen = 32;

}  // namespace examples
