// safetensors files, mutated.
#include "tests/fuzz.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(Fuzz, Safetensors) {
  TemporaryFolder folder;
  std::vector<Bytes> seeds;
  for (const NamedTensors& tensors :
       {NamedTensors{{"a", arange(3, f32)}, {"b.weight", ones({2, 1, 3}, f64)}},
        NamedTensors{{"n", scalar(2, i64)}, {"flags", zeros({3}, boolean)}, {"bytes", zeros({5}, u8)}},
        NamedTensors{{"none", zeros({0, 4}, f32)}}, NamedTensors{}}) {
    save_safetensors(folder / "seed", tensors, {{"program", "fuzz"}, {"step", "7"}});
    seeds.push_back(read_file(folder / "seed"));
  }
  fuzz(
      seeds, [](const Bytes& file) { return file; }, 8, [](const Bytes& file) { parse_safetensors(file, "fuzz"); });
}

}  // namespace
}  // namespace norma
