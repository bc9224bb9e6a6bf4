// How the programs begin and end: run_program; what their options check: at_least.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>

namespace examples {

// Of an option: a number, finite and so large or larger. (CLI11's own check for positive numbers lists all that a
// double can hold.)
inline CLI::Validator at_least(double least) {
  const std::string want = fmt::format("a number of at least {}", least);
  const auto wrong = [=](const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool good = !text.empty() && *end == '\0' && std::isfinite(value) && value >= least;
    return good ? "" : fmt::format("want {}, not {}", want, text);
  };
  return CLI::Validator(wrong, fmt::format(">= {}", least));
}

// Reads the command line and calls run(), which returns the exit status. Help is CLI11's business, with the status 0;
// what is wrong with the options, and an exception, is printed as an error, with the status 1.
template <class F>
int run_program(CLI::App& app, int argc, char** argv, F&& run) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const char* process = std::getenv("OMPI_COMM_WORLD_RANK");  // of several, all read the same, and the first says it
    if (process == nullptr || std::atoi(process) == 0) app.exit(error);
    else std::this_thread::sleep_for(std::chrono::seconds(1));
    return error.get_exit_code() == 0 ? 0 : 1;
  }
  try {
    return run();
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}

}  // namespace examples
