// The playground's engine as WebAssembly: the one function that the page's worker calls.
#include <sched.h>

#include "examples/playground/engine.h"

extern "C" {

// Of this module there is one thread, and Emscripten's C library does not say so: what core/parallel.cc asks it for.
int sched_getaffinity(int, size_t, cpu_set_t*) { return -1; }
int __sched_cpucount(size_t, const cpu_set_t*) { return 1; }

// request and result: JSON, UTF-8, ended by 0. The result is the module's, and holds until the next call.
const char* playground_answer(const char* request);

const char* playground_answer(const char* request) {
  static examples::playground::Engine engine;
  static std::string result;
  result = engine.answer(request);
  return result.c_str();
}
}
