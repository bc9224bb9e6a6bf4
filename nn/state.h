// A model's parameters and buffers, to and from safetensors files.
#pragma once

#include "norma/nn/module.h"

namespace norma::nn {

// How the tensors of a file are laid out: as norma keeps them, or as PyTorch's state_dict() of the same model does.
// Layout::torch converts, both ways:
// - Tensors of four axes go from channels-last to channels-first: the weights of convolutions, transposed ones too,
//   [O, KH, KW, I] <-> [O, I, KH, KW].
// - The features of a Linear that reads a flattened image go from [H, W, C] to [C, H, W] order, and those of one whose
//   output becomes an image too. Which they are is found by recording one forward pass (evaluation mode, zeros).
// - What is f64, as running statistics are, becomes f32.
enum class Layout { norma, torch };

struct StateOptions {
  Layout layout = Layout::norma;
  // Shape of one sample, [H, W, C], for that forward pass. Layout::torch wants it for models that have weights of
  // rank 2 besides ones of rank 4 or an nn::Flatten; without it, other models are taken to flatten no image.
  Shape input{};
};

// Atomic: whatever interrupts it, an older file stays whole.
void save(Module& model, const std::string& path, const StateOptions& options = {});

// The file may also be a checkpoint (checkpoint.h), of which the model is taken. Names that are missing or unknown and
// shapes that differ are all listed in one error, and the model is then as it was; f32 and f64 are converted. A file in
// norma's layout says so in its metadata, "layout": "norma"; one layout is not taken for the other.
void load(Module& model, const std::string& path, const StateOptions& options = {});

// What load does once the file is read: copies each value into the target of its name, or throws and copies none.
// `op` and `owner` ("the model") are for the error; `exact`: f32 and f64 do not fit each other.
void assign(std::string_view op, std::string_view owner, const NamedTensors& targets, const NamedTensors& values,
            bool exact = true);

}  // namespace norma::nn
