#!/usr/bin/env bash
# Four workers of mnist on two machines, each a network namespace of its own with a cable between them, give the bits
# of one process. two_hosts.sh MNIST MPIRUN. Wants root, and the right to make such namespaces; else it exits with 77.
set -euo pipefail
mnist=$1 mpirun=$2
skip() { printf 'skipped: %s\n' "$*"; exit 77; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

[[ -n $mpirun ]] || skip "norma was built without MPI, or there is no mpirun"
[[ $("$mpirun" --version) == *OpenRTE* || $("$mpirun" --version) == *Open?MPI* ]] ||
  skip "these are options of Open MPI, which $mpirun is not"
[[ $(id -u) == 0 ]] || skip "only root makes network namespaces"
command -v ip >/dev/null || skip "there is no ip (iproute2)"
a=norma-a-$$ b=norma-b-$$ work=$(mktemp -d)
trap 'ip netns del "$a" 2>/dev/null; ip netns del "$b" 2>/dev/null; rm -rf "$work"' EXIT
{ ip netns add "$a" && ip netns add "$b" && ip netns exec "$a" ip link add norma0 type veth peer name norma0 netns "$b"; } \
  >"$work/ip" 2>&1 || skip "no right to make network namespaces: $(tail -n 1 "$work/ip")"
at=1
for host in "$a" "$b"; do
  ip netns exec "$host" ip address add "10.0.0.$at/24" dev norma0
  ip netns exec "$host" ip link set norma0 up
  ip netns exec "$host" ip link set lo up
  at=$((at + 1))
done

# In place of ssh: agent HOST COMMAND. The other machine has another name, too, so that nothing goes by shared memory.
cat >"$work/agent" <<END
#!/usr/bin/env bash
[[ \$1 == 10.0.0.2 ]] || exit 1
shift
exec ip netns exec "$b" unshare --uts bash -c 'hostname other; eval "\$*"' agent "\$@"
END
chmod +x "$work/agent"

training=(--synthetic --limit 100 --batch 33 --epochs 1 --workers 4 --threads 1)
"$mnist" "${training[@]}" --save "$work/one" >/dev/null
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
received() { ip netns exec "$b" cat /sys/class/net/norma0/statistics/rx_bytes; }
before=$(received)
for norm in bn sync; do
  "$mnist" "${training[@]}" --norm "$norm" --save "$work/one" >/dev/null
  ip netns exec "$a" "$mpirun" --host 10.0.0.1:2,10.0.0.2:2 -n 3 --bind-to none --mca plm_rsh_agent "$work/agent" \
    --mca btl tcp,self --mca btl_tcp_if_include 10.0.0.0/24 --mca oob_tcp_if_include 10.0.0.0/24 \
    "$mnist" "${training[@]}" --norm "$norm" --save "$work/two" || fail "mpirun exits with $?"
  cmp "$work/one" "$work/two" || fail "$norm: other weights"
done
sent=$(($(received) - before))
# Every step's gradients, of 421,738 parameters, pass through the cable.
((sent > 4 * 421738)) || fail "only $sent bytes went to the other machine"
printf 'passed: %d bytes went to the other machine\n' "$sent"
