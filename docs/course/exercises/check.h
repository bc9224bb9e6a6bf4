// What the tests of the exercises share: they count what is wrong, and say so. Not part of any exercise.
#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>

inline int wrong = 0, checked = 0;

inline void expect(bool ok, const char* what) {
  ++checked;
  if (!ok) ++wrong;
  std::printf("%s %s\n", ok ? "  ok   " : "  WRONG", what);
}

inline void expect_close(double got, double wanted, double tolerance, const char* what) {
  const bool ok = std::abs(got - wanted) <= tolerance;  // false for a NaN
  expect(ok, what);
  if (!ok) std::printf("          got %.6g, wanted %.6g\n", got, wanted);
}

// Runs the checks; the exit status of main: 0 green, 1 red.
inline int run_checks(const std::function<void()>& checks) {
  try {
    checks();
  } catch (const std::exception& error) {
    expect(false, error.what());
  }
  if (wrong > 0) {
    std::printf("red: %d of %d checks are wrong\n", wrong, checked);
  } else {
    std::printf("green: %d checks\n", checked);
  }
  return wrong > 0 ? 1 : 0;
}
