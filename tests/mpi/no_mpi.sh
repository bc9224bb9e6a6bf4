#!/usr/bin/env bash
# The library and a program that links it alone need no MPI. no_mpi.sh LIBRARY PROGRAM
set -euo pipefail
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
symbols=$(nm -C "$1" 2>/dev/null)
[[ $symbols == *norma::run_workers* ]] || fail "$1 is not norma"
calls=$(grep -E ' (MPI_|ompi_)' <<<"$symbols" || true)
[[ -z $calls ]] || fail "$1 calls MPI: $calls"
libraries=$(ldd "$2")
[[ $libraries == *libc.so* ]] || fail "$2 is no program"
[[ $libraries != *libmpi* ]] || fail "$2 wants MPI: $libraries"
