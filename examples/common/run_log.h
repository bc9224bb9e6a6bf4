// RunLog: a record of a training run for other programs to read, one JSON object a line. A line is written at once and
// whole, so a run that is killed leaves a file that can be read, and that the same run taken up again goes on with. A
// line that cannot be written, for want of space say, is a warning, and none is written after it: training goes on.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace examples {

class RunLog {
 public:
  explicit RunLog(const std::string& path);  // appends; an empty path: no log
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;
  void write(const nlohmann::ordered_json& line);

 private:
  std::string path_;
  int file_ = -1;
};

// Bytes of memory that this process has had at most (resident set, with the data set and the code).
int64_t peak_memory();

}  // namespace examples
