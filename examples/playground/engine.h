// The playground's engine: a training that goes on step by step, whose settings change while it does, and that tells
// how it stands. Plain C++ over the library, without threads, files or a clock, so that it runs in a page's worker as
// it does in a test. Requests and replies are JSON texts.
#pragma once

#include "examples/playground/data.h"
#include "examples/playground/measure.h"
#include "norma/nn/data/loader.h"
#include "norma/nn/optim/sgd.h"

namespace examples::playground {

class Engine {
 public:
  Engine();

  // Answers a request, and whatever the request is does not throw:
  //   {"do": "configure", "settings": {...}}  takes the settings (parse_settings); -> what `pictures` gives, if a new
  //                                           training has begun
  //   {"do": "restart"}                       begins anew; -> what `pictures` gives
  //   {"do": "step", "count": 5}              trains; -> step, and whether the training has diverged
  //   {"do": "measure"}                       -> losses and accuracies, and the layers
  //   {"do": "report"}                        -> norm_report's verdicts, by layer
  //   {"do": "precise"}, {"do": "adapt"}      estimates the population anew, from the training data or from the shifted
  //                                           domain's (without labels); -> the number of layers
  // What is wrong comes back as {"error": "..."}, and then nothing has changed but, of a `step`, some steps made
  // before.
  std::string answer(std::string_view request);

 private:
  using Json = nlohmann::json;

  struct Score {
    double loss = 0, accuracy = 0;
  };
  struct Tally {  // of the steps since the last measurement
    double loss = 0, right = 0, samples = 0;
  };

  Json perform(const Json& request);
  bool configure(const Settings& next);  // whether a new training has begun
  void restart();
  void make_data_sets();  // unless they are there already
  void make_optimizer();
  Json step(int64_t count);
  void one_step(bool look);
  Part next_batch();
  Json measure();
  Json layers() const;
  Json report();
  int64_t estimate(const Part& part);
  Score evaluate(const Part& part, int64_t batch);
  Json evaluate_both();
  Json pictures() const;
  Json guesses();
  Json map();
  int64_t normalization_batch() const;
  data::DataLoader loader(const Part& part) const;
  const Part& test() const { return settings_.shifted ? data_.shifted_test : data_.test; }
  bool has_population() const { return network_->hidden[0]->norm.has_population(); }

  Settings settings_;
  DataSets data_;
  std::optional<Settings> data_of_;  // for which these were made
  std::unique_ptr<Network> network_;
  std::optional<nn::SGD> optimizer_;
  Generator random_;
  std::vector<int64_t> order_;  // of the epoch
  size_t next_ = 0;             // of it
  int64_t step_ = 0, epoch_ = 0;
  bool diverged_ = false;
  Tally tally_;
  Json looked_;  // the layers, as the last step that was looked at had them
};

}  // namespace examples::playground
