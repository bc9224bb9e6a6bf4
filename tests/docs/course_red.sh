#!/usr/bin/env bash
# Passes where the test of an exercise is red, by its own judgement: exit status 1, not a crash, and a line "red: ...".
# course_red.sh PROGRAM
status=0
output=$("$1") || status=$?
printf '%s\nexit status %d\n' "$output" "$status"
[[ $status == 1 && $output == *$'\n'red:* ]]
