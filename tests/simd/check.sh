#!/bin/sh
# check.sh LEVEL OBJECT...: the code of these objects that is compiled for LEVEL, avx2 or avx512, is in the namespace
# of that name in norma::cpu, and all other code runs on any CPU: no function of theirs that the linker may choose for the whole
# program uses AVX (its instructions begin with v). And the level does use its registers.
level=$1
shift
objdump -d -C --no-show-raw-insn "$@" | awk -v level="$level" '
  /^[0-9a-f]+ <.*>:$/ { name = $0; own = index(name, "norma::cpu::" level "::") > 0 }
  /\tv[a-z]/ {
    if (!own && !seen[name]++) print "compiled for " level ": " name
    if ($0 ~ (level == "avx512" ? "%zmm" : "%ymm")) used++
  }
  END {
    for (name in seen) leaks++
    print level ": " used + 0 " instructions with its registers, " leaks + 0 " functions of others compiled for it"
    exit leaks > 0 || !used
  }'
