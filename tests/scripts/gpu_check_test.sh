#!/usr/bin/env bash
# Tests what scripts/gpu_check does on a machine with a GPU, where there is none: with programs that only say that they ran. Its
# steps and limits, not what they find. gpu_check_test.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { printf 'FAILED: %s\n--- output:\n%s\n--- report:\n%s\n' "$*" "$(cat output)" "$(cat build/gpu_check.md)" >&2; exit 1; }
check() { PATH=$work/bin:$PATH scripts/gpu_check "$@" >output 2>&1; }
reports() { grep -qE -- "$1" build/gpu_check.md || fail "does not report: $1"; }

mkdir -p scripts bin include bench/peers build/cuda/{tests,bench,examples} data
cp "$root"/scripts/{gpu_check,lib.sh} scripts
touch include/cudnn.h
# program FILE <TEXT: a shell script.
program() { { echo '#!/bin/sh'; cat; } >"$1" && chmod +x "$1"; }
for tool in cmake ninja cuobjdump; do program bin/$tool </dev/null; done
program bin/nvcc <<<'echo "release 13.0, V13"'
program bin/nvidia-smi <<<'echo "Some Card, 1.2, 9.0"'
program bin/python3 <<<'[ "$1" != -c ] && echo "figures of $*"'
program bin/compute-sanitizer <<<'echo "sanitized $*"'
program scripts/check_sass </dev/null
for made in tests/{cudnn_tests,cuda_tests,ops_tests,nn_tests} bench/{train_step,norm_cost} examples/cifar; do
  program build/cuda/$made <<<'echo "ran $0 $*"'
done

check || fail "all is well, and it fails"
reports '^\| card \| Some Card, 1.2, 9.0 \|$'
for step in configure build 'tests of the ops' 'tests of models' 'norma resnet20' 'PyTorch mnist_cnn TF32' 'PyTorch resnet20 compiled' \
  norms 'compute-sanitizer racecheck'; do
  reports "^\| $step \| passed \| [0-9]+ s \|"
done
reports '^\| airbench \| skipped: no --data \|'
reports '^ran build/cuda/bench/train_step .*--model resnet20 --device cuda .*--tf32$'
reports '^figures of .*--only compiled,channels_last$'
check --data data || fail "all is well with data, and it fails"
reports "^ran build/cuda/examples/cifar .*--device cuda --data $work/data"

check --dry-run --seconds 0 || fail "there is no GPU, and it fails"
reports '^\| build \| passed \|'
reports '^\| tests of models \| skipped: no GPU \|'

program build/cuda/tests/ops_tests <<<'echo "one is red"; exit 3'
if check; then fail "a test fails, and it does not"; fi
reports '^\| tests of the ops \| \*\*failed\*\* \(3\) \|'
reports '^\| compute-sanitizer memcheck \| passed \|'
grep -q '^one is red$' output || fail "does not show the log"

program build/cuda/tests/ops_tests <<<'exec sleep 100'
if check --seconds 8; then fail "a test hangs, and it passes"; fi
reports '^\| tests of the ops \| \*\*failed\*\* \(ended after [5-8] s\) \|'
reports '^\| norma resnet20 \| left out: the time is up \|'
if grep -q '^ran build/cuda/bench/train_step' build/gpu_check.md; then fail "reports figures of an earlier run"; fi
((SECONDS < 40)) || fail "it took $SECONDS s"
echo "passed"
