// ImageFolder: pictures in files, a folder a class, as torchvision's ImageFolder has them:
//
//   pets/cat/1.jpg    pets/cat/small/2.png    pets/dog/1.jpg    ->    classes "cat" and "dog", three samples
//
//   datasets::ImageFolder pets("pets", {.size = 64});
//   data::DataLoader loader(pets, {.shuffle = true, .threads = 4});  // decodes them, four batches at a time
#pragma once

#include "norma/nn/data/dataset.h"

namespace norma::datasets {

struct ImageFolderOptions {
  // Pictures become squares of so many pixels: scaled until the shorter side is `side`, then cut out of the middle (see
  // resize_and_crop). 0: they stay as they are, and should be of one size (or see Dataset::gather).
  int64_t size = 224;
  int64_t side = 0;  // 0: that of `size`
};

class ImageFolder : public data::Dataset {
 public:
  // Lists the files; they are read and decoded when a sample is asked for. Classes and, in each, files at any depth are
  // in the order of the bytes of their names; files that end otherwise than in .png, .jpg or .jpeg, of any case, are
  // left out. Errors: a folder that cannot be read or has no folders in it, a class without pictures, a size below 0, a
  // side below the size (see resize_and_crop).
  explicit ImageFolder(const std::string& folder, ImageFolderOptions options = {});

  int64_t size() const override { return std::ssize(files_); }
  // A picture u8 [H, W, 3] and its label i64 []. Errors name the file: it is damaged (see decode_picture), or gone.
  data::Fields get(int64_t index) const override;
  // Decodes every file, on the threads of the pool.
  data::ChannelStats statistics() const override;

  int64_t classes() const { return std::ssize(class_names_); }
  const std::vector<std::string>& class_names() const { return class_names_; }  // those of the folders
  const std::string& path(int64_t index) const;
  int64_t label(int64_t index) const;

 private:
  struct File {
    std::string path;
    int64_t label;
  };
  const File& file(int64_t index) const;

  ImageFolderOptions options_;
  std::vector<std::string> class_names_;
  std::vector<File> files_;
};

}  // namespace norma::datasets
