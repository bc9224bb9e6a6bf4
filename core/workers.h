// The workers of this process: each runs on a thread of its own, and meets the others, and those of other processes, in
// the operations of its Communicator. For users there is nn/workers.h.
#pragma once

#include <functional>

#include "norma/core/communicator.h"
#include "norma/core/transport.h"

namespace norma {

struct WorkerSettings {
  int count = 1;                   // workers in all processes, at least as many as these
  double timeout = 60;             // seconds that a worker waits for the others in an operation
  Transport* transport = nullptr;  // to the other processes; null: there is only this one
};

// Throws where they are out of range: fewer workers than processes, or more than 65,536; a timeout that is not above 0.
void check_settings(const WorkerSettings& settings);

// Calls f(me) for each worker of this process, and returns when all have. Of w workers and p processes, process i has
// those from w i / p on. Each has a default generator of its own (in the process's state, but worker r in a stream of
// its own: core/random.h), and a share of this process's threads.
//
// Where f throws, the other workers end with an error when they next exchange something, or after the timeout. Of one
// process, an Error then says which worker failed, and why; of several, this is printed and all processes end. So does
// a process in which another worker exchanges nothing for that long, since a thread cannot be ended from outside. After
// an exchange that has failed, all later ones are errors. One run at a time, of one transport. Errors besides: settings
// out of range; a call by a worker. (A single worker runs on the calling thread, and what f throws passes through.)
void run_workers(const WorkerSettings& settings, const std::function<void(Communicator& me)>& f);

}  // namespace norma
