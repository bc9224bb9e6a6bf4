#!/usr/bin/env bash
# Tests scripts/get_data without a network: the places it fetches from are folders here. get_data_test.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset NORMA_DATA
export NORMA_DATA_LIST=$work/list
mkdir -p mirror/far to cifar-10-batches-bin
fail() { printf 'FAILED: %s\n--- output:\n%s\n' "$*" "$(cat output)" >&2; exit 1; }
get() { "$root/scripts/get_data" "$@" --to to >output 2>&1; }
said() { grep -qF -- "$1" output || fail "nothing was said of '$1'"; }
line() { printf '%s %s %s %s' "$1" "$(basename "$2")" "$(stat -c %s "$2")" "$(sha256sum <"$2" | cut -d ' ' -f 1)"; }

head -c 100000 /dev/urandom >cifar-10-batches-bin/test_batch.bin
tar -czf mirror/cifar-10-binary.tar.gz cifar-10-batches-bin
for part in train t10k; do head -c 50000 /dev/urandom >"mirror/far/$part-images-idx3-ubyte.gz"; done
{
  echo "# a comment"
  line cifar10 mirror/cifar-10-binary.tar.gz && echo " file://$work/mirror"
  for part in train t10k; do
    line mnist "mirror/far/$part-images-idx3-ubyte.gz" && echo " file://$work/mirror file://$work/mirror/far"
  done
} >list

get cifar10 || fail "cifar10"
cmp -s to/cifar-10-batches-bin/test_batch.bin cifar-10-batches-bin/test_batch.bin || fail "what was unpacked differs"
said "export NORMA_DATA=$work/to"
mv mirror/cifar-10-binary.tar.gz aside
echo damaged >to/cifar-10-batches-bin/test_batch.bin
get cifar10 || fail "what is there already is fetched again"
cmp -s to/cifar-10-batches-bin/test_batch.bin cifar-10-batches-bin/test_batch.bin || fail "is not unpacked again"

get mnist || fail "mnist, whose first place has nothing"
for part in train t10k; do
  cmp -s "to/mnist/$part-images-idx3-ubyte.gz" "mirror/far/$part-images-idx3-ubyte.gz" || fail "$part differs"
done

# A file that was cut off is gone on with: the first half of this one is no longer to be had.
size=$(stat -c %s aside)
rm to/*.tar.gz
head -c $((size / 2)) aside >to/cifar-10-binary.tar.gz.part
{ head -c $((size / 2)) /dev/zero && tail -c +$((size / 2 + 1)) aside; } >mirror/cifar-10-binary.tar.gz
get cifar10 || fail "does not go on"

# What is not the file, though it is as long, is refused, and nothing of it stays.
rm -r to/*.tar.gz to/cifar-10-batches-bin
if get cifar10; then fail "takes a file with another SHA-256"; fi
said "That is not the file that was expected: $size bytes, SHA-256 "
[[ -z $(find to -name 'cifar*') ]] || fail "leaves $(find to -name 'cifar*')"

# Without a network.
rm mirror/cifar-10-binary.tar.gz
if get cifar10; then fail "takes nothing for something"; fi
said "cannot fetch cifar-10-binary.tar.gz ($size bytes)"
said "file://$work/mirror/cifar-10-binary.tar.gz"
said "put it at $work/to/cifar-10-binary.tar.gz and run this again"
cp aside to/cifar-10-binary.tar.gz
get cifar10 || fail "does not take what was put there"

if get cifar11; then fail "takes any name"; fi
said "'cifar11' is none of: cifar10 mnist"
if get; then fail "takes no name"; fi
echo "scripts/get_data: all as it should be"
