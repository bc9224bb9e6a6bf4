#!/usr/bin/env bash
# Tests scripts/check_names on a small tree of its own. check_names_test.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { printf 'FAILED: %s\n--- output:\n%s\n' "$*" "$(cat output)" >&2; exit 1; }
check() { scripts/check_names >output 2>&1; }

mkdir -p scripts core/simd ops/norm nn docs tests/core bench
cp "$root/scripts/check_names" scripts/
echo 'int main() {}' >bench/step.cc
cat >core/simd/math.h <<'EOF'
// Sums, see core/tensor.h.
const char* where = "core/none.h // core/none.h";
EOF
cat >core/tensor.h <<'EOF'
namespace norma {
class Base {
 public:
  int shared_size() const;
};
template <class T>
class Tensor final : public Base {
 public:
  enum class Layout { native, torch };
  Layout layout() const { int inner = 0; return inner; }
  int rank = 0;
};
struct Pair { int h, w; };
inline int area(Pair size) { return size.h * size.w; }
namespace cpu::base {}
namespace view { int slice(int first); }
NORMA_KERNEL(softmax, const Tensor& x)
NORMA_SIMD_KERNEL(relu, const Tensor& x)
TEST(Tensors, HaveShapes) {}
}  // namespace norma
EOF
echo '#include "norma/core/tensor.h"' >ops/norm/norm.cc
touch tests/core/emulated.cu ops/kernel.h ops/norm/norm.h docs/picture.svg CHANGELOG.md
cat >docs/page.md <<'EOF'
# A page
## What `x` is, and why
```cpp file=ops/made_up.h
namespace norma { int made_up(int x); }
```
EOF
cp -r . "$work.good"
trap 'rm -rf "$work" "$work.good"' EXIT
again() { rm -rf ./* && cp -r "$work.good/." .; }

# Each line is a comment of a source. All are accepted.
accepts() {
  again
  sed 's|^|// |' >ops/norm/norm.h
  check || fail "refuses what is there"
  grep -qx '==> [0-9]* files name what there is' output || fail "tells nothing"
}
# Each line is a comment and, behind " => ", what is said of it.
refuses() {
  again
  cat >lines
  sed 's|^|// |; s| => .*||' lines >ops/norm/norm.h
  sed 's|.* => |there is no |' lines | awk '{ print "ops/norm/norm.h:" NR ": " $0 }' >expected
  if check; then fail "accepts what is not there"; fi
  diff expected output >&2 || fail "says something else than it should"
}

accepts <<'EOF'
See core/tensor.h, norma/core/tensor.h. In core/simd; core/*.h, core/<file>.h, ops/norm/norm.{h,cc}.
See tensor.h's class and simd/math.h; bench/step is a program.
Elsewhere: /usr/include/core/none.h, https://example.org/core/none.h, build/release/core/none, <fmt/format.h> includes.
Members: Tensor::rank, norma::Tensor::layout, Tensor::shared_size, Tensor::Layout::torch, view::slice, cpu::softmax, cuda::softmax, cpu::base::relu.
Of others: std::vector, torch::nn::Linear, at::native.
Of formulas: x / h, a size.h times size.w; x_max, var_b.
Calls slice() of core/tensor.h, `view::slice` in `core/tensor.h`, rank(), slice(): made of shared_size; Tensors.HaveShapes tests it.
EOF
refuses <<'EOF'
core/none.h => core/none.h
(norma/core/none.h) => core/none.h
core/none => core/none
core/simd/*.cc => core/simd/*.cc
core/*.cu => core/*.cu
core/<x>/<y>/z.h => core/*/*/z.h
ops/norm/norm.{h,cu} => ops/norm/norm.cu
none.h's class => none.h
norm/none.cc => norm/none.cc
simd/tensor.h => simd/tensor.h
bench/none is a program => bench/none
Tensor::size => Tensor::size: Tensor declares no size
norma::Tensor::size is => norma::Tensor::size: Tensor declares no size
Tensor::inner => Tensor::inner: Tensor declares no inner
Tensor::first => Tensor::first: Tensor declares no first
Tensor::Layout::caffe => Tensor::Layout::caffe: Layout declares no caffe
view::reshape => view::reshape: view declares no reshape
view::first => view::first: view declares no first
kernel::gelu => kernel::gelu: kernel declares no gelu
cpu::relu => cpu::relu: cpu declares no relu
main() of core/tensor.h => main in core/tensor.h
`main` in `core/tensor.h` => main in core/tensor.h
none_such() => function none_such()
the shared_rank of => word shared_rank in any code
Tensors.HaveNoShapes => test Tensors.HaveNoShapes
EOF

# at FILE LINE TEXT SAID: this text as that line of a file is an offence, of which this is said; or none, without SAID.
at() {
  again
  mkdir -p "$(dirname "$1")"
  { [[ ! -f $1 ]] || cat "$1"; printf '%s\n' "$3"; } >with && mv with "$1"
  if [[ -n ${4-} ]]; then
    if check; then fail "accepts in $1: $3"; fi
    grep -qxF "$1:$2: $4" output || fail "says something else of '$3' in $1 than: $4"
  else
    check || fail "refuses in $1: $3"
  fi
}
mark='#'  # in place of which a comment would begin here, too
for file in CMakeLists.txt cmake/norma.cmake scripts/run.sh bench/plot.py; do
  at "$file" 1 "x = 1 $mark see core/none.h" "there is no core/none.h"
  at "$file" 1 "x = 1 $mark see core/tensor.h"
done
at scripts/test 2 $'#!/usr/bin/env bash\n# see core/none.h' "there is no core/none.h"
at bench/plot.py 2 $'x = "# core/none.h"\n"""core/none.h"""' "there is no core/none.h"
at bench/plot.py 1 'x = "# core/none.h"'
at core/kernel.cu 2 $'int f();\n/* core/none.h */' "there is no core/none.h"

at docs/page.md 6 '`core/none.h`' "there is no core/none.h"
at docs/page.md 6 '[it](../core/none.h)' "the link leads nowhere: there is no core/none.h"
at docs/page.md 6 '![it](picture.png)' "the link leads nowhere: there is no docs/picture.png"
at docs/page.md 6 '[it](#what-x-is)' "the link leads nowhere: docs/page.md has no heading #what-x-is"
at README.md 1 '[it](docs/page.md#a-pag)' "the link leads nowhere: docs/page.md has no heading #a-pag"
at docs/page.md 6 '[it](#what-x-is-and-why), [it](../core/tensor.h), ![it](picture.svg), [it](https://example.org/x)'
at README.md 1 '[it](docs/page.md#a-page)'

# Chinese: anchors keep the characters, and lose the punctuation; a name may stand next to a character.
chinese=$'## 评估，是“训练”吗？（float32 中）\n'
at docs/zh.md 2 "$chinese"'[见](#评估是训练吗float32-中)、[见](page.md#a-page)'
at docs/zh.md 2 "$chinese"'[见](#评估是训练吗)' "the link leads nowhere: docs/zh.md has no heading #评估是训练吗"
at docs/zh.md 2 "$chinese"'[见](#评估，是训练吗float32-中)' "the link leads nowhere: docs/zh.md has no heading #评估，是训练吗float32-中"
at docs/zh.md 1 '见core/tensor.h里的Tensor::rank与slice()。'
at docs/zh.md 1 '见core/none.h里' "there is no core/none.h"
at docs/zh.md 1 '用Tensor::size算' "there is no Tensor::size: Tensor declares no size"
at docs/zh.md 1 '用none_such()算' "there is no function none_such()"
at docs/zh.md 1 '用shared_rank算' "there is no word shared_rank in any code"
at docs/zh.md 1 '由Tensors.HaveNoShapes测试' "there is no test Tensors.HaveNoShapes"

# What an example defines is there for its own document only.
at docs/page.md 6 'In `ops/made_up.h`, `view::made_up`, `made_up()`.'
at README.md 1 'In `ops/made_up.h`.' "there is no ops/made_up.h"
at README.md 1 'In `made_up()`.' "there is no function made_up()"

# What the examples of the course define is there for all of the course, and for nothing else.
page=$'```cpp file=01_xor.cc\nint first_step();\n```'
at docs/course/01_page.md 4 "$page"$'\nSee 01_xor.cc, first_step() and the first_step.'
at docs/course/01_page.md 4 "$page"$'\nSee 02_xor.cc.' "there is no 02_xor.cc"
mkdir -p "$work.good/docs/course" && echo "$page" >"$work.good/docs/course/01_page.md"
at docs/course/02_page.md 1 'See 01_xor.cc, first_step() and the first_step.'
at docs/course/check.h 1 '// See 01_xor.cc, first_step() and the first_step.'
at docs/page.md 6 'See 01_xor.cc.' "there is no 01_xor.cc"
at docs/page.md 6 'See first_step().' "there is no function first_step()"

at CHANGELOG.md 1 'Was core/none.h, Tensor::size.'
at CHANGELOG.md 1 '[it](core/none.h)' "the link leads nowhere: there is no core/none.h"
at build/core.h 1 '// core/none.h'
echo "scripts/check_names: all as it should be"
