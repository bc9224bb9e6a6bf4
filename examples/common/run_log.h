// RunLog: a record of a training run for other programs to read, one JSON object a line.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace examples {

// A file that records are appended to, each at once and whole: so a run that is killed leaves one that can be read, and
// that the same run taken up again goes on with. A record that cannot be written, for want of space say, is a warning,
// and none is written after it: training goes on.
class AppendedFile {
 public:
  explicit AppendedFile(const std::string& path);  // an empty path: none. Error: it cannot be opened
  ~AppendedFile();
  AppendedFile(const AppendedFile&) = delete;
  AppendedFile& operator=(const AppendedFile&) = delete;
  void write(std::string_view record);

 private:
  std::string path_;
  int file_ = -1;
};

class RunLog {
 public:
  explicit RunLog(const std::string& path) : file_(path) {}
  void write(const nlohmann::ordered_json& line) { file_.write(line.dump() + "\n"); }

 private:
  AppendedFile file_;
};

// Bytes of memory that this process has had at most (resident set, with the data set and the code).
int64_t peak_memory();

}  // namespace examples
