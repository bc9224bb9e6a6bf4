#!/usr/bin/env bash
# Tests compare_output.awk. compare_output_test.sh
set -euo pipefail
folder=$(dirname "$0")
compare() { awk -f "$folder/compare_output.awk" <(printf '%b' "$1") <(printf '%b' "$2") >/dev/null; }
same() { compare "$1" "$2" || { printf 'FAILED: "%s" is not "%s"\n' "$1" "$2" >&2; exit 1; }; }
other() { ! compare "$1" "$2" || { printf 'FAILED: "%s" is "%s"\n' "$1" "$2" >&2; exit 1; }; }

same 'loss 0.25\n' 'loss 0.25\n'
same 'loss 0.25,\n' 'loss  0.26,\n'
other 'loss 0.25\n' 'loss 0.27\n'
other 'loss 0.25\n' 'loss -0.25\n'
other 'loss 0.25\n' 'los 0.25\n'
same 'off 1.2e-07\n' 'off 1.3e-07\n'
other 'off 1.2e-07\n' 'off 1.4e-07\n'
other 'off 1.2e-07\n' 'off 1.2e-06\n'
other 'step 10\n' 'step 11\n'
same 'took ~12.5 ms\n' 'took ~99.1 ms\n'
other 'took ~12.5 ms\n' 'took ~99.1 s\n'
other 'took ~12.5 ms\n' 'took ~nan ms\n'
other 'a\nb\n' 'a\n'
other 'a\n' 'a\nb\n'
other 'a\n' ''
other '0.5 nan\n' '0.5 0.1\n'
