// What denoise reports: the quality of each norm over the seeds, what that says of HINet's claim, and both as a table,
// as JSON, and in a page of the documentation.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace examples {

// Means over the held-out pictures, an entry for each level of noise.
struct Quality {
  std::vector<double> psnr, ssim;
};
double mean_of(const std::vector<double>& values);

// One network: trained with this norm from this seed.
struct Trial {
  std::string norm;
  uint64_t seed = 0;
  Quality quality;
  double seconds = 0;  // of training
};

// "`better` beats `worse`", by the PSNR averaged over the levels. Trials are paired by their seeds, which fix the
// weights at the start, the order of the pictures, and the noise.
struct Claim {
  std::string better, worse;
  double difference = 0;  // in dB, the mean over the seeds
  double spread = 0;      // standard deviation of the paired differences, n - 1
  int64_t seeds = 0;
  // The rule, fixed before anything was measured: a difference counts if it is more than twice the spread. "held" if it
  // counts and is above 0, "did not hold" if it counts and is below, else, and always with a single seed,
  // "inconclusive".
  std::string verdict() const;
};
Claim compare(const std::vector<Trial>& trials, const std::string& better, const std::string& worse);
// Half instance norm against no norm, batch norm and instance norm: those of them that there are trials of.
std::vector<Claim> hinet_claims(const std::vector<Trial>& trials);

struct Report {
  std::vector<double> sigma;  // the levels of noise, in 255ths of the range
  Quality noisy;              // of the pictures before any restoration
  std::vector<Trial> trials;

  std::string text() const;      // for the terminal
  std::string markdown() const;  // the same as tables of Markdown
  nlohmann::ordered_json json() const;

 private:
  std::vector<std::vector<std::string>> quality_rows() const;
  std::vector<std::vector<std::string>> claim_rows() const;
};

// A page holds the program's output between two marks, each a line of its own: `<!-- denoise: begin -->` and
// `<!-- denoise: end -->`. check_page() throws if there is such a file without them; fill_page() puts `block` between
// them, or makes a file of nothing else. Atomic.
void check_page(const std::string& path);
void fill_page(const std::string& path, const std::string& block);

}  // namespace examples
