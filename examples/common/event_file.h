// EventFile: what a training run tells TensorBoard. A file of records in TFRecord's framing, each with checksums, of
// events in protobuf's encoding: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details and
// event.proto, summary.proto of TensorBoard. Both are written by hand, since they are a page of code.
//
// It stands with the examples, not in the library: it is a program's business what it tells, and pictures want libpng.
#pragma once

#include <norma/core/tensor.h>

#include "examples/common/picture.h"
#include "examples/common/run_log.h"

namespace examples {

// CRC-32C (Castagnoli), as in RFC 3720.
uint32_t crc32c(std::string_view bytes);
// length (8 bytes), its checksum (4), data, their checksum (4). Checksums are masked, numbers little-endian.
std::string tf_record(std::string_view data);
double seconds_since_1970();

// A record is written at once and whole. One that cannot be written is a warning, and none is written after it.
class EventFile {
 public:
  // A new file in the folder, which is made. first_step > 0: the first step that it will tell of; what older files in
  // the folder tell of this step and those behind it, as a run does that was killed and taken up again, TensorBoard
  // then leaves out. Errors: no folder can be made, or the file not be opened.
  explicit EventFile(const std::string& folder, int64_t first_step = 0, double (*clock)() = seconds_since_1970);

  void scalar(const std::string& tag, int64_t step, double value);
  void picture(const std::string& tag, int64_t step, const Png& png);
  // Of the finite values, in 30 bins of one width; nothing where there are none. On any device.
  void histogram(const std::string& tag, int64_t step, const norma::Tensor& values);

  const std::string& path() const { return path_; }

 private:
  void write(int64_t step, int field, std::string_view what);

  std::string path_;
  AppendedFile file_;
  double (*clock_)();
};

}  // namespace examples
