// A model's parameters and buffers, to and from safetensors files: norma's own, and those that PyTorch writes and
// reads. What a training run needs besides to go on is in checkpoint.h.
#pragma once

#include <concepts>

#include "norma/nn/module.h"

namespace norma::nn {

// How the tensors of a file are laid out: as norma has them, channels last, or as in the state_dict() of the same model
// in PyTorch. Layout::torch converts, both ways:
// - Tensors of four axes go from channels-last to channels-first: the weights of convolutions, transposed ones too,
//   [O, KH, KW, I] <-> [O, I, KH, KW].
// - The features of a Linear that reads a flattened image go from [H, W, C] to [C, H, W] order, and those of one whose
//   output becomes an image too; and what a norm between has for each of them. Which they are is found by recording one
//   forward pass of zeros in evaluation mode.
// - What is f64, as running_mean and running_var are, becomes f32.
enum class Layout { norma, torch };

// From the names in a file to those in a model: a function, or a list of both, with the other names as they are.
struct Rename {
  Rename(std::invocable<const std::string&> auto f) : function(std::move(f)) {}
  Rename(std::initializer_list<std::pair<const std::string, std::string>> names = {});
  std::function<std::string(const std::string& name)> function;
};

struct StateOptions {
  Layout layout = Layout::norma;
  // The shape of one sample, [H, W, C], for that forward pass. Layout::torch needs it for models that might flatten an
  // image: those with weights of rank 2 besides ones of rank 4 or an nn::Flatten.
  Shape input{};
  // What cannot be told from the pass: for the weight [out, in] of a Linear that reads several flattened images, or
  // such and other features, one after the other, the [H, W, C] of each, or [n] for n others:
  //   {.layout = Layout::torch, .input = {8, 8, 3}, .features = {{"head.weight", {{4, 4, 16}, {2, 2, 32}, {10}}}}}
  std::map<std::string, std::vector<Shape>> features{};

  // The rest is for load() alone; save() passes over it. Not strict: names that are only in the file or only in the
  // model are no error, but told by what load() returns; a shape that differs still is one.
  bool strict = true;
  // Only what the file has under names that begin so is read, and the model has it without: "backbone." Of a checkpoint
  // of several models, "critic/" is one.
  std::string prefix{};
  // Then the names become these; what becomes "" is left. An error are two that become the same.
  Rename rename{};
};

// What load() did, by names as the file has them but for those that are missing. Prints as a list of each.
struct LoadResult {
  std::vector<std::string> loaded, left, missing;
  std::string str() const;
};

// Atomic: whatever interrupts it, an older file stays whole. Errors: a file that cannot be written; with Layout::torch,
// no `input` where it is needed, or a Linear whose order of features cannot be told.
void save(Module& model, const std::string& path, const StateOptions& options = {});

// The file may also be a checkpoint (checkpoint.h), of which the model's part is read. f32 and f64 are converted to
// what the model has. Errors: what load_safetensors finds; another layout than options.layout (norma's own files say
// "layout": "norma" in their metadata); and, all in one list, names that are missing or unknown, shapes and dtypes that
// differ; a prefix with which no name begins, or nothing that fits. The model is then as it was.
//   fmt::print("{}\n", nn::load(model, "pretrained.safetensors", {.strict = false, .rename = {{"fc.weight", ""}}}));
LoadResult load(Module& model, const std::string& path, const StateOptions& options = {});

// Copies each value into the target of the same name, or throws that list of errors and copies none. Names under which
// the targets are one tensor want one value. `op` and `owner`
// ("the model") are for its words. exact: f32 and f64 are not converted, but an error.
void assign(std::string_view op, std::string_view owner, const NamedTensors& targets, const NamedTensors& values,
            bool exact = true);

}  // namespace norma::nn

template <>
struct fmt::formatter<norma::nn::LoadResult> : norma::Formatter<&norma::nn::LoadResult::str> {};
