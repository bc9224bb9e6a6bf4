#!/usr/bin/env python3
"""Writes data/functions.safetensors: what PyTorch says of the elementwise functions and the reductions that make.py lacks.

Run as make.py is, whose helpers and format it shares (README.md):

    python make_functions.py
"""
import torch
import torch.nn.functional as F

import make
from make import case, distinct, files, hundredths, ints, nonzero, normal, uniform

FILE = "functions"
SHAPES = [(7,), (3, 5), (2, 3, 4)]


def unary(op, fn, x=hundredths, **attrs):
    for shape in SHAPES:
        case(FILE, op, {"x": x(*shape)}, fn, **attrs)


def wide(*shape):
    """Both parts of what bends at 0, 3 or 6, and no value within 0.001 of these."""
    return lambda g: hundredths(*shape, shift=0.005)(g) * 4


def elementwise():
    unary("expm1", torch.expm1, normal)
    unary("log1p", torch.log1p, lambda *s: uniform(*s, lo=-0.7, hi=3))
    unary("sin", torch.sin, lambda *s: normal(*s, scale=3))
    unary("cos", torch.cos, lambda *s: normal(*s, scale=3))
    unary("erf", torch.erf, normal)
    for op in (torch.floor, torch.sign):
        unary(op.__name__, op, lambda *s: hundredths(*s, shift=0.005))
    unary("round", torch.round, lambda *s: lambda g: (torch.randint(-8, 8, s, generator=g) / 2).double())
    for alpha in (1.0, 0.3):
        unary("elu", lambda x, a=alpha: F.elu(x, a), lambda *s: hundredths(*s, shift=0.005), alpha=alpha)
    for beta, threshold in ((1.0, 20.0), (2.5, 3.0), (0.2, 20.0)):
        unary("softplus", lambda x, b=beta, t=threshold: F.softplus(x, b, t), wide, beta=beta, threshold=threshold)
    unary("mish", F.mish, wide)
    unary("hardswish", F.hardswish, wide)
    unary("hardsigmoid", F.hardsigmoid, wide)
    unary("relu6", F.relu6, wide)
    for shape, weight in (((2, 3, 4), (4,)), ((5, 3), (1,)), ((7,), (7,))):
        # PyTorch has the channels on axis 1.
        def prelu(x, w):
            return F.prelu(x.movedim(-1, 1), w).movedim(1, -1) if x.dim() > 1 else torch.where(x > 0, x, w * x)
        case(FILE, "prelu", {"x": hundredths(*shape, shift=0.005), "w": normal(*weight)}, prelu)
    for op in (torch.logical_and, torch.logical_or, torch.logical_xor):
        case(FILE, op.__name__, {"a": ints(3, 4, below=3), "b": ints(4, below=2)}, lambda a, b, f=op: f(a, b))


def reductions():
    axes_of = {(7,): [()], (4, 5): [(), (0,), (-1,)], (2, 3, 4): [(1,), (0, 2), ()]}
    for shape, many in axes_of.items():
        for k, axes in enumerate(many):
            keepdim = k % 2 == 0
            dims = list(axes) or None
            for correction in (0, 1):
                case(FILE, "stddev", {"x": normal(*shape)},
                     lambda x: torch.std(x, dims, correction=correction, keepdim=keepdim),
                     axes=axes, correction=correction, keepdim=keepdim)
            for p in (1.0, 2.0, 3.0, 0.5, float("inf")):
                case(FILE, "vector_norm", {"x": nonzero(*shape) if p < 100 else distinct(*shape)},
                     lambda x: torch.linalg.vector_norm(x, p, dims, keepdim),
                     p=p if p < 100 else "inf", axes=axes, keepdim=keepdim)
            for zeros in (0, 1, 2):
                def some_zeros(g, n=zeros):
                    x = nonzero(*shape)(g)
                    x.view(-1)[:n] = 0
                    return x

                def prod(x):
                    for axis in sorted((a % x.dim() for a in axes or range(x.dim())), reverse=True):
                        x = x.prod(axis, keepdim=True)
                    return x if keepdim else x.squeeze([a % len(shape) for a in axes or range(len(shape))])
                case(FILE, "prod", {"x": some_zeros}, prod, axes=axes, keepdim=keepdim, zeros=zeros)
    for shape in SHAPES:
        for axis in range(-1, len(shape) - 1):
            case(FILE, "cumsum", {"x": normal(*shape)}, lambda x: torch.cumsum(x, axis), axis=axis)
            case(FILE, "argmin", {"x": distinct(*shape)}, lambda x: torch.argmin(x, axis, keepdim=True), axis=axis)
            for k in (1, 2):
                for largest in (True, False):
                    case(FILE, "topk", {"x": distinct(*shape)},
                         lambda x: (lambda y: {"y": y.values, "indices": y.indices})(torch.topk(x, k, axis, largest)),
                         k=k, axis=axis, largest=largest)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    elementwise()
    reductions()
    make.save(FILE, *files[FILE])
