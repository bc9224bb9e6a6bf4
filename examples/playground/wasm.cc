// The playground's engine as WebAssembly: the one function that the page's worker calls.
#include "examples/playground/engine.h"

extern "C" {

// request and result: JSON, UTF-8, ended by 0. The result is the module's, and holds until the next call.
const char* playground_answer(const char* request);

const char* playground_answer(const char* request) {
  static examples::playground::Engine engine;
  static std::string result;
  result = engine.answer(request);
  return result.c_str();
}
}
