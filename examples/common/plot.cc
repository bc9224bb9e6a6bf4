#include "examples/common/plot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>

#include "norma/core/error.h"
#include "norma/core/file.h"

namespace examples {
namespace {

// Of a colour scheme that the colour-blind can tell apart (Okabe and Ito 2008), in another dash from the eighth on.
constexpr const char* kColors[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"};
constexpr size_t kColorCount = std::size(kColors);

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char letter : text) quoted += letter == '"' ? "\"\"" : std::string(1, letter);
  return quoted + "\"";
}

std::string csv(const std::vector<Panel>& panels) {
  std::string text = "panel,curve,x,y,spread\n";
  for (const Panel& panel : panels)
    for (const Curve& curve : panel.curves)
      for (size_t i = 0; i < curve.x.size(); ++i) {
        const bool named = !panel.x_names.empty() && curve.x[i] >= 0 && curve.x[i] < double(panel.x_names.size());
        const std::string x = named ? csv_field(panel.x_names[curve.x[i]]) : fmt::format("{}", curve.x[i]);
        text += fmt::format("{},{},{},{},{}\n", csv_field(panel.title), csv_field(curve.label), x, curve.y[i],
                            curve.spread.empty() ? "" : fmt::format("{}", curve.spread[i]));
      }
  return text;
}

// For gnuplot, in single quotes: nothing in it is a command.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char letter : text) result += letter == '\'' ? "''" : letter == '\n' ? " " : std::string(1, letter);
  return result + "'";
}

// A panel of colours, white to dark blue, each column's from nothing to the most of the panel.
std::string heat_map(const Panel& panel, size_t k) {
  std::string text = fmt::format("$d{} << EOD\n", k);
  for (const Curve& curve : panel.curves)
    for (size_t i = 0; i < curve.x.size(); ++i) text += fmt::format("{} {} {}\n", curve.x[i], curve.label, curve.y[i]);
  text += "EOD\nset palette defined (0 '#ffffff', 1 '#56b4e9', 2 '#0072b2', 4 '#00243a')\nunset colorbox\n";
  text += fmt::format("set title {}\nset xlabel {}\nset ylabel {}\n", quoted(panel.title), quoted(panel.x_label),
                      quoted(panel.y_label));
  text += "unset logscale\nset xtics autofreq norotate\nset offsets 0, 0, 0, 0\nset xrange [*:*]\nset yrange [*:*]\n";
  return text + fmt::format("set autoscale xfix\nset autoscale yfix\nplot $d{} with image notitle\n", k);
}

std::string script(const std::vector<Panel>& panels, const std::string& picture, bool svg) {
  const size_t count = panels.size(), rows = count > 4 ? 2 : 1, columns = (count + rows - 1) / rows;
  std::string text =
      svg ? fmt::format("set terminal svg size {},{} noenhanced background '#ffffff' font 'sans-serif,13'\n",
                        60 + 500 * columns, 420 * rows)
          : fmt::format("set terminal pngcairo size {},{} noenhanced fontscale 1.9 linewidth 2\n", 120 + 1000 * columns,
                        840 * rows);
  text += fmt::format("set output {}\nset multiplot layout {},{}\n", quoted(picture), rows, columns);
  text += "set border 3\nset tics nomirror\nset grid ytics lt 1 lw 0.5 lc rgb '#cccccc'\n";
  text += "set key tmargin center horizontal Left reverse\nset pointintervalbox 0\n";
  for (size_t k = 0; k < count; ++k) {
    const Panel& panel = panels[k];
    if (panel.heat) {
      text += heat_map(panel, k);
      continue;
    }
    text += fmt::format("set title {}\nset xlabel {}\nset ylabel {}\n", quoted(panel.title), quoted(panel.x_label),
                        quoted(panel.y_label));
    text += panel.log_x ? "set logscale x 2\n" : "unset logscale x\n";
    text += panel.log_y ? "set logscale y\nset format y '%g'\n" : "unset logscale y\nset format y '% h'\n";
    const bool from_zero = panel.bars && !panel.log_y;  // a box's length is what it says
    text += fmt::format("set yrange [{}:*]\nset offsets graph 0.03, graph 0.03, graph 0.05, graph {}\n",
                        from_zero ? "*<0" : "*", from_zero ? 0 : 0.05);
    std::set<double> ticks;  // the x of the points
    for (size_t c = 0; c < panel.curves.size(); ++c) {
      const Curve& curve = panel.curves[c];
      text += fmt::format("$d{}_{} << EOD\n", k, c);
      for (size_t i = 0; i < curve.x.size(); ++i) {
        if (!std::isfinite(curve.x[i]) || !std::isfinite(curve.y[i])) continue;
        ticks.insert(curve.x[i]);
        text += fmt::format("{} {} {}\n", curve.x[i], curve.y[i], curve.spread.empty() ? 0.0 : curve.spread[i]);
      }
      text += "EOD\n";
    }
    std::string names;
    for (size_t i = 0; i < panel.x_names.size(); ++i)
      names += fmt::format("{}{} {}", i > 0 ? ", " : "", quoted(panel.x_names[i]), i);
    if (panel.x_names.empty() && (panel.log_x || ticks.size() <= 10))
      for (const double x : ticks) names += fmt::format("{}'{}' {}", names.empty() ? "" : ", ", x, x);
    text += names.empty() ? "set xtics autofreq norotate\n" : fmt::format("set xtics ({}) norotate\n", names);
    const double low = ticks.empty() ? 0 : *ticks.begin();
    if (ticks.size() != 1 || panel.bars) text += "set xrange [*:*]\nset autoscale xfix\n";
    else if (panel.log_x) text += fmt::format("set xrange [{}:{}]\n", low / 2, low * 2);
    else text += fmt::format("set xrange [{}:{}]\n", low - 1, low + 1);
    const double width = 0.8 / static_cast<double>(std::max<size_t>(1, panel.curves.size()));
    if (panel.bars) text += fmt::format("set boxwidth {}\nset style fill solid 0.85 noborder\n", width);

    std::string plots;
    const auto add = [&](size_t c, const std::string& how) {
      plots += fmt::format("{}$d{}_{} {}", plots.empty() ? "plot " : ", \\\n  ", k, c, how);
    };
    // Not yerrorbars, which clear a circle around each point.
    const auto bar_of_spread = [](double shift, const char* color) {
      return fmt::format(
          "using ($1+{}):($2-$3):(0):(2*$3) with vectors heads size graph 0.008,90 lw 1 lc rgb '{}' notitle", shift,
          color);
    };
    for (size_t c = 0; c < panel.curves.size(); ++c) {
      const Curve& curve = panel.curves[c];
      if (curve.x.empty()) continue;
      const char* color = kColors[c % kColorCount];
      const size_t dash = 1 + c / kColorCount, mark = 5 + 2 * (c % 5);
      if (panel.bars) {
        const double shift = (static_cast<double>(c) - static_cast<double>(panel.curves.size() - 1) / 2) * width;
        add(c, fmt::format("using ($1+{}):2 with boxes lc rgb '{}' title {}", shift, color, quoted(curve.label)));
        if (!curve.spread.empty()) add(c, bar_of_spread(shift, "#333333"));
        continue;
      }
      const bool marks = curve.points || ticks.size() == 1;
      const std::string how = marks ? fmt::format("linespoints pt {} ps 0.7", mark) : "lines";
      add(c, fmt::format("using 1:2 with {} lc rgb '{}' dt {} lw 2 title {}", how, color, dash, quoted(curve.label)));
      if (!curve.spread.empty()) add(c, bar_of_spread(0, color));
    }
    text += plots + "\n";
  }
  return text + "unset multiplot\nset output\n";
}

// Runs gnuplot on the script; returns why there is no picture, or nothing.
std::string run_gnuplot(const std::string& text) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::strerror(errno);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
  char program[] = "gnuplot";
  char* argv[] = {program, nullptr};
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, program, &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[0]);
  if (error != 0) {
    ::close(ends[1]);
    return error == ENOENT ? "gnuplot is not installed" : fmt::format("gnuplot: {}", std::strerror(error));
  }
  struct sigaction ignore {
  }, former{};  // a gnuplot that ends early must not end this program
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &former);
  for (std::string_view left = text; !left.empty();) {
    const ssize_t n = ::write(ends[1], left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    left.remove_prefix(static_cast<size_t>(n));
  }
  ::close(ends[1]);
  ::sigaction(SIGPIPE, &former, nullptr);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return "gnuplot is not installed";
  return status == 0 ? "" : "gnuplot failed";
}

}  // namespace

std::string plot(const std::string& path, const std::vector<Panel>& panels) {
  const std::filesystem::path picture(path);
  const bool svg = picture.extension() == ".svg";
  norma::check(svg || picture.extension() == ".png", "plot", "'{}' ends neither in .svg nor in .png", path);
  norma::check(!panels.empty(), "plot", "nothing to draw in '{}'", path);
  for (const Panel& panel : panels)
    for (const Curve& curve : panel.curves)
      norma::check(curve.x.size() == curve.y.size() && (curve.spread.empty() || curve.spread.size() == curve.y.size()),
                   "plot", "curve '{}' has {} x, {} y and {} spreads", curve.label, curve.x.size(), curve.y.size(),
                   curve.spread.size());
  const std::string data = std::filesystem::path(picture).replace_extension(".csv").string();
  norma::write_file_atomic(data, csv(panels));
  // Beside its place first: gnuplot opens its output before it knows whether it can draw.
  const std::string draft = fmt::format("{}.{}.tmp", path, ::getpid());
  std::string why = run_gnuplot(script(panels, draft, svg));
  std::error_code error;
  if (why.empty() && std::filesystem::file_size(draft, error) > 0 && !error)
    std::filesystem::rename(draft, path, error);
  else if (why.empty()) why = "gnuplot drew none";
  if (why.empty() && error) why = error.message();
  std::filesystem::remove(draft, error);
  return why.empty() ? fmt::format("{}, {}", path, data) : fmt::format("{} (no picture: {})", data, why);
}

}  // namespace examples
