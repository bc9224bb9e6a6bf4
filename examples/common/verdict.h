// How the laboratory judges: by differences between values of the same seed, and a rule that stands before the
// measuring.
//
//   spread       the standard deviation of the differences over the seeds
//   exceeds      holds if the mean difference is more than twice the spread; does not, if even twice the spread above
//   it
//                it would be less than `negligible`
//   no_worse     holds if the mean difference, with twice the spread added, stays within the margin; does not, if it
//                passes the margin with twice the spread taken away
//
// Anything between is inconclusive; so is everything that has one seed only, since it has no spread. A claim holds if
// all its parts do, and does not if one of them does not.
#pragma once

#include <string>
#include <vector>

namespace examples {

using Values = std::vector<double>;  // one a seed

double mean(const Values& values);
double spread(const Values& values);  // sample standard deviation; NaN of less than two
Values operator-(const Values& a, const Values& b);
Values operator+(const Values& a, const Values& b);
Values operator*(double factor, const Values& a);

enum class Verdict { held, did_not_hold, inconclusive };
const char* text(Verdict verdict);  // "held", "did not hold", "inconclusive"

// A part of a claim, and what became of it.
struct Part {
  std::string claim, rule;
  double difference = 0, spread = 0;
  std::string unit;
  Verdict verdict = Verdict::inconclusive;
  std::string str() const;  // "+1.20 +- 0.31 points"
};

inline constexpr double kNegligible = 0.5;  // points of error that nobody would care for

// a > b
Part exceeds(const std::string& claim, const Values& a, const Values& b, double negligible = kNegligible,
             const std::string& unit = "points");
// a < b + margin
Part no_worse(const std::string& claim, const Values& a, const Values& b, double margin,
              const std::string& unit = "points");

Verdict verdict_of(const std::vector<Part>& parts);
std::string why(const std::vector<Part>& parts);  // one sentence

}  // namespace examples
