// Shows what a network that mnist has trained says to a few test pictures.
//
//   infer net.safetensors                  the first eight
//   infer net.safetensors --wrong --count 20 --png wrong.png
#include <fmt/ranges.h>
#include <norma/norma.h>

#include <nlohmann/json.hpp>

#include "examples/common/find_data.h"
#include "examples/common/norm_options.h"
#include "examples/common/picture.h"
#include "examples/common/program.h"
#include "examples/mnist/model.h"

namespace examples {
namespace {

using namespace norma;
using namespace norma::data;

struct Options {
  std::string file, data, png;
  bool synthetic = false, wrong = false;
  int64_t count = 8, first = 0;
};

int run(const Options& options) {
  // The network as it was saved
  const TensorFile file = load_safetensors(options.file);
  const auto text = file.metadata.find("about");
  check(text != file.metadata.end(), "infer", "'{}' was not written by mnist --save", options.file);
  const nlohmann::json about = nlohmann::json::parse(text->second);
  const Shape image(std::span<const int64_t>(about.at("image").get<std::vector<int64_t>>()));
  const std::vector<std::string> classes = about.at("classes");
  const ChannelStats stats{about.at("mean"), about.at("deviation")};
  NormOptions norms;
  norms.norm = about.at("norm");
  norms.eval_stats = about.at("eval_stats");
  const NormChoice norm = parse_norm(norms.norm);
  SmallCnn model(image, static_cast<int64_t>(classes.size()), norm.layer, norm.standardized);
  norms.configure(model);
  nn::load(model, options.file);
  model.eval();

  // Pictures of the kind that it knows
  const bool drawn = options.data.empty() && about.at("data") == "drawn digits";
  const Data data = find_data({.folder = options.data, .synthetic = options.synthetic || drawn}, {DataFormat::mnist});
  const ImageDataset& test = data.test;
  check(test.images.shape().without(0) == image && test.class_names == classes, "infer",
        "'{}' knows pictures {} of {}, those of {} are {} of {}", options.file, image, fmt::join(classes, ", "),
        data.origin, test.images.shape().without(0), fmt::join(test.class_names, ", "));
  check(options.first < test.size(), "infer", "there are {} test pictures, no number {}", test.size(), options.first);

  // What it says of them
  std::vector<Picture> pictures;
  int64_t seen = 0, right = 0;
  for (int64_t i = options.first; i < test.size() && std::ssize(pictures) < options.count; ++i, ++seen) {
    const Tensor pixels = view::slice(test.images, 0, i, i + 1);
    const Picture picture =
        labelled(pixels, model(to_float(pixels, stats)), view::slice(test.labels, 0, i, i + 1), classes)[0];
    right += picture.good;
    if (!options.wrong || !picture.good) pictures.push_back(picture);
  }
  fmt::print("{}\n\n{}{} of {} right\n", data.origin, draw(pictures), right, seen);
  if (!options.png.empty()) write_png(options.png, pictures);
  return 0;
}

}  // namespace
}  // namespace examples

int main(int argc, char** argv) {
  examples::Options options;
  CLI::App app("Shows what a network that mnist has trained says to a few test pictures.");
  app.option_defaults()->always_capture_default()->take_last();
  app.add_option("file", options.file, "weights, written by mnist --save")->required();
  app.add_option("--data", options.data, "folder of the data set; default: as mnist");
  app.add_flag("--synthetic", options.synthetic, "drawn digits")->excludes("--data");
  app.add_option("--count", options.count, "pictures to show")->check(examples::at_least(1));
  app.add_option("--first", options.first, "number of the first test picture")->check(examples::at_least(0));
  app.add_flag("--wrong", options.wrong, "only those it gets wrong");
  app.add_option("--png", options.png, "write them to this file as well, with what it says");
  return examples::run_program(app, argc, argv, [&] { return examples::run(options); });
}
