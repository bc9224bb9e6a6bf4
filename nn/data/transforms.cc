#include "norma/nn/data/transforms.h"

#include <cmath>

#include "norma/core/memory.h"
#include "norma/core/parallel.h"

namespace norma::data {
namespace {

struct Size {
  int64_t h, w, c;
  int64_t bytes() const { return h * w * c; }
};

// What one thread does at least. So the loader's thread makes a small batch by itself, and leaves the thread pool to
// the network.
constexpr int64_t kGrainBytes = 1 << 18;

// The transform that calls f(from, to, size, generator) for each picture; `to` is uninitialised.
Transform each_image(const char* op, auto f) {
  return [op, f](const Tensor& images, const SampleKeys& keys) {
    check_images(op, images);
    check(std::ssize(keys.samples) == images.dim(0), op, "{} samples for {}", keys.samples.size(), images.shape());
    const Size size{images.dim(1), images.dim(2), images.dim(3)};
    const Tensor from = images.contiguous(), to(images.shape(), u8);
    const uint8_t* in = from.data<uint8_t>();
    uint8_t* out = to.mutable_data<uint8_t>();
    parallel_each(images.dim(0), kGrainBytes / size.bytes(), [&](int64_t i) {
      Generator random = keys.generator(i);
      f(in + i * size.bytes(), out + i * size.bytes(), size, random);
    });
    return to;
  };
}

}  // namespace

Generator SampleKeys::generator(int64_t i) const {
  check(i >= 0 && i < std::ssize(samples), "SampleKeys", "no sample {} among {}", i, samples.size());
  Generator random;
  random.set_state({seed, static_cast<uint64_t>(epoch) << 40 | static_cast<uint64_t>(samples[i]),
                    static_cast<uint64_t>(place) << 32});
  return random;
}

Transform random_crop(int64_t padding, Padding with) {
  check(padding >= 0 && padding <= kMaxStep, "random_crop", "padding {}: want 0 ... {}", padding, kMaxStep);
  return each_image("random_crop", [=](const uint8_t* from, uint8_t* to, Size size, Generator& random) {
    const bool reflects = with == Padding::reflect;
    check(!reflects || padding < std::min(size.h, size.w), "random_crop",
          "cannot reflect {} pixels of pictures of {} x {}", padding, size.h, size.w);
    const int64_t dy = random.below(2 * padding + 1) - padding, dx = random.below(2 * padding + 1) - padding;
    const int64_t left = std::clamp<int64_t>(-dx, 0, size.w), right = std::clamp<int64_t>(size.w - dx, left, size.w);
    const auto inside = [](int64_t i, int64_t n) { return std::min(std::abs(i), 2 * (n - 1) - i); };
    if (!reflects) std::fill_n(to, size.bytes(), 0);
    for (int64_t y = 0; y < size.h; ++y, to += size.w * size.c) {
      const int64_t v = reflects ? inside(y + dy, size.h) : y + dy;
      if (v < 0 || v >= size.h) continue;
      const uint8_t* row = from + v * size.w * size.c;
      if (left < right) std::copy(row + (left + dx) * size.c, row + (right + dx) * size.c, to + left * size.c);
      if (!reflects) continue;
      for (int64_t x = 0; x < size.w; ++x)
        if (x < left || x >= right) std::copy_n(row + inside(x + dx, size.w) * size.c, size.c, to + x * size.c);
    }
  });
}

Transform random_horizontal_flip(double p) {
  check(p >= 0 && p <= 1, "random_horizontal_flip", "{} is no probability", p);
  return each_image("random_horizontal_flip", [=](const uint8_t* from, uint8_t* to, Size size, Generator& random) {
    if (random.uniform() >= p) return void(std::copy_n(from, size.bytes(), to));
    for (int64_t y = 0; y < size.h; ++y)
      for (int64_t x = 0; x < size.w; ++x, to += size.c)
        std::copy_n(from + (y * size.w + size.w - 1 - x) * size.c, size.c, to);
  });
}

Transform cutout(int64_t side) {
  check(side >= 1, "cutout", "a square of side {}: want at least 1", side);
  const Transform transform = each_image("cutout", [=](const uint8_t* from, uint8_t* to, Size size, Generator& random) {
    std::copy_n(from, size.bytes(), to);
    const int64_t top = random.below(size.h) - side / 2, left = random.below(size.w) - side / 2;
    const int64_t begin = std::max<int64_t>(left, 0), end = std::min(left + side, size.w);
    for (int64_t y = std::max<int64_t>(top, 0); y < std::min(top + side, size.h); ++y)
      std::fill_n(to + (y * size.w + begin) * size.c, (end - begin) * size.c, 0);
  });
  return [transform](const Tensor& x, const SampleKeys& keys) { return keys.field == 0 ? transform(x, keys) : x; };
}

void apply_transforms(std::span<const Transform> transforms, Fields& fields, SampleKeys keys) {
  const Shape images = fields.empty() ? Shape{} : fields[0].shape();
  for (; !transforms.empty() && keys.field < std::ssize(fields); ++keys.field) {
    Tensor& x = fields[keys.field];
    const bool fits = x.rank() >= 3 && x.dim(1) == images[1] && x.dim(2) == images[2];
    const bool is_picture = x.dtype() == u8 && x.rank() == 4;
    check(fits == is_picture, "transforms", "field {} is {} ({}) beside pictures {}: masks are u8 [{}, {}, {}, C]",
          keys.field, x.shape(), x.dtype(), images, images[0], images[1], images[2]);
    for (keys.place = 0; is_picture && keys.place < std::ssize(transforms); ++keys.place) {
      const Transform& transform = transforms[keys.place];
      check(transform != nullptr, "transforms", "number {} of the list is an empty function", keys.place);
      const Tensor made = transform(x, keys);
      check(made.defined(), "transforms", "number {} of the list returned an undefined tensor for pictures {}",
            keys.place, x.shape());
      check(made.dtype() == u8 && made.rank() == 4 && made.numel() > 0 && made.dim(0) == x.dim(0) &&
                made.device().is_cpu(),
            "transforms",
            "number {} of the list returned {} ({}, {}) for pictures {}: want u8 [{}, H, W, C] on the CPU", keys.place,
            made.shape(), made.dtype(), made.device(), x.shape(), x.dim(0));
      x = made;
    }
  }
}

Tensor to_float(const Tensor& images, const ChannelStats& stats) {
  check_images("to_float", images);
  const int64_t channels = images.dim(3);
  check(std::ssize(stats.mean) == channels && std::ssize(stats.deviation) == channels, "to_float",
        "{} means and {} deviations for images {}", stats.mean.size(), stats.deviation.size(), images.shape());
  PoolVector<std::array<float, 256>> table(channels);  // of each channel, by the byte: there are only 256
  for (int64_t c = 0; c < channels; ++c) {
    const double mean = stats.mean[c], deviation = stats.deviation[c];
    check(std::isfinite(mean) && std::isfinite(deviation) && deviation > 0, "to_float",
          "mean {} and deviation {} of channel {}: want numbers, and a deviation of more than 0", mean, deviation, c);
    for (int byte = 0; byte < 256; ++byte) table[c][byte] = static_cast<float>((byte / 255.0 - mean) / deviation);
  }
  const Tensor from = images.contiguous(), to(images.shape(), f32);
  const uint8_t* in = from.data<uint8_t>();
  float* out = to.mutable_data<float>();
  parallel_for(images.numel() / channels, kGrainBytes / channels, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * channels; i < end * channels; i += channels)
      for (int64_t c = 0; c < channels; ++c) out[i + c] = table[c][in[i + c]];
  });
  return to;
}

}  // namespace norma::data
