// How the programs begin and end: run_program.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>

namespace examples {

// Reads the command line and calls run(), which returns the exit status. Help and wrong options are CLI11's business;
// an exception is printed as an error, with the status 1.
template <class F>
int run_program(CLI::App& app, int argc, char** argv, F&& run) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const char* process = std::getenv("OMPI_COMM_WORLD_RANK");  // of several, all read the same, and the first says it
    if (process == nullptr || std::atoi(process) == 0) return app.exit(error);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    return error.get_exit_code();
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
