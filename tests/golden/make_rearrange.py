#!/usr/bin/env python3
"""Writes data/rearrange.safetensors with PyTorch: ops that stack, cut, reverse, move, repeat, mask, pick and scatter, and makers.

As make.py, whose format and inputs it uses. Where norma's convention is not PyTorch's (a negative step, a negative index), the
case's attributes are norma's and its function says the same to PyTorch.
"""
import torch
from make import case, files, normal, save

FILE = "rearrange"
KINDS = {"f32": torch.float32, "f64": torch.float64, "i64": torch.int64}


def mask(*shape):
    return lambda g: torch.rand(shape, generator=g) < 0.4


def signed(*shape, below):
    """Indices of [-below, below)."""
    return lambda g: torch.randint(-below, below, shape, generator=g)


def backwards(x, axis, start, stop, step):
    return x.index_select(axis, torch.tensor(range(*slice(start, stop, step).indices(x.shape[axis])), dtype=torch.int64))


def lists():
    for count, shape, axis in ((1, (3,), 0), (3, (2, 5), 0), (2, (2, 5), 1), (4, (2, 3, 2), -1), (2, (), 0), (2, (2, 0), 1)):
        xs = {f"x{i}": normal(*shape) for i in range(count)}
        case(FILE, "stack", xs, lambda *t, axis=axis: torch.stack(t, axis), axis=axis)
    for shape, sizes, axis in (((7,), (3, 4), 0), ((2, 6), (1, 0, 5), 1), ((5, 2, 3), (2, 2, 1), 0), ((2, 4), (4,), -1)):
        case(FILE, "split", dict(x=normal(*shape)), lambda x: dict(
            (f"y{i}", t) for i, t in enumerate(torch.split(x, sizes, axis))), sizes=sizes, axis=axis)
    for shape, n, axis in (((7,), 3, 0), ((2, 6), 3, 1), ((5, 2), 4, 0), ((3, 2), 7, 0), ((3, 8), 1, -1)):
        case(FILE, "chunk", dict(x=normal(*shape)), lambda x: dict(
            (f"y{i}", t) for i, t in enumerate(torch.chunk(x, n, axis))), n=n, axis=axis)


def places():
    for shape, axis, i in (((4,), 0, 2), ((3, 5), 0, -1), ((3, 5), 1, -5), ((2, 3, 4), 1, 2), ((2, 3, 4), -1, 0)):
        case(FILE, "select", dict(x=normal(*shape)), lambda x: torch.select(x, axis, i), axis=axis, i=i)
    for shape, axis, start, stop, step in (((7,), 0, -1, None, -1), ((7,), 0, -2, 1, -2), ((3, 8), 1, -6, -1, 3),
                                           ((3, 8), 1, 6, -8, -5), ((4, 5, 2), 0, 3, None, -3), ((4, 5), 1, 2, 2, -1)):
        case(FILE, "slice", dict(x=normal(*shape)), lambda x: backwards(x, axis, start, stop, step),
             axis=axis, start=start, stop=2**63 - 1 if stop is None else stop, step=step)
    for shape, axis in (((5,), 0), ((3, 4), 1), ((2, 3, 4, 5), -2), ((3, 1), 1)):
        case(FILE, "flip", dict(x=normal(*shape)), lambda x: torch.flip(x, (axis,)), axis=axis)
    for shape, shift, axis in (((5,), 2, 0), ((3, 4), -1, 1), ((3, 4), 9, 0), ((2, 3, 4), -23, -1), ((3, 2), 0, 0)):
        case(FILE, "roll", dict(x=normal(*shape)), lambda x: torch.roll(x, shift, axis), shift=shift, axis=axis)
    for shape, repeats in (((3,), (4,)), ((2, 3), (1, 2)), ((2, 3), (3, 1)), ((2, 1, 3), (2, 4, 2)), ((2, 3), (1, 1)), ((), ())):
        case(FILE, "tile", dict(x=normal(*shape)), lambda x: x.repeat(repeats), repeats=repeats)


def masks():
    for shape, cond, value in (((3, 5), (3, 5), 2.5), ((2, 3, 4), (4,), 0.0), ((2, 3, 4), (2, 1, 1), -7.0)):
        case(FILE, "masked_fill", dict(x=normal(*shape), mask=mask(*cond)), lambda x, m: x.masked_fill(m, value), value=value)
    for fn in (torch.triu, torch.tril):
        for shape, diagonal in (((4, 4), 0), ((3, 5), 1), ((5, 3), -2), ((2, 3, 4), -1), ((3, 3), 9), ((3, 3), -9)):
            case(FILE, fn.__name__, dict(x=normal(*shape)), lambda x: fn(x, diagonal), diagonal=diagonal)


def indices():
    for shape, axis, m in (((5,), 0, 8), ((3, 4), 1, 6), ((3, 4), 0, 2), ((2, 5, 3), 1, 7)):
        wide, n = list(shape), shape[axis]
        wide[axis] = m
        case(FILE, "gather", dict(x=normal(*shape), index=signed(*wide, below=n)),
             lambda x, i: x.gather(axis, i % n), axis=axis)
        case(FILE, "index_select", dict(x=normal(*shape), index=signed(m, below=n)),
             lambda x, i: x.index_select(axis, i % n), axis=axis)
        case(FILE, "scatter_add", dict(x=normal(*shape), index=signed(*wide, below=n), source=normal(*wide)),
             lambda x, i, s: x.scatter_add(axis, i % n, s), axis=axis)


def makers():
    for start, stop, step, dtype in ((0, 10, 3, "i64"), (5, -4, -2, "i64"), (0, 1, 0.1, "f64"), (0, 1, 0.1, "f32"),
                                     (2.5, -1.5, -0.25, "f64"), (-3, 7, 1, "f64")):
        case(FILE, "arange", {}, lambda: torch.arange(start, stop, step, dtype=KINDS[dtype]),
             start=start, stop=stop, step=step, dtype=dtype)
    for start, stop, n in ((0, 1, 11), (3, -2, 7), (0.1, 0.7, 2), (5, 9, 1)):
        case(FILE, "linspace", {}, lambda: torch.linspace(start, stop, n, dtype=torch.float64), start=start, stop=stop, n=n)
    case(FILE, "eye", {}, lambda: torch.eye(4, dtype=torch.float64), n=4)


def main():
    torch.set_num_threads(1)
    for family in (lists, places, masks, indices, makers):
        family()
    for file, (tensors, metadata) in files.items():
        save(file, tensors, metadata)


if __name__ == "__main__":
    main()
