#include "examples/denoise/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "examples/common/terminal.h"
#include "norma/core/error.h"
#include "norma/core/file.h"

namespace examples {

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

namespace {

using norma::check;
using Rows = std::vector<std::vector<std::string>>;

constexpr std::string_view kBegin = "<!-- denoise: begin -->\n", kEnd = "<!-- denoise: end -->";

double deviation_of(const std::vector<double>& values) {  // n - 1; of a single value 0
  const double mean = mean_of(values), n = static_cast<double>(values.size());
  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  return n > 1 ? std::sqrt(squares / (n - 1)) : 0;
}

// "31.42 ± 0.03", or without the spread where there is a single value.
std::string with_spread(const std::vector<double>& values, int digits) {
  const std::string mean = fmt::format("{:.{}f}", mean_of(values), digits);
  return values.size() == 1 ? mean : fmt::format("{} ± {:.{}f}", mean, deviation_of(values), digits);
}

// The first row is a heading.
std::string aligned(const Rows& rows) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - width_of(row[i]), ' ');
      text += i == 0 ? row[i] + gap : "  " + gap + row[i];
    }
    text += "\n";
  }
  return text;
}

std::string markdown_table(const Rows& rows) {
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    text += fmt::format("| {} |\n", fmt::join(rows[i], " | "));
    if (i > 0) continue;
    for (size_t column = 0; column < rows[0].size(); ++column) text += "| --- ";
    text += "|\n";
  }
  return text;
}

std::string page(const std::string& path) {
  const std::vector<std::byte> bytes = norma::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string Claim::verdict() const {
  if (seeds < 2 || !(std::abs(difference) > 2 * spread)) return "inconclusive";
  return difference > 0 ? "held" : "did not hold";
}

Claim compare(const std::vector<Trial>& trials, const std::string& better, const std::string& worse) {
  std::vector<double> differences;
  for (const Trial& one : trials)
    for (const Trial& other : trials)
      if (one.norm == better && other.norm == worse && one.seed == other.seed)
        differences.push_back(mean_of(one.quality.psnr) - mean_of(other.quality.psnr));
  check(!differences.empty(), "denoise", "no seed has trials of both '{}' and '{}'", better, worse);
  return {better, worse, mean_of(differences), deviation_of(differences), std::ssize(differences)};
}

std::vector<Claim> hinet_claims(const std::vector<Trial>& trials) {
  const auto tried = [&](const std::string& norm) {
    return std::any_of(trials.begin(), trials.end(), [&](const Trial& trial) { return trial.norm == norm; });
  };
  std::vector<Claim> claims;
  for (const char* other : {"none", "bn", "in"})
    if (tried("hin") && tried(other)) claims.push_back(compare(trials, "hin", other));
  return claims;
}

Rows Report::quality_rows() const {
  Rows rows = {{"norm"}};
  for (const char* measure : {"PSNR", "SSIM"}) {
    for (double level : sigma) rows[0].push_back(fmt::format("{} at {:g}", measure, level));
    rows[0].push_back(fmt::format("{} mean", measure));
  }
  const auto add = [&](const std::string& name, const std::vector<const Quality*>& qualities) {
    rows.push_back({name});
    for (int ssim = 0; ssim < 2; ++ssim) {
      std::vector<double> means(qualities.size(), 0);
      for (size_t level = 0; level < sigma.size(); ++level) {
        std::vector<double> values;
        for (const Quality* quality : qualities) values.push_back((ssim ? quality->ssim : quality->psnr)[level]);
        for (size_t i = 0; i < values.size(); ++i) means[i] += values[i] / static_cast<double>(sigma.size());
        rows.back().push_back(with_spread(values, ssim ? 4 : 2));
      }
      rows.back().push_back(with_spread(means, ssim ? 4 : 2));
    }
  };
  add("(noisy)", {&noisy});
  std::vector<std::string> norms;
  for (const Trial& trial : trials)
    if (std::find(norms.begin(), norms.end(), trial.norm) == norms.end()) norms.push_back(trial.norm);
  for (const std::string& norm : norms) {
    std::vector<const Quality*> qualities;
    for (const Trial& trial : trials)
      if (trial.norm == norm) qualities.push_back(&trial.quality);
    add(norm, qualities);
  }
  return rows;
}

Rows Report::claim_rows() const {
  Rows rows;
  for (const Claim& claim : hinet_claims(trials)) {
    if (rows.empty()) rows.push_back({"claim", "difference, dB", "spread", "seeds", "verdict"});
    rows.push_back({fmt::format("{} beats {}", claim.better, claim.worse), fmt::format("{:+.3f}", claim.difference),
                    claim.seeds > 1 ? fmt::format("{:.3f}", claim.spread) : "unknown", std::to_string(claim.seeds),
                    claim.verdict()});
  }
  return rows;
}

std::string Report::text() const {
  const Rows claims = claim_rows();
  return aligned(quality_rows()) + (claims.empty() ? "" : "\n" + aligned(claims));
}

std::string Report::markdown() const {
  const Rows claims = claim_rows();
  return markdown_table(quality_rows()) + (claims.empty() ? "" : "\n" + markdown_table(claims));
}

nlohmann::ordered_json Report::json() const {
  nlohmann::ordered_json result = {{"sigma", sigma}, {"noisy", {{"psnr", noisy.psnr}, {"ssim", noisy.ssim}}}};
  result["trials"] = nlohmann::ordered_json::array();
  for (const Trial& trial : trials)
    result["trials"].push_back({{"norm", trial.norm},
                                {"seed", trial.seed},
                                {"psnr", trial.quality.psnr},
                                {"ssim", trial.quality.ssim},
                                {"train_seconds", trial.seconds}});
  result["claims"] = nlohmann::ordered_json::array();
  for (const Claim& claim : hinet_claims(trials))
    result["claims"].push_back({{"claim", fmt::format("{} beats {}", claim.better, claim.worse)},
                                {"difference", claim.difference},
                                {"spread", claim.spread},
                                {"seeds", claim.seeds},
                                {"verdict", claim.verdict()}});
  return result;
}

void check_page(const std::string& path) {
  if (path.empty() || !std::filesystem::exists(path)) return;
  const std::string text = page(path);
  const size_t begin = text.find(kBegin);
  check(begin != std::string::npos && text.find(kEnd, begin) != std::string::npos, "--markdown",
        "'{}' has no lines '{}' and '{}' to write between", path, kBegin.substr(0, kBegin.size() - 1), kEnd);
}

void fill_page(const std::string& path, const std::string& block) {
  check_page(path);
  std::string text = std::filesystem::exists(path) ? page(path) : fmt::format("{}{}\n", kBegin, kEnd);
  const size_t begin = text.find(kBegin) + kBegin.size();
  text.replace(begin, text.find(kEnd, begin) - begin, block);
  norma::write_file_atomic(path, text);
}

}  // namespace examples
