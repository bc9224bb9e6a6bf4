// What the playground's page can set. Settings arrive as JSON from a page, which has them from a link that anybody can
// write: whatever it says, the result is settings within these limits or an error that names the one that is wrong.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "norma/nn/norm/norm.h"

namespace examples::playground {

using namespace norma;

enum class DataKind : uint8_t { digits, spirals, domains };
enum class NetworkKind : uint8_t { cnn, mlp };
enum class Activate : uint8_t { relu, sigmoid, tanh };
enum class InputScale : uint8_t { unit, large, standard };  // [0, 1]; [10, 100]; mean 0 and variance 1
enum class BatchOrder : uint8_t { shuffled, sorted };       // sorted: in runs of kRun samples of one class
enum class SamplesShare : uint8_t { whole, chunks, each, domains };
enum class PositionsShare : uint8_t { all, each };
enum class ChannelsShare : uint8_t { each, groups, all };

inline constexpr int64_t kRun = 8;

// Who shares a mean and a variance.
struct Sharing {
  SamplesShare samples = SamplesShare::whole;
  int64_t chunk = 8;  // samples, where they share in chunks
  PositionsShare positions = PositionsShare::all;
  ChannelsShare channels = ChannelsShare::each;
  int64_t groups = 4;     // where channels share in groups
  bool center = true;     // false: no mean is subtracted
  bool half = false;      // only the first half of the channels
  bool extended = false;  // the variance is that of all channels, each with its own mean (extended batch norm)
  bool tanh = false;      // no statistics: gamma tanh(a x) + beta (dynamic tanh)
  bool enabled = true;    // false: no norm
  bool operator==(const Sharing&) const = default;
};

struct Settings {
  // A change of one of these starts a new training.
  DataKind data = DataKind::digits;
  NetworkKind network = NetworkKind::cnn;
  int64_t depth = 3, width = 16;  // hidden layers, and the channels of each
  Activate activation = Activate::relu;
  InputScale input = InputScale::unit;
  BatchOrder order = BatchOrder::shuffled;
  int64_t seed = 1;

  // These take effect in the running one.
  Sharing sharing{};
  int64_t batch = 32;     // samples of a step
  double rate = 0.05;     // the learning rate
  double momentum = 0.9;  // of SGD
  double ema = 0.1;       // momentum of the population's moving average
  bool affine = true;     // whether gamma and beta are learned, else 1 and 0
  bool frozen = false;    // whether norms over samples use their population in training, too
  bool shifted = false;   // whether the test set is of another domain

  bool starts_anew(const Settings& next) const;  // whether `next` wants another training than this
};

// `json` has some of the settings, by the names above; the others keep their defaults. Throws norma::Error where it is
// no object, or has a key that is no setting, or a value that is out of range.
Settings parse_settings(const nlohmann::json& json);

}  // namespace examples::playground
