#!/usr/bin/env bash
# Tests scripts/check_floors on a small tree of its own. check_floors_test.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { printf 'FAILED: %s\n--- output:\n%s\n' "$*" "$(cat output)" >&2; exit 1; }
check() { scripts/check_floors >output 2>&1; }
said() { grep -qF -- "$1" output || fail "nothing was said of '$1'"; }

# file PATH INCLUDE...: a file of the project that includes these.
file() {
  mkdir -p "$(dirname "$1")"
  local path
  for path in "${@:2}"; do echo "#include \"norma/$path\""; done >"$1"
}
good() {
  rm -rf core autograd ops cuda nn
  file core/tensor.h core/simd/vectors.h
  file core/simd/vectors.h core/memory.h
  file core/memory.h
  file autograd/op.h core/tensor.h
  file ops/kernel.h core/tensor.h
  file ops/shape/views.h ops/kernel.h
  file ops/linalg/gemm.h ops/kernel.h
  file ops/conv/conv2d.h ops/kernel.h
  file ops/conv/conv2d.cc ops/linalg/gemm.h ops/conv/conv2d.h
  file ops/norm/norm.h ops/conv/conv2d.h ops/shape/views.h autograd/op.h
  file cuda/launch.h ops/kernel.h
  file cuda/norm/norm.cu cuda/launch.h ops/norm/norm.h
  file nn/module.h core/tensor.h
  file nn/layers.h nn/norm/norm.h
  file nn/norm/norm.h nn/module.h
  file norma.h nn/layers.h
}
# bad WHAT PATH INCLUDE...: the good tree, but for one file, is refused, and it is said why.
bad() {
  good
  file "${@:2}"
  if check; then fail "takes $2, which includes ${*:3}"; fi
  said "$1"
}

mkdir scripts
cp "$root/scripts/check_floors" "$root/scripts/lib.sh" scripts/
good
check || fail "refuses a tree that keeps to its floors"
said "  ops: linalg shape < conv < norm"
said "  nn: norm"
said "==> 16 files keep to their floors"

bad "core/memory.h:1: core includes norma/ops/kernel.h, which is above it" core/memory.h ops/kernel.h
bad "ops/kernel.h:2: ops includes norma/cuda/launch.h, which is above it" ops/kernel.h core/tensor.h cuda/launch.h
bad "nn/module.h:1: nn includes norma/tests/golden.h, which is no part of the library" nn/module.h tests/golden.h
bad "core/memory.h:1: core/memory.h includes core/tensor.h, which includes it in turn (a circle)" core/memory.h core/tensor.h

# Folders in a circle, though no files are: by a source, by way of a third folder, and in nn.
bad "ops/linalg/linear.cc:1: ops/linalg includes norma/ops/conv/conv2d.h, though ops/conv depends on ops/linalg (a circle)" \
  ops/linalg/linear.cc ops/conv/conv2d.h
bad "ops/linalg/linear.cc:1: ops/linalg includes norma/ops/norm/norm.h, though ops/norm depends on ops/linalg (a circle)" \
  ops/linalg/linear.cc ops/norm/norm.h
good
file nn/optim/sgd.h nn/norm/norm.h
file nn/norm/norm.cc nn/optim/sgd.h
if check; then fail "takes a circle of nn's folders"; fi
said "nn/norm/norm.cc:1: nn/norm includes norma/nn/optim/sgd.h, though nn/optim depends on nn/norm (a circle)"

# What folders share is below them.
bad "ops/kernel.h:1: ops itself is below its folders, and includes norma/ops/shape/views.h" ops/kernel.h ops/shape/views.h
bad "cuda/runtime.cu:1: cuda itself is below its folders, and includes norma/cuda/norm/norm.cu" cuda/runtime.cu cuda/norm/norm.cu
good
for name in a b c d e f g; do file "ops/$name.h"; done
check || fail "refuses 8 files in ops itself"
file ops/h.h
if check; then fail "takes 9 files in ops itself"; fi
said "ops: 9 files stand beside its folders, the limit is 8"

good
echo '#include "memory.h"' >core/tensor.h
if check; then fail "takes an include that is not written from the root"; fi
said 'core/tensor.h:1: "memory.h" should be written from the root'
echo "scripts/check_floors: all as it should be"
