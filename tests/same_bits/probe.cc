// Computes a fixed list of cases and prints a hash of each result, a line each. Two builds of the library agree where
// the lines do: scripts/same_bits compiles this program against both and compares. It is no test: it knows no right
// results, and says nothing about accuracy. Since it has to compile against libraries of other commits, it uses what
// <norma/norma.h> documents for users, and neither kernels nor the paths of headers.
//
//   same_bits_probe [--device cpu] [--threads 2] [PART...]
#include "probe.h"

#include <cstring>
#include <map>

namespace probe {

Device device;
bool emulated() { return device.is_cuda(); }
bool sampled() {
  static int count = 0;
  return !emulated() || count++ % 7 == 0;
}

namespace {

constexpr int64_t kMostEmulated = 20000;  // elements of all inputs

// FNV-1a, a word at a time.
class Hash {
 public:
  void add(uint64_t word) { state_ = (state_ ^ word) * 0x100000001B3, state_ ^= state_ >> 32; }
  template <class T>
  void add_each(const Tensor& x) {
    const T* values = x.data<T>();
    for (int64_t i = 0; i < x.numel(); ++i) {
      T value = values[i];
      if (value != value) value = std::numeric_limits<T>::quiet_NaN();  // its sign and payload are nobody's promise
      uint64_t word = 0;
      std::memcpy(&word, &value, sizeof value);
      add(word);
    }
  }
  uint64_t get() const { return state_; }

 private:
  uint64_t state_ = 0xCBF29CE484222325;
};

void print_line(const std::string& what, const std::string& name) { fmt::print("{:<16} {}\n", what, name); }

// The same values, every second element of a larger tensor along each axis.
Tensor strided(const Tensor& x) {
  Shape wide = x.shape();
  for (int i = 0; i < x.rank(); ++i) wide[i] = 2 * wide[i];
  Tensor view = full(wide, x.is_floating() ? NAN : 1, x.dtype(), x.device());
  for (int i = 0; i < x.rank(); ++i) view = view::slice(view, i, 0, wide[i], 2);
  view.copy_from(x);
  return view;
}

void sweep_once(const std::string& name, const Function& f, const Inputs& inputs, DType dtype, bool views) {
  Inputs leaves;
  for (const Tensor& input : inputs) {
    Tensor x = (input.is_floating() ? input.to(dtype) : input).to(device);
    x = views ? strided(x) : x.clone();
    if (x.is_floating()) {
      x.set_requires_grad();
      if (views) x.set_grad(full(x.shape(), 0.5, dtype, device));
    }
    leaves.push_back(x);
  }
  attempt(name, [&] {
    Tape tape;
    const Tensor y = f(leaves);
    print(name, y);
    if (!y.requires_grad()) return;
    tape.backward(y, {.seed = random(y.shape(), 99, y.dtype()).to(device)});
    for (size_t i = 0; i < leaves.size(); ++i)
      if (leaves[i].is_floating()) print(fmt::format("{}, gradient {}", name, i), leaves[i].grad());
  });
}

}  // namespace

void print(const std::string& name, const Tensor& value) {
  if (!value.defined()) return print_line("none", name);
  const Tensor x = value.to(cpu_device).contiguous();
  Hash hash;
  hash.add(static_cast<uint64_t>(x.dtype()));
  for (int64_t extent : x.shape()) hash.add(static_cast<uint64_t>(extent));
  dispatch(x.dtype(), [&]<class T>() { hash.add_each<T>(x); });
  print_line(fmt::format("{:016x}", hash.get()), name);
}

void print(const std::string& name, const NamedTensors& values) {
  for (const auto& [key, value] : values) print(name + ", " + key, value);
}

void attempt(const std::string& name, const std::function<void()>& f) {
  try {
    f();
  } catch (const Error&) {
    print_line("error", name);
  }
}

Tensor random(const Shape& shape, uint64_t seed, DType dtype) {
  static std::map<std::string, Tensor> made;  // drawing them would take longer than what is probed
  Tensor& x = made[fmt::format("{} {}", shape, seed)];
  Generator generator(seed, 1);
  if (!x.defined()) x = randn(shape, generator);
  return x.to(dtype);
}

Tensor positive(const Shape& shape, uint64_t seed) {
  Generator generator(seed, 2);
  return rand(shape, generator);
}

Tensor integers(const Shape& shape, int64_t below, uint64_t seed) {
  Generator generator(seed, 3);
  const Tensor x(shape, i64);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<int64_t>()[i] = generator.below(below);
  return x;
}

void sweep(const std::string& name, const Function& f, const Inputs& inputs, const Which& which) {
  int64_t elements = 0;
  for (const Tensor& x : inputs) elements += x.numel();
  if (emulated() && elements > kMostEmulated) return;
  for (DType dtype : {f32, f64}) {
    for (bool views : {false, true}) {
      if ((dtype == f64 && !which.f64) || (views && !which.views)) continue;
      sweep_once(fmt::format("{} {}{}", name, name_of(dtype), views ? " views" : ""), f, inputs, dtype, views);
    }
  }
}

}  // namespace probe

int main(int argc, char** argv) {
  using namespace probe;
  const std::vector<std::pair<std::string, void (*)()>> parts = {
      {"values", values},      {"elementwise", elementwise},   {"reductions", reductions},
      {"matrices", matrices},  {"convolutions", convolutions}, {"pools", pools},
      {"norms", norms},        {"fused_norms", fused_norms},   {"training", training},
      {"data_sets", data_sets}};
  std::vector<std::string> wanted;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word == "--device" && i + 1 < argc) device = Device::parse(argv[++i]);
      else if (word == "--threads" && i + 1 < argc) set_num_threads(std::stoi(argv[++i]));
      else wanted.push_back(word);
    }
    for (const auto& [name, part] : parts)
      if (wanted.empty() || std::find(wanted.begin(), wanted.end(), name) != wanted.end()) part();
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
