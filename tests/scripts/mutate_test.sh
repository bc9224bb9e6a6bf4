#!/usr/bin/env bash
# Tests scripts/mutate on a small project of its own: a source, a header, and one test program. mutate_test.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { printf 'FAILED: %s\n--- output:\n%s\n' "$*" "$(cat output)" >&2; exit 1; }
mutate() { scripts/mutate -j 2 "$@" >output 2>&1 || fail "mutate $*"; }
said() { grep -qF -- "$1" output || fail "nothing was said of '$1'"; }
not_said() { if grep -qF -- "$1" output; then fail "'$1' should not be there"; fi; }

mkdir -p scripts ops/reduce tests/ops/reduce
cp "$root/scripts/mutate" "$root/scripts/mutants.py" scripts/
cat >ops/reduce/loss.h <<'END'
#pragma once
#include <vector>
int half(int x);        // x / 2, and 0 below 0
int at_most(int x, int limit);
inline int twice(int x) { return x * 2; }
END
cat >ops/reduce/loss.cc <<'END'
#include "norma/ops/reduce/loss.h"

#include <algorithm>
#include <stdexcept>

static_assert(sizeof(int) >= 4);
int calls = 0;
void check(bool good, const char* what) { if (!good) throw std::runtime_error(what); }

int half(int x) {
  check(x != 1234, "not 5 + 5");  // 7 + 7 is in a comment
  if (sizeof(int) < 4) ++calls;
  const std::vector<int> two = {0, 1};
  for (long i = 0; i < x; i += 2) calls += two.size() > 1;
  return x < 0 ? 0 : x / 2;
}
int at_most(int x, int limit) { return std::min<int>(x, limit); }
END
# Notices what half() returns; at_most() is called, but its result is not looked at.
cat >tests/ops/reduce/loss_test.cc <<'END'
#include <gtest/gtest.h>

#include "norma/ops/reduce/loss.h"

TEST(Half, IsHalf) { EXPECT_EQ(half(twice(4)), 4); EXPECT_EQ(half(-3), 0); at_most(3, 4); }
END
cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.22)
project(demo CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(GTest REQUIRED)
add_library(norma ops/reduce/loss.cc)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include/norma)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/ops ${CMAKE_BINARY_DIR}/include/norma/ops SYMBOLIC)
target_include_directories(norma PUBLIC ${CMAKE_BINARY_DIR}/include)
add_subdirectory(tests)
END
cat >tests/CMakeLists.txt <<'END'
add_library(ops_test_objects OBJECT ops/reduce/loss_test.cc)
target_link_libraries(ops_test_objects PUBLIC norma GTest::gtest GTest::gtest_main)
add_executable(ops_tests)
target_link_libraries(ops_tests PRIVATE ops_test_objects)
END
cmake -G Ninja -B build/release -DCMAKE_BUILD_TYPE=Release -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >output 2>&1 || fail "cmake"
cp -r ops before

# What is changed, and what is not.
mutate ops --list
for after in "return x >= 0 ? 0 : x / 2;" "return x <= 0 ? 0 : x / 2;" "return x < 0 ? 0 : x * 2;" "return x < 0 ? 1 : x / 2;" \
  'check(x == 1234, "not 5 + 5");' 'check(x != 1235, "not 5 + 5");' "{ return std::max<int>(x, limit); }" \
  "{ return std::min<int>(limit, x); }" "for (long i = 0; i < x - 1; i += 2)" "i -= 2" "{0, 1} {1, 0}" "if (good)" \
  "inline int twice(int x) { return x / 2; }"; do
  said "${after##*\} }"
done
said "loss.cc:12: dropped"
not_said "static_assert"
not_said "5 - 5"
not_said "7 - 7"
not_said "std::vector<int>x"

# A sample: so many, the same ones for the same seed.
mutate ops --list --count 9 --seed 3
[[ $(grep -c '^- ' output) == 9 ]] || fail "not 9 mutants"
cp output first
mutate ops --list --count 9 --seed 3
cmp -s output first || fail "another sample for the same seed"

# What becomes of them.
cat >scripts/mutants_equivalent.txt <<'END'
ops/reduce/loss.cc
- return x < 0 ? 0 : x / 2;
+ return x <= 0 ? 0 : x / 2;
= half of 0 is 0
END
mutate ops --json run.json --patience 1
cmp -s <(cat ops/reduce/*) <(cat before/reduce/*) || fail "a source was touched"
became() {  # became STATUS BY AFTER
  python3 - "$@" <<'END' || fail "$3 should be $1 ($2)"
import json, sys
found = [m for m in json.load(open("run.json"))["mutants"] if sys.argv[3] in m["after"]]
sys.exit(not found or found[0]["status"] != sys.argv[1] or sys.argv[2] not in found[0]["by"])
END
}
became killed Half.IsHalf "x < 0 ? 0 : x * 2;"
became killed hangs "i -= 2"
became killed Half.IsHalf "twice(int x) { return x / 2; }"  # recompiles the test
became survived "" "std::max<int>(x, limit)"
became equivalent "same machine code" "if (sizeof(int) < 4) ;"
said "- int at_most(int x, int limit) { return std::min<int>(x, limit); }"
not_said "x <= 0"
cp output first

# Continued: nothing is left to do, and the table is the same; of a result that was lost, only that is run.
mutate ops --json run.json --report
cmp -s output first || fail "the report differs from the run"
sed -i 's/at_most(3, 4);/EXPECT_EQ(at_most(3, 4), 3);/' tests/ops/reduce/loss_test.cc
mutate ops --json run.json --retry
became killed Half.IsHalf "std::max<int>(x, limit)"
echo "scripts/mutate: all as it should be"
