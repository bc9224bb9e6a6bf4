#include "examples/playground/engine.h"

#include <cmath>

#include "norma/nn/norm/norm_report.h"
#include "norma/nn/norm/population.h"
#include "norma/ops/reduce/cross_entropy.h"

namespace examples::playground {
namespace {

using Json = nlohmann::json;

constexpr size_t kLongestRequest = 10'000;  // bytes
constexpr int64_t kMostSteps = 1000;        // of a request
constexpr int64_t kShown = 10, kPointsShown = 300, kMapSide = 40;
constexpr int64_t kEstimated = 1000;  // samples that a population is estimated from

std::vector<int64_t> best_classes(const Tensor& logits) {
  const std::vector<float> values = logits.to_vector<float>();
  const auto classes = static_cast<size_t>(logits.dim(1));
  std::vector<int64_t> best;
  for (size_t i = 0; i < values.size(); i += classes) {
    const auto row = values.begin() + static_cast<std::ptrdiff_t>(i);
    best.push_back(std::max_element(row, row + static_cast<std::ptrdiff_t>(classes)) - row);
  }
  return best;
}

double count_right(const Tensor& logits, const Tensor& labels) {
  const std::vector<int64_t> best = best_classes(logits);
  double right = 0;
  for (size_t i = 0; i < best.size(); ++i) right += best[i] == labels.data<int64_t>()[i];
  return right;
}

Json finite(double x) { return std::isfinite(x) ? Json(x) : Json(); }

}  // namespace

Engine::Engine() { restart(); }

std::string Engine::answer(std::string_view request) {
  Json reply;
  try {
    check(request.size() <= kLongestRequest, "playground", "a request of {} bytes: at most {} are read", request.size(),
          kLongestRequest);
    reply = perform(Json::parse(request));
  } catch (const Json::exception& e) {
    reply = {{"error", fmt::format("[playground] the request is not what it should be: {}", e.what())}};
  } catch (const std::exception& e) {
    reply = {{"error", e.what()}};
  }
  return reply.dump(-1, ' ', true, Json::error_handler_t::replace);
}

Json Engine::perform(const Json& request) {
  const auto what = request.at("do").get<std::string>();
  if (what == "configure") return configure(parse_settings(request.at("settings"))) ? pictures() : Json::object();
  if (what == "restart") return restart(), pictures();
  if (what == "step") {
    const auto count = request.at("count").get<double>();
    check(count >= 0 && count <= kMostSteps, "playground", "{} steps: want 0 to {}", count, kMostSteps);
    return step(static_cast<int64_t>(count));
  }
  if (what == "measure") return measure();
  if (what == "report") return report();
  if (what == "precise") return {{"layers", estimate(data_.train)}};
  if (what == "adapt") return {{"layers", estimate(data_.shifted_train)}};
  fail("playground", "there is nothing called '{}' to do", what.substr(0, 40));
}

bool Engine::configure(const Settings& next) {
  norm_settings(next, next.width);  // throws before anything is changed
  const Settings before = std::exchange(settings_, next);
  if (before.starts_anew(next)) return restart(), true;
  if (network_->apply(next) || before.momentum != next.momentum) make_optimizer();
  optimizer_->set_lr(next.rate);
  if (before.shifted != next.shifted) tally_ = {};
  return false;
}

void Engine::restart() {
  const auto seed = static_cast<uint64_t>(settings_.seed);
  make_data_sets();
  manual_seed(seed);
  network_ = std::make_unique<Network>(settings_, data_.train.x.shape().without(0), data_.classes);
  network_->apply(settings_);
  make_optimizer();
  random_ = Generator(seed, 2);
  order_.clear();
  next_ = 0, step_ = 0, epoch_ = 0, diverged_ = false, tally_ = {}, looked_ = Json::array();
}

void Engine::make_data_sets() {
  const auto key = [](const Settings& s) { return std::tuple(s.data, s.input, s.order, s.seed); };
  if (data_of_ && key(*data_of_) == key(settings_)) return;
  data_of_.reset();
  data_ = make_data(settings_.data, settings_.input, settings_.order, static_cast<uint64_t>(settings_.seed));
  data_of_ = settings_;
}

void Engine::make_optimizer() {
  optimizer_.emplace(nn::Parameters(*network_), nn::SGDOptions{.lr = settings_.rate, .momentum = settings_.momentum});
}

Part Engine::next_batch() {
  const auto size = static_cast<size_t>(std::min(settings_.batch, data_.train.labels.numel()));
  if (next_ + size > order_.size()) {  // what is left over of an epoch is left out
    epoch_ += !order_.empty();
    order_ = draw_order(data_.train.labels, settings_.order, random_);
    next_ = 0;
  }
  const auto begin = order_.begin() + static_cast<std::ptrdiff_t>(next_);
  next_ += size;
  return select(data_.train, {begin, begin + static_cast<std::ptrdiff_t>(size)});
}

Json Engine::step(int64_t count) {
  for (int64_t i = 0; i < count && !diverged_; ++i) one_step(i + 1 == count);
  return {{"step", step_}, {"epoch", epoch_}, {"diverged", diverged_}};
}

void Engine::one_step(bool look) {
  const Part batch = next_batch();
  network_->train();
  nn::set_domains(*network_, batch.domains);
  Tape tape;
  std::vector<Look> looks;
  const Tensor logits = network_->forward(batch.x, look ? &looks : nullptr);
  const Tensor loss = cross_entropy(logits, batch.labels);
  for (const Look& l : looks) tape.watch(l.normalized);
  tape.backward(loss);
  if (look) {
    looked_ = Json::array();
    for (size_t i = 0; i < looks.size(); ++i) {
      const Hidden& layer = *network_->hidden[i];
      const Tensor gradient = tape.grad_of(looks[i].normalized);
      looked_.push_back({{"values", histogram(looks[i].normalized, layer.activation)},
                         {"gradient", gradient.defined() ? gradient_histogram(gradient) : Json()},
                         {"batch", batch_statistics(layer.norm, looks[i].received)}});
    }
  }
  optimizer_->step();
  optimizer_->zero_grad();
  ++step_;
  diverged_ = !std::isfinite(loss.item());
  tally_.loss += loss.item() * double(batch.labels.numel());
  tally_.right += count_right(logits, batch.labels);
  tally_.samples += double(batch.labels.numel());
}

int64_t Engine::normalization_batch() const {
  const Sharing& by = settings_.sharing;
  return by.samples == SamplesShare::chunks ? std::min(by.chunk, settings_.batch) : settings_.batch;
}

Engine::Score Engine::evaluate(const Part& part, int64_t batch) {
  const nn::EvalMode evaluation(*network_);
  const int64_t all = part.labels.numel();
  Score score;
  double samples = 0;
  for (int64_t begin = 0; begin < all; begin += batch) {
    const int64_t end = std::min(all, begin + batch);
    if (end - begin < batch && begin > 0) break;  // so that all mini-batches are of one size
    nn::set_domains(*network_, view::slice(part.domains, 0, begin, end));
    const Tensor logits = network_->forward(view::slice(part.x, 0, begin, end));
    const Tensor labels = view::slice(part.labels, 0, begin, end).contiguous();
    score.loss += cross_entropy(logits, labels).item() * double(end - begin);
    score.accuracy += count_right(logits, labels);
    samples += double(end - begin);
  }
  return {score.loss / samples, score.accuracy / samples};
}

Json Engine::evaluate_both() {
  const auto json = [](const Score& s) { return Json{{"loss", finite(s.loss)}, {"accuracy", finite(s.accuracy)}}; };
  const auto by = [&](nn::EvalStatistics statistics) {
    nn::for_each_norm(*network_, [&](const std::string&, nn::Norm& norm) { norm.evaluation = statistics; });
  };
  const Json population = json(evaluate(test(), 100));
  if (!has_population() || settings_.frozen) return {{"population", population}, {"mini_batch", nullptr}};
  by(nn::EvalStatistics::mini_batch);
  Json mini_batch;
  try {
    mini_batch = json(evaluate(test(), std::min<int64_t>(normalization_batch(), 100)));
  } catch (const Error&) {  // of a mini-batch of a single value
  }
  by(nn::EvalStatistics::population);
  return {{"population", population}, {"mini_batch", mini_batch}};
}

Json Engine::measure() {
  Json state = evaluate_both();
  const double n = tally_.samples;
  state["step"] = step_, state["epoch"] = epoch_, state["diverged"] = diverged_;
  state["train"] = n > 0 ? Json{{"loss", finite(tally_.loss / n)}, {"accuracy", tally_.right / n}} : Json();
  tally_ = {};
  state["layers"] = layers();
  if (settings_.data == DataKind::spirals) state["map"] = map();
  else state["guesses"] = guesses();
  return state;
}

Json Engine::layers() const {
  Json list = looked_;
  for (size_t i = 0; i < list.size(); ++i) {
    const nn::Norm& norm = network_->hidden[i]->norm;
    list[i]["type"] = norm.type();
    list[i]["population"] = population_statistics(norm);
    list[i]["gamma"] = norm.identity ? Json() : numbers(norm.weight);
    list[i]["beta"] = norm.identity ? Json() : numbers(norm.bias);
  }
  return list;
}

data::DataLoader Engine::loader(const Part& part) const {
  return {data::TensorDataset({part.x, part.labels}),
          {.batch = settings_.batch, .shuffle = settings_.order == BatchOrder::shuffled, .prefetch = 0}};
}

Json Engine::report() {
  const bool apart = settings_.sharing.samples == SamplesShare::domains;
  const nn::NormReport report = nn::norm_report(*network_, loader(data_.train),
                                                {.samples = std::clamp<int64_t>(8 * settings_.batch, 64, 512),
                                                 .domains = apart ? data_.train.domains : Tensor()});
  Json list = Json::array();
  for (const nn::NormReport::Layer& l : report.layers) {
    const bool known = std::isfinite(l.kl) && std::isfinite(l.noise) && std::isfinite(l.lag);
    list.push_back({{"kl", finite(l.kl)},
                    {"noise", finite(l.noise)},
                    {"lag", finite(l.lag)},
                    {"inconsistent", !known || l.inconsistent()},
                    {"too_small", known && l.batch_too_small()},
                    {"stale", known && l.stale()},
                    {"not_iid", known && l.not_iid()},
                    {"fair", known && l.kl > nn::kSmallKl}});
  }
  return {{"layers", list}};
}

// Frozen layers, too: that is asked for.
int64_t Engine::estimate(const Part& part) {
  const bool apart = settings_.sharing.samples == SamplesShare::domains;
  const int64_t count =
      nn::precise_bn(*network_, loader(part),
                     {.samples = kEstimated, .batch = 250, .frozen = true, .domains = apart ? part.domains : Tensor()});
  check(count > 0, "playground", "no layer has a population: these norms do not share over samples");
  return count;
}

// What the test set looks like: pictures, row by row, of u8; or points with their labels.
Json Engine::pictures() const {
  const bool points = settings_.data == DataKind::spirals;
  const int64_t count = points ? kPointsShown : kShown;
  const auto raw = [&](const Part& part) {  // as it was before it was scaled
    Json list = Json::array();
    for (const double v : view::slice(part.x, 0, 0, count).to_vector<double>()) {
      const double x = (v - data_.offset) / data_.factor;
      if (points) list.push_back(std::round(1e3 * x) / 1e3);
      else list.push_back(static_cast<int>(std::clamp(255 * x, 0.0, 255.0)));
    }
    return list;
  };
  return {{"kind", points ? "points" : "pictures"},
          {"x", raw(data_.test)},
          {"shifted", raw(data_.shifted_test)},
          {"labels", view::slice(data_.test.labels, 0, 0, count).to_vector<int64_t>()}};
}

Json Engine::guesses() {
  const nn::EvalMode evaluation(*network_);
  nn::set_domains(*network_, view::slice(test().domains, 0, 0, kShown));
  return best_classes(network_->forward(view::slice(test().x, 0, 0, kShown)));
}

// The share of class 1 in what the network says of the points of a square, row by row.
Json Engine::map() {
  const nn::EvalMode evaluation(*network_);
  const Tensor at({kMapSide * kMapSide, 2});
  for (int64_t i = 0; i < kMapSide * kMapSide; ++i)
    for (const auto& [axis, place] : {std::pair(0, i % kMapSide), {1, i / kMapSide}})
      at.mutable_data<float>()[2 * i + axis] =
          float(data_.offset + data_.factor * (double(place) + 0.5) / double(kMapSide));
  Json list = Json::array();
  const std::vector<float> shares = softmax(network_->forward(at)).to_vector<float>();
  for (size_t i = 1; i < shares.size(); i += 2) list.push_back(std::round(100 * shares[i]) / 100);
  return list;
}

}  // namespace examples::playground
