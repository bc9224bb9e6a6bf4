// CIFAR's binary format (Krizhevsky, "Learning multiple layers of features from tiny images", 2009): records of one
// label byte (CIFAR-10) or two (CIFAR-100: coarse, then fine) and 32 x 32 pixels of red, then green, then blue, and
// nothing else, no header either. Files are taken as hostile: sizes are checked before anything is allocated.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "norma/nn/data/dataset.h"

namespace norma::datasets {

struct CifarRecords {
  Tensor images;  // u8 [N, 32, 32, 3]
  Tensor labels;  // i64 [N]: of CIFAR-100, the fine ones
};

// The records of one file. classes: 10 or 100, which says how many label bytes there are. Errors name the file and the
// offset: a size that is not a whole number of records, or none at all; a label that has no class.
CifarRecords parse_cifar(std::span<const std::byte> bytes, int64_t classes, const std::string& name);

// The classes of the data set in this folder, by the files that it holds: 10 (`test_batch.bin`), 100 (`test.bin`), else
// 0.
int64_t cifar_classes(const std::string& folder);

// Reads `data_batch_1.bin` to `data_batch_5.bin`, or `test_batch.bin`; of CIFAR-100 `train.bin` or `test.bin`. The
// classes are named as `batches.meta.txt` or `fine_label_names.txt` says, one a line; without it "0", "1", ... The data
// set is named "CIFAR-10" or "CIFAR-100" in a folder of the official name, else as the folder. Errors: a file that is
// missing or damaged; sizes that do not go together: in both sets there are five times as many pictures to train with
// as to test, and so a file of which a part is missing is found even where whole records are left; names that are not
// one for each class.
data::ImageDataset load_cifar_folder(const std::string& folder, bool train);

}  // namespace norma::datasets
