// Transforms: what is done to pictures between the data set and the network, on the CPU. A random one draws from a
// stream of its own for each (seed, epoch, sample, place in the list), so that a picture comes out the same whatever
// batch it is in and however many threads work.
//
// Of samples with several pictures, as in segmentation, each transform gets one field after the other with the same
// keys, hence the same draws: a mask is shifted and mirrored as its picture is. A transform that is not for masks, of
// colors or like cutout, returns its input where keys.field is not 0.
#pragma once

#include <functional>
#include <span>

#include "norma/core/random.h"
#include "norma/nn/data/dataset.h"

namespace norma::data {

// Says which samples of the data set a batch holds, and in which epoch: what random transforms draw by.
struct SampleKeys {
  uint64_t seed = 0;
  int64_t epoch = 0;  // below 2^23
  // [B], each below 2^40. Where a sampler chooses, a sample may come several times: then the places in the epoch, so
  // that each time has draws of its own.
  std::span<const int64_t> samples{};
  int64_t place = 0;  // of the transform in its list
  int64_t field = 0;  // of the sample, which the pictures are: 0, or a mask's; no draw depends on it

  Generator generator(int64_t i) const;  // the stream for samples[i]
};

// Takes and returns u8 [B, H, W, C] on the CPU, and may change H and W; must not write into its input. keys.samples has
// B entries.
using Transform = std::function<Tensor(const Tensor& images, const SampleKeys& keys)>;

// What random_crop pads with: black, or the picture's mirror image about its outermost pixels.
enum class Padding { black, reflect };

// Shifts by up to `padding` pixels, evenly, along both axes: a picture padded all around, then cropped to its former
// size. Black frames change the population of batch norms, and pictures in evaluation have none. Errors: a padding
// below 0 or above kMaxStep (2^31 - 1); to reflect, pictures not larger than the padding.
Transform random_crop(int64_t padding, Padding with = Padding::black);

// Swaps left and right, with probability p. Error: p outside of [0, 1].
Transform random_horizontal_flip(double p = 0.5);

// Blackens a square of size x size pixels around a random pixel; what lies outside the picture is cut off. Masks stay
// as they are: they say what is hidden. Error: a size below 1. DeVries and Taylor, "Improved regularization of
// convolutional neural networks with cutout", 2017.
Transform cutout(int64_t size);

// Runs the transforms one after the other, each with its place in keys, on each of a batch's fields that are pictures:
// field 0, u8 [B, H, W, C], and the masks, which have its H and W. Fields of other shapes stay as they are. Errors: a
// transform that is empty, or returns something else than a Transform does; pictures of another size than field 0's, a
// field of that size which is no mask u8 [B, H, W, C].
void apply_transforms(std::span<const Transform> transforms, Fields& fields, SampleKeys keys);

// (x / 255 - mean[c]) / deviation[c]: u8 [B, H, W, C] -> f32 of the same shape. Errors: stats of another number of
// channels, or not finite; a deviation that is not above 0.
Tensor to_float(const Tensor& images, const ChannelStats& stats);

}  // namespace norma::data
