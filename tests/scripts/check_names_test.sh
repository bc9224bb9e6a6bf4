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
# A page in Chinese agrees with the one in English.
again
cat >docs/pair.md <<'EOF'
# A pair

[中文](pair.zh-CN.md)

## Numbers

| norm | error | time |
| --- | --- | --- |
| batch, 16 of 1,024 | 0.25 | fast |

```cpp file=pair.cc
int softmax(int x);  // the sum is 1

// Alone on a line.
const char* text = "// kept";
```

```text
loss 0.5
```

```bash
scripts/run  # runs it
```

```
docs/    3 pages
bench/
```
EOF
cat >docs/pair.zh-CN.md <<'EOF'
# 一对

[English](pair.md)

## 数字

见core/tensor.h的Tensor::rank和slice()。

| 归一化 | 误差 | 时间 |
|---|---|---|
| 批，1024 之 16 | 0.25 | 快 |

```cpp file=pair.cc
int softmax(int x);  // 和为 1
const char* text = "// kept";
```

```text
loss 0.5
```

```bash
# 这不是标题
scripts/run  # 运行
```

```
docs/       共 3 页
bench/
```
EOF
mkdir -p scripts && touch scripts/run
rm -rf "$work.good" && cp -r . "$work.good"
check || fail "refuses a translation"
# pair FILE FROM TO LINE SAID: with FROM made TO in this one of the two pages, this is said of that line.
pair() {
  again
  sed -i "s/$2/$3/" "docs/$1"
  ! cmp -s "docs/$1" "$work.good/docs/$1" || fail "changes nothing: $2"
  if check; then fail "accepts $3 for $2 in $1"; fi
  grep -qxF "docs/$4: $5" output || fail "says something else of '$3' in $1 than: docs/$4: $5"
}
in=docs/pair.md
pair pair.zh-CN.md '^## ' '### ' "pair.zh-CN.md:5" "the heading is another than in $in: level 3 for level 2"
pair pair.zh-CN.md '^## ' '' "pair.zh-CN.md:1" "number of headings: 1 for 2 in $in"
pair pair.zh-CN.md '0\.25' '0.26' "pair.zh-CN.md:9" "the table is another than in $in: |1024 16|0.26|| for |1024 16|0.25||"
pair pair.zh-CN.md '1024' '1023' "pair.zh-CN.md:9" "the table is another than in $in: |1023 16|0.25|| for |1024 16|0.25||"
pair pair.zh-CN.md '| 快 |' '|' "pair.zh-CN.md:9" "the table is another than in $in: |1024 16|0.25| for |1024 16|0.25||"
pair pair.md '^| batch.*' '&\n| layer | | |' "pair.zh-CN.md:9" "the table is another than in $in: nothing for ||||"
pair pair.zh-CN.md '^|.*' '' "pair.zh-CN.md:1" "number of tables: 0 for 1 in $in"
pair pair.zh-CN.md 'int x' 'int y' "pair.zh-CN.md:13" "the code block is another than in $in: int softmax(int y); for int softmax(int x);"
pair pair.zh-CN.md '"\/\/ kept' '"\/\/ lost' "pair.zh-CN.md:13" \
  "the code block is another than in $in: const char* text = \"// lost\"; for const char* text = \"// kept\";"
pair pair.zh-CN.md 'cpp file' 'c file' "pair.zh-CN.md:13" 'the code block is another than in docs/pair.md: ```c file=pair.cc for ```cpp file=pair.cc'
pair pair.md 'loss 0.5' 'loss 0.6' "pair.zh-CN.md:18" "the code block is another than in $in: loss 0.5 for loss 0.6"
pair pair.md 'scripts.run' '# ran' "pair.zh-CN.md:22" "the code block is another than in $in: scripts/run for nothing"
pair pair.md '3 pages' '4 pages' "pair.zh-CN.md:27" "the code block is another than in $in: docs/ 3 for docs/ 4"
pair pair.md '^bench' 'core' "pair.zh-CN.md:27" "the code block is another than in $in: bench/ for core/"
pair pair.md '^```bash' '```bash\nx\n```\n&' "pair.zh-CN.md:1" "number of code blocks: 4 for 5 in $in"
pair pair.md '](pair.zh-CN.md)' '](page.md)' "pair.md:1" "the line under the title does not link to docs/pair.zh-CN.md"
pair pair.zh-CN.md '](pair.md)' '](page.md)' "pair.zh-CN.md:1" "the line under the title does not link to docs/pair.md"
pair pair.zh-CN.md 'core.tensor' 'core\/none' "pair.zh-CN.md:7" "there is no core/none.h"
pair pair.zh-CN.md 'Tensor::rank' 'Tensor::size' "pair.zh-CN.md:7" "there is no Tensor::size: Tensor declares no size"
rm docs/pair.md
if check; then fail "accepts a translation of nothing"; fi
grep -qxF "docs/pair.zh-CN.md:1: there is no docs/pair.md of which this would be the translation" output || fail "does not name the page"

echo "scripts/check_names: all as it should be"
