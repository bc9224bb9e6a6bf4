#!/usr/bin/env bash
# Tests bench/compare, its history and plot_history, and bench/compare_latency, on programs that only say what they measured.
# compare_test.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { printf 'FAILED: %s\n--- output:\n%s\n' "$*" "$(cat output)" >&2; exit 1; }
said() { grep -qE -- "$1" output || fail "nothing was said of '$1'"; }
mkdir -p build/bench

# Of norma 0.1 s and 100 MB; of PyTorch by its way, and half of that in bf16, with other losses.
cat >build/bench/train_step <<'END'
#!/usr/bin/env python3
import argparse, json, os
p = argparse.ArgumentParser()
for name in "model batch threads steps weights save-weights json conv".split(): p.add_argument("--" + name)
p.add_argument("--infer", action="store_true")
o = p.parse_args()
open("calls", "a").write(f"{o.model} {o.batch} {o.conv or ''}\n")
if o.steps != "0":
    json.dump(dict(median_seconds=0.1, peak_memory_bytes=1e8, first_step_seconds=1, losses=[2, 1, 0.5]), open(o.json, "w"))
END
cat >python <<'END'
#!/usr/bin/env python3
import argparse, json, os
p = argparse.ArgumentParser()
for name in "program".split(): p.add_argument(name)
for name in "model case batch threads steps seconds weights json only".split(): p.add_argument("--" + name)
p.add_argument("--infer", action="store_true")
p.add_argument("--bf16", action="store_true")
o = p.parse_args()
about = dict(torch="9.9", version="9.9", cpu="a machine")
off = float(os.environ.get("OFF", 0))
if "latency" in o.program:
    ways = {"onnxruntime": 0.15} if "onnx" in o.program else {"eager": 0.4, "compiled": 0.2}
    tried = [dict(way=w, median_seconds=t, p90_seconds=2 * t, outputs=[1, 2 + off]) for w, t in ways.items()]
else:
    ways = {"eager": 0.3, "compiled": 0.25, "folded": 0.4}
    tried = [dict(way=w, median_seconds=t / (1 + o.bf16), peak_memory_bytes=3e8, losses=[2, 1, 0.5 + off + o.bf16])
             for w, t in ways.items() if o.only in (None, w)]
json.dump({**about, **min(tried, key=lambda r: r["median_seconds"]), "tried": tried}, open(o.json, "w"))
END
cat >build/bench/latency <<'END'
#!/usr/bin/env python3
import json, sys
json.dump(dict(median_seconds=0.1, p90_seconds=0.2, outputs=[1, 2]), open(sys.argv[sys.argv.index("--json") + 1], "w"))
END
chmod +x python build/bench/*
compare() { "$root/bench/compare" --build build --python "$work/python" --turns 2 "$@" >output 2>&1; }
latency() { "$root/bench/compare_latency" --build build --python "$work/python" --turns 2 "$@" >output 2>&1; }

compare --json all.json || fail "compare"
for case in "resnet20, train" "mnist_cnn, train" "resnet20, infer" "mnist_cnn, infer"; do
  said "^$case +100\.00 +100 +250\.00 +300 +2\.50 +3\.00  compiled$"
done
[[ ! -e history.jsonl ]] || fail "writes a history unasked"

compare --model airbench --mode train --conv direct || fail "compare --model airbench"
[[ $(tail -n 1 calls) == "airbench94 1024 direct" ]] || fail "airbench is $(tail -n 1 calls)"
if grep -q infer output; then fail "--mode train measures infer"; fi

compare --model resnet20 --bf16 --history history.jsonl || fail "compare --bf16: its losses are compared with nothing"
said "^resnet20, train +100\.00 +100 +250\.00 +300 +2\.50 +3\.00 +125\.00 +300 +1\.25 +3\.00  compiled; bf16: compiled$"
compare --model mnist_cnn --batch 32 --history history.jsonl || fail "compare --history"
[[ $(wc -l <history.jsonl) == 2 ]] || fail "a run is not a line"
python3 - "$(git -C "$root" rev-parse --short=10 HEAD 2>/dev/null)" <<'END' || fail "the history"
import json, sys
a, b = map(json.loads, open("history.jsonl"))
assert a["commit"] == sys.argv[1] and a["cpu"] == "a machine" and a["torch"] == "9.9" and a["threads"] == 2, a
assert a["cases"]["resnet20, infer"] == dict(torch_ratio=2.5, torch_memory_ratio=3, bf16_ratio=1.25, bf16_memory_ratio=3), a
assert b["batch"] == 32 and b["cases"]["mnist_cnn, train"] == dict(torch_ratio=2.5, torch_memory_ratio=3), b
END
if OFF=0.001 compare --model resnet20 --history history.jsonl; then fail "losses may differ"; fi
said "resnet20, train: losses differ: \[\(0\.5, 0\.501\)\]"
[[ $(wc -l <history.jsonl) == 2 ]] || fail "a run that failed is in the history"

if command -v gnuplot >/dev/null; then
  "$root/bench/plot_history" history.jsonl --out ratios.svg >output 2>&1 || fail "plot_history"
  for text in "resnet20, train, bf16" "mnist_cnn, infer" "a machine, 2 threads, batch 32, PyTorch 9.9"; do
    grep -qF "$text" ratios.svg || fail "the picture has no '$text'"
  done
fi
echo '{"date": 1}' >>history.jsonl
if "$root/bench/plot_history" history.jsonl >output 2>&1; then fail "plots anything"; fi
said "history.jsonl:3: not a line of bench/compare --history|wants gnuplot"

latency --only mnist_cnn --batch 1 8 --threads 2 || fail "compare_latency"
said "^mnist_cnn +8 +2 +100000\.00 \(200000\.00\) +200000\.00 \(400000\.00\) +150000\.00 \(300000\.00\) +2\.00 +1\.50  compiled$"
latency --only add || fail "compare_latency --only add"
said "^add +1 +1 +100000\.00 \(200000\.00\) +200000\.00 \(400000\.00\) +2\.00 +compiled$"
if OFF=0.001 latency --peers torch; then fail "outputs may differ"; fi
said "resnet20, batch 1: the outputs of PyTorch, eager, are off by 5\.0e-04"
echo "bench/compare: all as it should be"
