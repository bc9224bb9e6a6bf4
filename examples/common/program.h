// How the programs begin and end: run_program.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

namespace examples {

// Reads the command line and calls run(), which returns the exit status. Help and wrong options are CLI11's business;
// an exception is printed as an error, with the status 1.
template <class F>
int run_program(CLI::App& app, int argc, char** argv, F&& run) {
  CLI11_PARSE(app, argc, argv);
  try {
    return run();
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}

}  // namespace examples
