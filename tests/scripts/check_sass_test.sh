#!/usr/bin/env bash
# Tests scripts/check_sass on the output of a cuobjdump that prints what a file beside the object says. check_sass_test.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { printf 'FAILED: %s\n--- output:\n%s\n' "$*" "$(cat output)" >&2; exit 1; }
check() { PATH=$work/bin:$PATH "$root/scripts/check_sass" "$@" >output 2>&1; }
said() { grep -qxF -- "$1" output || fail "does not say: $1"; }

mkdir bin
printf '#!/bin/sh\ncat "$2$1"\n' >bin/cuobjdump
printf '#!/bin/sh\n' >bin/nvdisasm
chmod +x bin/*

# object NAME ARCHITECTURE FUNCTION STACK LOCAL <INSTRUCTIONS: adds to what cuobjdump says of this object. The instructions are
# one a line, 16 bytes each.
object() {
  printf 'arch = %s\n Function %s:\n  REG:30 STACK:%s SHARED:64 LOCAL:%s CONSTANT[0]:536\n' "$2" "$3" "$4" "$5" >>"$1-res-usage"
  printf 'arch = %s\n\t\tFunction : %s\n' "$2" "$3" >>"$1-sass"
  awk '{ printf "        /*%04x*/  %s ;  /* 0x0000 */\n", 16 * (NR - 1), $0 }' >>"$1-sass"
}
loop() {  # two f64 instructions inside, one before, one behind, one that is called, one that jumps back from the end
  cat <<'EOF'
DADD R2, R2, R4
MUFU.RCP64H R3, R5
@P0 CALL.REL.NOINC 0xa0
BRA !P2, 0x50
DFMA R2, R2, R4, R6
@!P0 BRA P1, 0x10
BRA.DIV UR4, 0xc0
DMUL R2, R2, R4
F2F.F32.F64 R2, R2
EXIT
DSETP.MAX.AND P0, P1, R2, R4, PT
RET.REL.NODEC R2 0x0
F2F.F64.F32 R2, R2
BRA 0x70
BRA 0xe0
EOF
}

loop | object good.o sm_80 _ZN5norma4cuda15for_each_kernelIfEEvl 0 0
{ echo "I2F.F64 R2, R3"; echo "@P0 BRA 0x0"; echo EXIT; } | object good.o sm_90 _ZN5norma4cuda15for_each_kernelIfEEvl 0 0
check good.o || fail "refuses a kernel without local memory"
said "registers  stack  local  shared  accesses  f64 in loops  innermost  kernel (sm_80, sm_90)"
said "       30      0      0      64         0           2/1        2/1  good: for_each_kernel<float>"
said "==> 1 kernels, 0 with local memory that is not allowed"

# A loop around another, which jumps to its begin from two places.
printf '%s\n' "DADD R2, R2, R4" "DADD R2, R2, R4" "@P0 BRA 0x10" "DADD R2, R2, R4" "@P1 BRA 0x10" "DMUL R2, R2, R4" "@P2 BRA 0x0" EXIT |
  object nested.o sm_90 _Z1kPf 0 0
check nested.o || fail "refuses a loop around another"
said "       30      0      0      64         0             4          2  nested: k"

# refused NAME STACK LOCAL INSTRUCTION
refused() {
  { echo "$4"; echo EXIT; } | object "$1" sm_90 _Z1kPf "$2" "$3"
  if check good.o "$1"; then fail "accepts $*"; fi
  said "local memory is used by k"
}
refused stack.o 8 0 NOP
refused local.o 0 8 NOP
refused store.o 0 0 "STL.64 [R1], R2"
refused load.o 0 0 "@!P0 LDL R2, [R1+0x8]"

echo EXIT | object allowed.o sm_90 _ZN5norma4cuda15for_each_kernelINS0_11fill_blocksIfEEEEvT_ 40 0
check allowed.o || fail "refuses what is allowed"
grep -q '^local memory is allowed in for_each_kernel<fill_blocks.*: cos and sin in double' output || fail "gives no reason"
echo EXIT | object longer.o sm_90 _ZN5norma4cuda15for_each_kernelINS0_12fill_blocks2IfEEEEvT_ 40 0
if check longer.o; then fail "allows what begins like an allowed name"; fi

: >none.o-res-usage
: >none.o-sass
if check none.o; then fail "accepts objects without kernels"; fi
said "error: these objects have no kernels"
if check missing.o; then fail "passes over a cuobjdump that fails"; fi
grep -q '^error: cuobjdump -res-usage missing.o: ' output || fail "does not say which object"
echo "scripts/check_sass: all as it should be"
