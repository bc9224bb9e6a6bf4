#include "examples/common/event_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <filesystem>

namespace examples {
namespace {

constexpr auto kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
    table[i] = crc;
  }
  return table;
}();

void put(std::string& to, uint64_t value, int bytes) {  // little-endian
  for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> 8 * i);
}

uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xA282EAD8;
}

// A message of protobuf, field by field: each begins with its number and how it is encoded. As the format has it, a
// number that is 0 is left out, unless it is one of alternatives.
struct Message {
  std::string bytes;

  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
    bytes += static_cast<char>(value);
  }
  void key(int field, int encoding) { varint(static_cast<uint64_t>(field << 3 | encoding)); }

  Message& integer(int field, int64_t value) {
    if (value == 0) return *this;
    key(field, 0);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& real(int field, double value) {
    if (std::bit_cast<uint64_t>(value) == 0) return *this;
    key(field, 1);
    put(bytes, std::bit_cast<uint64_t>(value), 8);
    return *this;
  }
  Message& single(int field, float value) {  // one of alternatives
    key(field, 5);
    put(bytes, std::bit_cast<uint32_t>(value), 4);
    return *this;
  }
  Message& text(int field, std::string_view value) {  // or a message
    key(field, 2);
    varint(value.size());
    bytes += value;
    return *this;
  }
  Message& reals(int field, const std::vector<double>& values) {
    std::string packed;
    for (double value : values) put(packed, std::bit_cast<uint64_t>(value), 8);
    return text(field, packed);
  }
};

// The numbers of the fields.
enum EventField { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7 };
enum SummaryField { kValue = 1 };
enum ValueField { kTag = 1, kSimpleValue = 2, kImage = 4, kHistogram = 5 };
enum ImageField { kHeight = 1, kWidth = 2, kColorspace = 3, kEncoded = 4 };
enum HistogramField { kMin = 1, kMax = 2, kNum = 3, kSum = 4, kSumSquares = 5, kBucketLimit = 6, kBucket = 7 };
enum SessionLogField { kStatus = 1 };

Message tagged(const std::string& tag) {
  Message value;
  value.text(kTag, tag);
  return value;
}
std::string summary_of(const Message& value) { return Message().text(kValue, value.bytes).bytes; }

// As TensorBoard looks for them, and new each time.
std::string name_of_file(double now) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return fmt::format("events.out.tfevents.{:.6f}.{}.{}", now, host.data(), ::getpid());
}

std::string made(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  norma::check(!error, "tensorboard", "cannot make the folder '{}': {}", folder, error.message());
  return folder;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (char byte : bytes) crc = kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

std::string tf_record(std::string_view data) {
  std::string record;
  put(record, data.size(), 8);
  put(record, masked_crc(record), 4);
  record += data;
  put(record, masked_crc(data), 4);
  return record;
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

EventFile::EventFile(const std::string& folder, int64_t first_step, double (*clock)())
    : path_(made(folder) + "/" + name_of_file(clock())), file_(path_), clock_(clock) {
  write(0, kFileVersion, "brain.Event:2");
  if (first_step > 0) write(first_step, kSessionLog, Message().integer(kStatus, 1).bytes);  // START
}

void EventFile::write(int64_t step, int field, std::string_view what) {
  file_.write(tf_record(Message().real(kWallTime, clock_()).integer(kStep, step).text(field, what).bytes));
}

void EventFile::scalar(const std::string& tag, int64_t step, double value) {
  write(step, kSummary, summary_of(tagged(tag).single(kSimpleValue, static_cast<float>(value))));
}

void EventFile::picture(const std::string& tag, int64_t step, const Png& png) {
  Message image;
  image.integer(kHeight, png.height).integer(kWidth, png.width).integer(kColorspace, 3).text(kEncoded, png.bytes);
  write(step, kSummary, summary_of(tagged(tag).text(kImage, image.bytes)));
}

void EventFile::histogram(const std::string& tag, int64_t step, const norma::Tensor& values) {
  std::vector<double> finite = values.to(norma::cpu_device).to_vector<double>();
  std::erase_if(finite, [](double value) { return !std::isfinite(value); });
  if (finite.empty()) return;
  const auto [least, most] = std::ranges::minmax(finite);
  double sum = 0, squares = 0;
  const int bins = most > least ? 30 : 1;
  const double width = most / bins - least / bins;  // neither the difference nor what comes of it overflows
  std::vector<double> limits, counts(static_cast<size_t>(bins));
  for (int i = 1; i < bins; ++i) limits.push_back(least + i * width);
  limits.push_back(most);
  for (double value : finite) {
    sum += value;
    squares += value * value;
    const auto bin = std::ranges::lower_bound(limits, value) - limits.begin();
    ++counts[static_cast<size_t>(std::min<std::ptrdiff_t>(bin, bins - 1))];
  }
  Message histogram;
  histogram.real(kMin, least).real(kMax, most).real(kNum, static_cast<double>(finite.size())).real(kSum, sum);
  histogram.real(kSumSquares, squares).reals(kBucketLimit, limits).reals(kBucket, counts);
  write(step, kSummary, summary_of(tagged(tag).text(kHistogram, histogram.bytes)));
}

}  // namespace examples
