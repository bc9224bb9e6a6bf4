#include "examples/common/digits.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "norma/core/parallel.h"
#include "norma/core/random.h"

namespace examples {
namespace {

using namespace norma;

constexpr int kSize = 28;

struct Point {
  double x, y;
};

// A stroke's piece, in a unit square whose y points down: an arc of an ellipse (angles in degrees, clockwise on paper
// as they grow, 0 to the right), or a line.
struct Piece {
  bool is_arc;
  double a, b, c, d, from = 0, to = 0;

  Point at(double t) const {
    if (!is_arc) return {a + (c - a) * t, b + (d - b) * t};
    const double angle = (from + (to - from) * t) * std::numbers::pi / 180;
    return {a + c * std::cos(angle), b + d * std::sin(angle)};
  }
  int steps() const { return is_arc ? 4 + static_cast<int>(std::abs(to - from) / 20) : 4; }
};

Piece line(double x0, double y0, double x1, double y1) { return {false, x0, y0, x1, y1}; }
Piece arc(double x, double y, double rx, double ry, double from, double to) { return {true, x, y, rx, ry, from, to}; }

// Two ways to write each digit.
const std::vector<Piece>& strokes(int64_t digit, bool other) {
  static const std::vector<Piece> table[10][2] = {
      {{arc(.5, .5, .28, .42, 0, 360)}, {arc(.5, .5, .22, .42, -70, 280)}},
      {{line(.5, .08, .5, .92)}, {line(.3, .3, .52, .08), line(.52, .08, .52, .92), line(.3, .92, .74, .92)}},
      {{arc(.5, .32, .26, .24, 190, 395), line(.71, .46, .24, .92), line(.24, .92, .78, .92)},
       {arc(.48, .32, .26, .24, 200, 410), line(.65, .5, .35, .8), arc(.34, .86, .09, .07, 0, 360),
        line(.4, .9, .8, .92)}},
      {{arc(.46, .29, .26, .21, 200, 450), arc(.46, .71, .29, .21, 270, 515)},
       {line(.24, .08, .74, .08), line(.74, .08, .46, .42), arc(.46, .67, .28, .25, 270, 510)}},
      {{line(.6, .08, .2, .64), line(.2, .64, .84, .64), line(.64, .4, .64, .92)},
       {line(.28, .1, .24, .52), line(.24, .52, .76, .52), line(.7, .1, .66, .92)}},
      {{line(.76, .1, .34, .1), line(.34, .1, .3, .45), arc(.48, .66, .27, .25, 228, 505)},
       {line(.72, .08, .28, .12), line(.28, .12, .28, .5), line(.28, .5, .5, .44), arc(.5, .68, .24, .24, 270, 480)}},
      {{arc(.7, .64, .46, .56, 262, 180), arc(.49, .68, .25, .24, 0, 360)},
       {line(.62, .08, .3, .6), arc(.5, .7, .24, .22, 0, 360)}},
      {{line(.22, .1, .78, .1), line(.78, .1, .42, .92)},
       {line(.22, .1, .78, .1), line(.78, .1, .44, .92), line(.38, .5, .76, .5)}},
      {{arc(.5, .29, .22, .2, 0, 360), arc(.5, .71, .27, .21, 0, 360)},
       {line(.7, .16, .32, .76), line(.32, .2, .68, .76), arc(.5, .2, .2, .12, 180, 360),
        arc(.5, .8, .2, .12, 0, 180)}},
      {{arc(.5, .32, .24, .24, 0, 360), line(.74, .32, .66, .92)},
       {arc(.5, .31, .24, .23, 0, 360), arc(.36, .4, .38, .52, -10, 100)}}};
  return table[digit][other];
}

double distance(Point p, Point a, Point b) {
  const double dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
  const double t = length2 > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length2, 0.0, 1.0) : 0;
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

// Antialiased: a pixel is covered by how far it lies within half the width; strokes do not add up.
void draw_segment(std::array<double, kSize * kSize>& ink, Point a, Point b, double width) {
  const auto low = [&](double u, double v) { return std::clamp<int>(int(std::min(u, v) - width / 2), 0, kSize - 1); };
  const auto high = [&](double u, double v) {
    return std::clamp<int>(int(std::max(u, v) + width / 2 + 1), 0, kSize - 1);
  };
  for (int y = low(a.y, b.y); y <= high(a.y, b.y); ++y)
    for (int x = low(a.x, b.x); x <= high(a.x, b.x); ++x) {
      double& pixel = ink[y * kSize + x];
      pixel = std::max(pixel, std::clamp((width + 1) / 2 - distance({x + 0.5, y + 0.5}, a, b), 0.0, 1.0));
    }
}

void draw_digit(int64_t digit, Generator& random, uint8_t* image) {
  const double turn = random.uniform(-0.4, 0.4), shear = random.uniform(-0.4, 0.4);
  const double width = kSize * random.uniform(0.5, 0.85), height = kSize * random.uniform(0.6, 0.85);
  const Point middle = {kSize / 2.0 + random.uniform(-2.5, 2.5), kSize / 2.0 + random.uniform(-2.5, 2.5)};
  const double bend_x = random.uniform(-0.08, 0.08), bend_y = random.uniform(-0.08, 0.08);
  const double phase_x = random.uniform(0, 6.28), phase_y = random.uniform(0, 6.28);
  const auto place = [&](Point p) -> Point {
    const double x = p.x - 0.5 + bend_x * std::sin(7 * p.y + phase_x);
    const double y = p.y - 0.5 + bend_y * std::sin(7 * p.x + phase_y);
    const double u = width * (x - shear * y), v = height * y;
    return {middle.x + std::cos(turn) * u - std::sin(turn) * v, middle.y + std::sin(turn) * u + std::cos(turn) * v};
  };

  std::array<double, kSize * kSize> ink{};
  const double pen = random.uniform(1.2, 3.2);
  for (const Piece& piece : strokes(digit, random.uniform() < 0.4)) {
    const int steps = piece.steps();
    for (int i = 0; i < steps; ++i) {
      const double t = static_cast<double>(i) / steps, next = static_cast<double>(i + 1) / steps;
      draw_segment(ink, place(piece.at(t)), place(piece.at(next)), pen);
    }
  }
  const Point stray = {random.uniform(0, kSize), random.uniform(0, kSize)};  // a stroke that does not belong there
  draw_segment(ink, stray, {stray.x + random.uniform(-7, 7), stray.y + random.uniform(-7, 7)}, pen);
  const double brightness = random.uniform(110, 255);
  const Tensor noise({kSize * kSize}, f64);
  random.fill_normal(noise, 0, random.uniform(5, 50));
  for (size_t i = 0; i < ink.size(); ++i)
    image[i] = static_cast<uint8_t>(std::clamp(brightness * ink[i] + noise.data<double>()[i], 0.0, 255.0));
}

}  // namespace

data::ImageDataset draw_digits(int64_t count, uint64_t seed) {
  check(count >= 1, "draw_digits", "{} pictures: want at least 1", count);
  data::ImageDataset dataset{"drawn digits", Tensor({count, kSize, kSize, 1}, u8), Tensor({count}, i64), {}};
  for (int digit = 0; digit < 10; ++digit) dataset.class_names.push_back(std::to_string(digit));
  uint8_t* images = dataset.images.mutable_data<uint8_t>();
  int64_t* labels = dataset.labels.mutable_data<int64_t>();
  parallel_for(count, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Generator random(seed, static_cast<uint64_t>(i));
      labels[i] = random.below(10);
      draw_digit(labels[i], random, images + i * kSize * kSize);
    }
  });
  return dataset;
}

}  // namespace examples
