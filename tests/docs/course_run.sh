#!/usr/bin/env bash
# Runs a program of the course and compares what it prints with the file, if there is one. course_run.sh PROGRAM [FILE]
set -euo pipefail
folder=$(cd "$(dirname "$0")" && pwd)
cd "$(mktemp -d)"  # what the program may write goes there
trap 'rm -rf "$PWD"' EXIT
output=$("$1") || { status=$?; printf '%s\nexit status %d\n' "$output" "$status"; exit 1; }
printf '%s\n' "$output"
[[ $# == 1 ]] || awk -f "$folder/compare_output.awk" "$2" <(printf '%s\n' "$output")
