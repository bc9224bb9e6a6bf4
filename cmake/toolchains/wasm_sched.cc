// What core/parallel.cc asks the system, and emscripten's C library declares but does not have: the cores that the
// process is bound to. It is not known here, and the caller then takes what std::thread::hardware_concurrency says.
#include <sched.h>

extern "C" int sched_getaffinity(pid_t, size_t, cpu_set_t*) { return -1; }
extern "C" int __sched_cpucount(size_t, const cpu_set_t*) { return 1; }
