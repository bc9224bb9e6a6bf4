#include "examples/playground/settings.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace examples::playground {
namespace {

using Json = nlohmann::json;

// Takes settings out of a JSON object, and knows which were taken.
class Reader {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    check(json.is_object(), where_, "wants an object of settings, not {}", shown(json));
  }

  template <class Enum, size_t N>
  void choice(const char* key, const char* const (&names)[N], Enum& value) {
    const Json* found = find(key);
    if (!found) return;
    std::string all;
    for (size_t i = 0; i < N; ++i) {
      if (*found == names[i]) return void(value = static_cast<Enum>(i));
      all += (i > 0 ? ", " : "") + std::string(names[i]);
    }
    fail(where_, "{} is {}: want one of {}", key, shown(*found), all);
  }
  void number(const char* key, double low, double high, double& value) {
    const Json* found = find(key);
    if (!found) return;
    const double x = found->is_number() ? found->get<double>() : NAN;
    check(x >= low && x <= high, where_, "{} is {}: want a number from {:g} to {:g}", key, shown(*found), low, high);
    value = x;
  }
  void integer(const char* key, int64_t low, int64_t high, int64_t& value) {
    double x = static_cast<double>(value);
    number(key, static_cast<double>(low), static_cast<double>(high), x);
    check(x == std::floor(x), where_, "{} is {:g}: want a whole number", key, x);
    value = static_cast<int64_t>(x);
  }
  void flag(const char* key, bool& value) {
    const Json* found = find(key);
    if (!found) return;
    check(found->is_boolean(), where_, "{} is {}: want true or false", key, shown(*found));
    value = found->get<bool>();
  }
  const Json* find(const char* key) {
    known_.insert(key);
    const auto found = json_.find(key);
    return found == json_.end() ? nullptr : &*found;
  }
  void finish() const {
    for (const auto& [key, _] : json_.items())
      check(known_.contains(key), where_, "there is no setting {}", shown(key));
  }

 private:
  // As in JSON, but not at any length.
  static std::string shown(const Json& value) {
    const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return text.size() <= 40 ? text : text.substr(0, 40) + "...";
  }

  const Json& json_;
  std::string where_;
  std::set<std::string> known_;
};

Sharing parse_sharing(const Json& json) {
  Sharing s;
  Reader reader(json, "sharing");
  reader.choice("samples", {"whole", "chunks", "each", "domains"}, s.samples);
  reader.integer("chunk", 1, 256, s.chunk);
  reader.choice("positions", {"all", "each"}, s.positions);
  reader.choice("channels", {"each", "groups", "all"}, s.channels);
  reader.integer("groups", 1, 64, s.groups);
  reader.flag("center", s.center);
  reader.flag("half", s.half);
  reader.flag("extended", s.extended);
  reader.flag("tanh", s.tanh);
  reader.flag("enabled", s.enabled);
  reader.finish();
  return s;
}

}  // namespace

Settings parse_settings(const Json& json) {
  Settings s;
  Reader reader(json, "settings");
  reader.choice("data", {"digits", "spirals", "domains"}, s.data);
  reader.choice("network", {"cnn", "mlp"}, s.network);
  reader.integer("depth", 1, 8, s.depth);
  reader.integer("width", 2, 64, s.width);
  reader.choice("activation", {"relu", "sigmoid", "tanh"}, s.activation);
  reader.choice("input", {"unit", "large", "standard"}, s.input);
  reader.choice("order", {"shuffled", "sorted"}, s.order);
  reader.integer("seed", 0, 1'000'000, s.seed);
  if (const Json* sharing = reader.find("sharing")) s.sharing = parse_sharing(*sharing);
  reader.integer("batch", 1, 256, s.batch);
  reader.number("rate", 1e-6, 1e6, s.rate);
  reader.number("momentum", 0, 0.999, s.momentum);
  reader.number("ema", 0, 1, s.ema);
  reader.flag("affine", s.affine);
  reader.flag("frozen", s.frozen);
  reader.flag("shifted", s.shifted);
  reader.finish();
  check(s.network == NetworkKind::mlp || s.data != DataKind::spirals, "settings",
        "a point of the spirals has no pixels for a CNN to look at: choose an MLP");
  check(s.sharing.samples != SamplesShare::domains || s.data == DataKind::domains, "settings",
        "this data has no domains: choose the set with two of them");
  return s;
}

bool Settings::starts_anew(const Settings& next) const {
  const auto key = [](const Settings& s) {
    return std::tuple(s.data, s.network, s.depth, s.width, s.activation, s.input, s.order, s.seed);
  };
  return key(*this) != key(next);
}

}  // namespace examples::playground
