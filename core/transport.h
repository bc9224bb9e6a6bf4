// Transport: how processes send bytes to each other. An interface only: mpi/ has the one of MPI, a library of its
// own (norma::mpi), which the programs link that are to run as several processes. Who is in which process, and what is
// sent, core/workers.cc decides.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace norma {

class Transport {
 public:
  virtual ~Transport() = default;
  virtual int process() const = 0;  // this one's number, in [0, processes())
  virtual int processes() const = 0;

  // The lowest bits of a tag tell one call of a communicator from the next: where a process whose message is waited for
  // has sent one that differs in these alone, it has called something else.
  static constexpr int kCallBits = 8;
  struct Message {
    int process;  // whom it is for, or from
    std::span<std::byte> bytes;
  };
  // Sends and receives all of these, in any order, and returns when it is done. Messages with the same tag between two
  // processes arrive in the order in which they were sent. From any thread; threads with different tags do not wait for
  // each other. Errors: nothing has come for `timeout` seconds; a message of another size, or of another call, than
  // that which is expected.
  virtual void exchange(const char* op, int tag, std::span<const Message> send, std::span<const Message> receive,
                        double timeout) = 0;
  // Tells the user why, on stderr, and ends all processes, this one included.
  virtual void abort(const std::string& why) noexcept = 0;
};

// Who links norma::mpi has this set. It returns null where the program was not started as one of several processes.
inline std::unique_ptr<Transport> (*connect_processes)(int argc, char** argv) = nullptr;

}  // namespace norma
