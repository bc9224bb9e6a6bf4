#!/usr/bin/env bash
# A program of the course prints the bits of its weights: the same ones in one process, in two and in three.
# course_mpirun.sh MPIRUN PROGRAM
set -euo pipefail
# OpenMPI's settings: as root, more processes than cores, bound to none, and by means that containers allow.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
  OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none
one=$("$2" bits)
printf '%s\n' "$one"
[[ $one == *"bits of the weights: "* ]]
for processes in 2 3; do
  several=$("$1" -n "$processes" "$2" bits)
  [[ $several == "$one" ]] || { printf 'in %d processes:\n%s\n' "$processes" "$several"; exit 1; }
done
