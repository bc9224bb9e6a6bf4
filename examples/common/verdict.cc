#include "examples/common/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "norma/core/error.h"

namespace examples {
namespace {

template <class F>
Values zip(const Values& a, const Values& b, F f) {
  norma::check(a.size() == b.size() && !a.empty(), "verdict", "{} and {} values do not pair", a.size(), b.size());
  Values result(a.size());
  std::transform(a.begin(), a.end(), b.begin(), result.begin(), f);
  return result;
}

}  // namespace

double mean(const Values& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

double spread(const Values& values) {
  if (values.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  const double m = mean(values);
  double squares = 0;
  for (double v : values) squares += (v - m) * (v - m);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

Values operator-(const Values& a, const Values& b) { return zip(a, b, std::minus<>()); }
Values operator+(const Values& a, const Values& b) { return zip(a, b, std::plus<>()); }
Values operator*(double factor, const Values& a) {
  return zip(a, a, [factor](double v, double) { return factor * v; });
}

const char* text(Verdict verdict) {
  constexpr const char* kTexts[] = {"held", "did not hold", "inconclusive"};
  return kTexts[static_cast<size_t>(verdict)];
}

std::string Part::str() const {
  const int digits = unit == "points" ? 2 : 4;
  return std::isnan(spread) ? fmt::format("{:+.{}f} {}, of one seed", difference, digits, unit)
                            : fmt::format("{:+.{}f} ± {:.{}f} {}", difference, digits, spread, digits, unit);
}

// Comparisons with NaN are false, so that one seed, and whatever went wrong, is inconclusive.
Part exceeds(const std::string& claim, const Values& a, const Values& b, double negligible, const std::string& unit) {
  const Values differences = a - b;
  Part part{claim, fmt::format("more than twice its spread; refuted where, with that added, below {:g}", negligible),
            mean(differences), spread(differences), unit};
  if (part.difference > 2 * part.spread) part.verdict = Verdict::held;
  else if (part.difference + 2 * part.spread < negligible) part.verdict = Verdict::did_not_hold;
  return part;
}

Part no_worse(const std::string& claim, const Values& a, const Values& b, double margin, const std::string& unit) {
  const Values differences = a - b;
  Part part{claim, fmt::format("with twice its spread, at most {:+g} {}", margin, unit), mean(differences),
            spread(differences), unit};
  if (part.difference + 2 * part.spread <= margin) part.verdict = Verdict::held;
  else if (part.difference - 2 * part.spread > margin) part.verdict = Verdict::did_not_hold;
  return part;
}

Verdict verdict_of(const std::vector<Part>& parts) {
  const auto any = [&](Verdict v) { return std::ranges::any_of(parts, [v](const Part& p) { return p.verdict == v; }); };
  if (any(Verdict::did_not_hold)) return Verdict::did_not_hold;
  return any(Verdict::inconclusive) || parts.empty() ? Verdict::inconclusive : Verdict::held;
}

std::string why(const std::vector<Part>& parts) {
  const Verdict verdict = verdict_of(parts);
  std::string list;
  int count = 0;
  for (const Part& part : parts)
    if (part.verdict == verdict && ++count <= 3)
      list += fmt::format("{}{} ({})", list.empty() ? "" : "; ", part.claim, part.str());
  if (count > 3) list += fmt::format("; and {} more", count - 3);
  switch (verdict) {
    case Verdict::held: return fmt::format("Measured, each clear of its spread or margin: {}.", list);
    case Verdict::did_not_hold: return fmt::format("What was claimed and not found: {}.", list);
    default: return fmt::format("Within the spread, or of one seed only: {}.", list);
  }
}

}  // namespace examples
