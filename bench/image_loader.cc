// How fast norma::datasets::ImageFolder is read, decoded, resized and normalized by a loader of some threads.
//
//   image_loader FOLDER --size 64 --batch 64 --threads 2       one JSON line: the seconds of each epoch but the first
//
// bench/peers/image_loader_torch.py runs it and torchvision's in turn.
#include <fmt/format.h>
#include <norma/datasets/image_folder.h>
#include <norma/norma.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

int main(int argc, char** argv) {
  using namespace norma;
  using Clock = std::chrono::steady_clock;
  std::string folder;
  int64_t size = 64, side = 0, batch = 64, epochs = 3;
  int threads = 2;
  CLI::App app("Times a loader of pictures in files.");
  app.add_option("folder", folder, "of a folder a class")->required();
  app.add_option("--size", size, "pictures become squares of so many pixels");
  app.add_option("--side", side, "the shorter side before they are cut; 0: as the size");
  app.add_option("--batch", batch);
  app.add_option("--threads", threads, "of the loader");
  app.add_option("--epochs", epochs, "timed, behind one that is not");
  CLI11_PARSE(app, argc, argv);
  set_num_threads(1);  // besides the loader's own
  const datasets::ImageFolder pictures(folder, {.size = size, .side = side});
  data::DataLoader loader(pictures, {.batch = batch,
                                     .shuffle = true,
                                     .threads = threads,
                                     .normalize = data::ChannelStats{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}});
  nlohmann::ordered_json result = {
      {"pictures", pictures.size()}, {"threads", threads}, {"seconds", nlohmann::json::array()}};
  double total = 0;
  for (int64_t epoch = 0; epoch <= epochs; ++epoch) {
    const Clock::time_point begin = Clock::now();
    for (const data::Batch& b : loader) total += b.images.at({0, 0, 0, 0}) + static_cast<double>(b.size());
    if (epoch > 0) result["seconds"].push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  result["checksum"] = total;
  fmt::print("{}\n", result.dump());
}
