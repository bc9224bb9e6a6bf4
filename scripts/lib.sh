# Shared by the scripts of this project, which source it: messages, packages, configuring. Not to be run.
# shellcheck shell=bash disable=SC2034

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
jobs=${NORMA_JOBS:-$(nproc)}  # compilers at a time

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# run COMMAND...: shows the command, then runs it.
run() {
  printf '  $ %s\n' "$*"
  "$@"
}

# packages_of SECTION...: the packages of these sections of packages.txt, one a line.
packages_of() {
  local section
  for section in "$@"; do
    awk -v want="[$section]" '
      { sub(/#.*/, "") }
      $1 ~ /^\[/ { inside = $1 == want; if (inside) seen = 1; next }
      inside && NF { print $1 }
      END { if (!seen) { print "packages.txt has no section " want > "/dev/stderr"; exit 1 } }' scripts/packages.txt || return
  done
}

# install_packages SECTION...: installs what is missing of these sections. Where nothing is missing it does nothing,
# and needs neither the network nor any rights.
install_packages() {
  local wanted package missing=() as_root=()
  wanted=$(packages_of "$@")
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "Not a Debian system: nothing is installed. Wanted are the equivalents of: ${wanted//$'\n'/ }"
    return
  fi
  for package in $wanted; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0

  say "Installing Debian packages: ${missing[*]}"
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || die "this needs root, and there is no sudo. As root, run:
  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
  fi
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  run "${apt[@]}" update
  run "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

# configure PRESET [-D...]: runs CMake with a preset of CMakePresets.json, through ccache where there is one.
configure() {
  local launcher=()
  if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  run cmake --preset "$@" "${launcher[@]}"
}

# cpp_sources FOLDER...: the C++ and CUDA files in these folders ('.': everywhere but in build and hidden folders).
cpp_sources() {
  find "$@" \( -name '.?*' -o -path './build*' \) -type d -prune -o -type f \
    \( -name '*.h' -o -name '*.hpp' -o -name '*.cc' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print |
    sed 's|^\./||' | LC_ALL=C sort
}
