#!/usr/bin/env python3
"""What bench/norm_cost measures, in PyTorch: forward and backward of each normalization, on the same shapes.

Each case is tried in every way that PyTorch has for it: eager and compiled, from images in channels_last and in plain NCHW
memory; ghost batch norm by the reshape trick, by a loop over chunks, and by the formula compiled. All of them are first compared with a
float64 loop, gradients included. The fastest counts.

    norm_torch.py --json best.json            tries everything (with compilation: minutes, the first time)
    norm_torch.py --only best.json --json F   times what was fastest then
"""
import argparse
import json
import logging
import time

import peer

peer.tune_allocator()

import torch
import torch.nn.functional as F

torch._logging.set_logs(all=logging.ERROR)  # not that this machine has no GPU
EPS = 1e-5
SHAPES = [(128, 32, 32, 16), (128, 16, 16, 32), (128, 8, 8, 64), (32, 56, 56, 64), (4096, 512)]  # [N, ..., C]


# ---- the ways to compute a norm: functions of x [N, C, ...], gamma [C], beta [C] -------------------------------------

def batch(x, gamma, beta):
    return F.batch_norm(x, None, None, gamma, beta, True, 0.0, EPS)


def ghost_reshaped(count):
    """Folds `count` sets of samples into the channels. Set s has the samples s, s + count, ..., as is usual: a view."""
    def fn(x, gamma, beta):
        n, c, *space = x.shape
        y = batch(x.reshape(n // count, count * c, *space), gamma.repeat(count), beta.repeat(count))
        return y.reshape(x.shape)
    return fn


def ghost_loop(count):
    return lambda x, gamma, beta: torch.cat([batch(part, gamma, beta) for part in x.chunk(count)])


def domains_loop(ids, count):
    members = [torch.nonzero(ids == d)[:, 0] for d in range(count)]
    back = torch.argsort(torch.cat(members))
    return lambda x, gamma, beta: torch.cat([batch(x[of], gamma, beta) for of in members])[back]


def group(count):
    return lambda x, gamma, beta: F.group_norm(x, count, gamma, beta, EPS)


def instance(x, gamma, beta):
    return F.instance_norm(x, None, None, gamma, beta, True, 0.0, EPS)


def features(x, gamma, beta):
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2], gamma, beta, EPS).movedim(-1, 1)


def rms(x, gamma, beta):
    return F.rms_norm(x.movedim(1, -1), x.shape[1:2], gamma, EPS).movedim(-1, 1)


def formula(sets=1, groups=0, positions_each=False):
    """By reductions over a view [sets, samples, groups, channels, positions]; for the compiler."""
    def fn(x, gamma, beta):
        n, c = x.shape[:2]
        g = groups or c
        v = x.reshape(sets, n // sets, g, c // g, *x.shape[2:])
        axes = [1, 3] + ([] if positions_each else list(range(4, v.dim())))
        var, mean = torch.var_mean(v, axes, correction=0, keepdim=True)
        y = ((v - mean) * torch.rsqrt(var + EPS)).reshape(x.shape)
        affine = (1, c) + (1,) * (x.dim() - 2)
        return y * gamma.view(affine) + beta.view(affine)
    return fn


def batch_group_reshaped(groups):
    """Batch norm over the channels of a group as positions; gamma and beta, one a channel, are applied after it."""
    def fn(x, gamma, beta):
        n, c, *space = x.shape
        y = F.batch_norm(x.reshape(n, groups, -1), None, None, None, None, True, 0.0, EPS).reshape(x.shape)
        affine = (1, c) + (1,) * len(space)
        return y * gamma.view(affine) + beta.view(affine)
    return fn


# ---- the cases ---------------------------------------------------------------------------------------------------------

class Case:
    """name: norm_cost's. ways: name -> function. sets: name -> the sample sets [N] that it normalizes (default: contiguous
    runs); groups: channel groups, 0: each channel; each: every position by itself."""

    def __init__(self, name, ways, sets=None, groups=0, each=False, center=True):
        self.name, self.ways, self.sets, self.groups, self.each, self.center = name, ways, sets or {}, groups, each, center


def cases(shape):
    n, c = shape[0], shape[-1]
    every, ids = torch.arange(n), torch.arange(n) * 7 % 4
    whole = torch.zeros(n, dtype=torch.int64)
    yield Case("batch (whole)", {"batch_norm": batch}, {"": whole})
    for k in (2, 8, 32):
        count = n // k
        ways = {"reshape": ghost_reshaped(count), "formula": formula(count)}
        if count <= 64:
            ways["loop"] = ghost_loop(count)
        yield Case(f"ghost, chunks({k})", ways, {"": every // k, "reshape": every % count})
    yield Case("4 domains, interleaved", {"loop": domains_loop(ids, 4)}, {"": ids})
    yield Case("batch group, groups(4)", {"reshape": batch_group_reshaped(4), "formula": formula(1, 4)}, {"": whole}, 4)
    yield Case("group, groups(4)", {"group_norm": group(4)}, {"": every}, 4)
    layer = {"group_norm": group(1)}
    if len(shape) == 2:
        layer["layer_norm"] = features
    yield Case("layer (sample)", layer, {"": every}, 1)
    yield Case("layer (features)", {"layer_norm": features}, {"": every}, 1, each=True)
    yield Case("rms (features)", {"rms_norm": rms}, {"": every}, 1, each=True, center=False)
    if len(shape) > 2:
        yield Case("instance", {"instance_norm": instance}, {"": every})
    if c % 32 == 0:
        yield Case("group, groups(32)", {"group_norm": group(32)}, {"": every}, 32)


def reference(case, way, x, gamma, beta):
    """The same in the plainest way: cell statistics by index_add over sets of samples."""
    sets = case.sets.get(way, case.sets[""])
    n, c = x.shape[:2]
    g = case.groups or c
    v = x.reshape(n, g, c // g, -1)
    if case.each:
        mean, square = v.mean(2, keepdim=True), lambda d: (d * d).mean(2, keepdim=True)
    else:
        def over(d):
            of_sample = d.mean((2, 3))
            sums = torch.zeros(int(sets.max()) + 1, g, dtype=d.dtype).index_add(0, sets, of_sample)
            return (sums / torch.bincount(sets)[:, None])[sets][:, :, None, None]
        mean, square = over(v), lambda d: over(d * d)
    centred = v - mean if case.center else v
    y = (centred / torch.sqrt(square(centred) + EPS)).reshape(x.shape)
    affine = (1, c) + (1,) * (x.dim() - 2)
    return y * gamma.view(affine) + (beta.view(affine) if case.center else 0)


# ---- timing ------------------------------------------------------------------------------------------------------------

class Inputs:
    """x, gamma, beta and the upstream gradient, in one memory layout."""

    def __init__(self, shape, layout, dtype=torch.float32):
        generator = torch.Generator().manual_seed(1)
        order = torch.channels_last if layout == "channels_last" else torch.contiguous_format

        def planar(t):
            t = t.movedim(-1, 1).to(dtype)
            return t.contiguous(memory_format=order) if t.dim() == 4 else t.contiguous()
        self.x, self.dy = (planar(torch.randn(shape, generator=generator)) for _ in range(2))
        self.gamma, self.beta = torch.linspace(0.5, 1.5, shape[-1], dtype=dtype), torch.zeros(shape[-1], dtype=dtype)
        for leaf in (self.x, self.gamma, self.beta):
            leaf.requires_grad_()

    def step(self, fn):
        """-> y, [dx, dgamma, dbeta], seconds forward, seconds backward"""
        y, forward = peer.timed(lambda: fn(self.x, self.gamma, self.beta))
        leaves = (self.x, self.gamma, self.beta)
        gradients, backward = peer.timed(lambda: torch.autograd.grad(y, leaves, self.dy, allow_unused=True))
        return y, gradients, forward, backward


def check(case, way, fn, inputs, exact):
    """Compares one step with float64, by the length of the difference: single elements stray where two nearly equal ones
    are all that a cell has."""
    y, gradients, *_ = inputs.step(fn)
    want, wanted, *_ = exact.step(lambda *args: reference(case, way, *args))
    for name, a, b in zip(("y", "dx", "dgamma", "dbeta"), (y, *gradients), (want, *wanted)):
        if a is None and b is None:
            continue
        error = ((a.detach() - b.detach()).norm() / b.detach().norm()).item()
        assert error < 2e-5, f"{case.name}, {way}: {name} is off by {error:.2g}"


def configurations(case, planar_too, compiled_too):
    for way, fn in case.ways.items():
        for layout in ("channels_last", "contiguous") if planar_too else ("contiguous",):
            for compiled in (False, True) if compiled_too else (False,):
                if compiled and way == "loop":
                    continue  # unrolled, it takes minutes to compile; "formula" stands for it
                if not compiled and way == "formula":
                    continue  # written for the compiler
                yield way, layout, compiled


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=2, help="for each shape")
    parser.add_argument("--no-compile", action="store_true", help="eager mode only")
    parser.add_argument("--only", metavar="FILE", help="result of a former run: the fastest configurations only")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    former = {(tuple(row["shape"]), row["norm"]): (row["way"], row["layout"], row["compiled"])
              for row in json.load(open(args.only))["rows"]} if args.only else {}

    rows = []
    for shape in SHAPES:
        inputs = {layout: Inputs(shape, layout) for layout in ("channels_last", "contiguous")}
        exact = None if former else Inputs(shape, "contiguous", torch.float64)
        tried = []  # [layout, case, way, compiled, fn, forward, backward]
        for case in cases(shape):
            wanted = former.get((shape, case.name))
            for way, layout, compiled in [wanted] if wanted else configurations(case, len(shape) > 2, not args.no_compile):
                fn = case.ways[way]
                if compiled:
                    torch._dynamo.reset()
                    fn = torch.compile(fn, dynamic=False)
                if exact:
                    check(case, way, fn, inputs[layout], exact)
                tried.append((layout, case, way, compiled, fn, [], []))
        tried.sort(key=lambda entry: entry[0])  # one layout after the other, whose x then stays in the cache

        start, rounds = time.perf_counter(), 0
        while rounds < 5 or time.perf_counter() - start < args.seconds:
            before = None
            for layout, _, _, _, fn, forward, backward in tried:
                if layout != before:
                    inputs[layout].step(fn)  # fetches this layout's x
                before = layout
                *_, f, b = inputs[layout].step(fn)
                if rounds >= 2:  # the first two are to warm up
                    forward.append(f)
                    backward.append(b)
            if rounds == 1:
                start = time.perf_counter()
            rounds += 1

        print(f"\n{list(shape)}  {args.threads} threads, {rounds - 2} rounds")
        for case in cases(shape):
            found = []
            for layout, other, way, compiled, _, forward, backward in tried:
                if other.name == case.name:
                    total = peer.median([f + b for f, b in zip(forward, backward)])
                    found.append((total, way, layout, compiled, peer.median(forward), peer.median(backward)))
            found.sort()
            for i, (total, way, layout, compiled, f, b) in enumerate(found):
                label = f"{way}, {layout}{', compiled' if compiled else ''}"
                print(f"{case.name if i == 0 else '':<26} {1e6 * f:>9.0f} us forward {1e6 * b:>9.0f} us backward  {label}")
            total, way, layout, compiled, f, b = found[0]
            rows.append(dict(shape=list(shape), norm=case.name, way=way, layout=layout, compiled=compiled, forward_seconds=f,
                             backward_seconds=b, total_seconds=total))
    peer.write_json(args.json, dict(torch=torch.__version__, cpu=peer.cpu_name(), threads=args.threads, rows=rows))


if __name__ == "__main__":
    main()
