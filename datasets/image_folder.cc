#include "norma/datasets/image_folder.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <mutex>

#include "norma/core/file.h"
#include "norma/core/parallel.h"
#include "norma/datasets/decode.h"

namespace norma::datasets {
namespace {

namespace fs = std::filesystem;

bool is_picture(const fs::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg";
}

}  // namespace

ImageFolder::ImageFolder(const std::string& folder, ImageFolderOptions options) : options_(options) {
  if (options_.side == 0) options_.side = options_.size;
  check(options_.size >= 0 && options_.side >= options_.size && options_.side <= 1 << 15, "ImageFolder",
        "size {}, side {}: want 0 <= size <= side <= 2^15", options_.size, options_.side);
  try {
    std::vector<fs::path> classes;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (entry.is_directory()) classes.push_back(entry.path());
    std::sort(classes.begin(), classes.end());
    for (const fs::path& of_class : classes) {
      const size_t before = files_.size();
      for (const fs::directory_entry& entry : fs::recursive_directory_iterator(of_class))
        if (is_picture(entry.path()) && entry.is_regular_file())
          files_.push_back({entry.path().string(), std::ssize(class_names_)});
      check(files_.size() > before, "ImageFolder", "no pictures in '{}'", of_class.string());
      std::sort(files_.begin() + static_cast<std::ptrdiff_t>(before), files_.end(),
                [](const File& a, const File& b) { return a.path < b.path; });
      class_names_.push_back(of_class.filename().string());
    }
  } catch (const fs::filesystem_error& error) {
    fail("ImageFolder", "{}", error.what());
  }
  check(!files_.empty(), "ImageFolder", "no folders of pictures in '{}'", folder);
}

const ImageFolder::File& ImageFolder::file(int64_t index) const {
  check(index >= 0 && index < size(), "ImageFolder", "no sample {} among {}", index, size());
  return files_[static_cast<size_t>(index)];
}

const std::string& ImageFolder::path(int64_t index) const { return file(index).path; }
int64_t ImageFolder::label(int64_t index) const { return file(index).label; }

data::Fields ImageFolder::get(int64_t index) const {
  constexpr size_t kLargest = size_t{1} << 30;
  const File& at = file(index);
  const Tensor picture = decode_picture(read_file(at.path, kLargest), at.path);
  return {options_.size > 0 ? resize_and_crop(picture, options_.side, options_.size) : picture,
          tensor<int64_t>({at.label}, {})};
}

data::ChannelStats ImageFolder::statistics() const {
  // How often each channel has each value: sums of counts are exact, in whatever order.
  std::array<std::array<int64_t, 256>, 3> counts{};
  std::mutex mutex;
  parallel_for(size(), 16, [&](int64_t begin, int64_t end) {
    std::array<std::array<int64_t, 256>, 3> own{};
    for (int64_t i = begin; i < end; ++i) {
      const Tensor picture = get(i)[0];
      const uint8_t* pixel = picture.data<uint8_t>();
      for (int64_t n = picture.numel() / 3; n > 0; --n)
        for (auto& count : own) ++count[*pixel++];
    }
    const std::lock_guard lock(mutex);
    for (size_t c = 0; c < 3; ++c)
      for (size_t byte = 0; byte < 256; ++byte) counts[c][byte] += own[c][byte];
  });
  return data::stats_of(counts);
}

}  // namespace norma::datasets
