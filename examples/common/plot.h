// Figures of curves, drawn by gnuplot, and their data as CSV.
//
//   plot("run.svg", {{.title = "test accuracy", .x_label = "epoch", .curves = {{"gn:8", epochs, accuracy}}}});
#pragma once

#include <string>
#include <vector>

namespace examples {

struct Curve {
  std::string label;
  std::vector<double> x, y;
  std::vector<double> spread{};  // of each y, drawn as a bar of y - spread to y + spread; empty: none
  bool points = false;           // marks at the points, as for few of them
};

struct Panel {
  std::string title{}, x_label{}, y_label{};
  std::vector<Curve> curves{};
  bool log_x = false, log_y = false;  // log_x: by powers of 2, with ticks at the x of the points
  bool heat = false;                  // a map of colours: a curve's label is y, and its y how dark; all have the same x
  bool bars = false;                  // boxes beside each other, a group for each x, in place of lines
  std::vector<std::string> x_names{};  // stand at x = 0, 1, 2, ... in place of numbers
};

// Draws the panels side by side to `path`, whose ending is .svg or .png, and writes their data beside it, to the same
// name with the ending .csv: panel,curve,x,y,spread. Both atomic. What is not finite is left out of the picture.
// Returns what to tell: "run.svg, run.csv", or without gnuplot, or where that fails, "run.csv (no picture: ...)".
// Errors: another ending; a curve whose x and y are of different lengths; the CSV cannot be written.
std::string plot(const std::string& path, const std::vector<Panel>& panels);

}  // namespace examples
