#include "norma/nn/data/transforms.h"

#include "norma/core/memory.h"
#include "norma/core/parallel.h"

namespace norma::data {
namespace {

struct Size {
  int64_t h, w;
};

// What one thread does at least. So the loader's thread makes a small batch by itself, and leaves the thread pool to
// the network.
constexpr int64_t kGrainBytes = 1 << 18;

// The transform that makes pictures of their own pixels. draw(size, generator) is called for each picture, and returns
// a function of (y, x): the number y' w + x' of the pixel that comes to stand there, or -1 for a black one.
template <class Draw>
Transform rearrange(const char* op, Draw draw) {
  return [op, draw](const Tensor& images, const SampleKeys& keys) {
    check_images(op, images);
    check(std::ssize(keys.samples) == images.dim(0), op, "{} samples for images {}", keys.samples.size(),
          images.shape());
    const Size size{images.dim(1), images.dim(2)};
    const int64_t c = images.dim(3), bytes = size.h * size.w * c;
    const Tensor from = images.contiguous(), to = zeros_like(images);
    const uint8_t* in = from.data<uint8_t>();
    uint8_t* out = to.mutable_data<uint8_t>();
    parallel_for(images.dim(0), kGrainBytes / bytes, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Generator random = keys.generator(i);
        const auto source = draw(size, random);
        uint8_t* pixel = out + i * bytes;
        for (int64_t y = 0; y < size.h; ++y)
          for (int64_t x = 0; x < size.w; ++x, pixel += c)
            if (const int64_t k = source(y, x); k >= 0) std::copy_n(in + i * bytes + k * c, c, pixel);
      }
    });
    return to;
  };
}

}  // namespace

Generator SampleKeys::generator(int64_t i) const {
  Generator random;
  random.set_state({seed, static_cast<uint64_t>(epoch) << 40 | static_cast<uint64_t>(samples[i]),
                    static_cast<uint64_t>(place) << 32});
  return random;
}

Transform random_crop(int64_t padding, Padding with) {
  check(padding >= 0, "random_crop", "padding {} is negative", padding);
  return rearrange("random_crop", [=](Size size, Generator& random) {
    const bool reflects = with == Padding::reflect;
    check(!reflects || padding < std::min(size.h, size.w), "random_crop",
          "cannot reflect {} pixels of pictures of {} x {}", padding, size.h, size.w);
    const int64_t dy = random.below(2 * padding + 1) - padding, dx = random.below(2 * padding + 1) - padding;
    return [=](int64_t y, int64_t x) {
      const int64_t v = y + dy, u = x + dx;
      const auto mirrored = [](int64_t i, int64_t n) { return std::min(std::abs(i), 2 * (n - 1) - i); };
      if (reflects) return mirrored(v, size.h) * size.w + mirrored(u, size.w);
      return v >= 0 && v < size.h && u >= 0 && u < size.w ? v * size.w + u : -1;
    };
  });
}

Transform random_horizontal_flip(double p) {
  check(p >= 0 && p <= 1, "random_horizontal_flip", "{} is no probability", p);
  return rearrange("random_horizontal_flip", [=](Size size, Generator& random) {
    const bool flips = random.uniform() < p;
    return [=](int64_t y, int64_t x) { return y * size.w + (flips ? size.w - 1 - x : x); };
  });
}

Transform cutout(int64_t side) {
  check(side >= 1, "cutout", "a square of side {}: want at least 1", side);
  return rearrange("cutout", [=](Size size, Generator& random) {
    const int64_t top = random.below(size.h) - side / 2, left = random.below(size.w) - side / 2;
    return [=](int64_t y, int64_t x) {
      const bool cut = y >= top && y < top + side && x >= left && x < left + side;
      return cut ? -1 : y * size.w + x;
    };
  });
}

Tensor apply_transforms(std::span<const Transform> transforms, Tensor images, SampleKeys keys) {
  for (const Transform& transform : transforms) {
    images = transform(images, keys);
    ++keys.place;
  }
  return images;
}

Tensor to_float(const Tensor& images, const ChannelStats& stats) {
  check_images("to_float", images);
  const int64_t channels = images.dim(3);
  check(std::ssize(stats.mean) == channels && std::ssize(stats.deviation) == channels, "to_float",
        "{} means and {} deviations for images {}", stats.mean.size(), stats.deviation.size(), images.shape());
  PoolVector<std::array<float, 256>> table(channels);  // of each channel, by the byte: there are only 256
  for (int64_t c = 0; c < channels; ++c) {
    check(stats.deviation[c] > 0, "to_float", "deviation {} of channel {}: want more than 0", stats.deviation[c], c);
    for (int byte = 0; byte < 256; ++byte)
      table[c][byte] = static_cast<float>((byte / 255.0 - stats.mean[c]) / stats.deviation[c]);
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
