#!/usr/bin/env python3
"""Writes data/more_optim.safetensors: trajectories of Muon and of Lookahead, by PyTorch's tensors and its inner optimizers.

Apart from make.py, which is full; the format is the same (README.md):

    pip install torch numpy safetensors
    python make_more_optim.py

PyTorch's own Muon multiplies in bfloat16, so its digits are no reference. Here the same steps are in float64, written from
the description (https://kellerjordan.github.io/posts/muon/), and PyTorch's is asked whether it agrees to its few digits. Filters
are [O, KH, KW, I]; the rest of Muon's parameters, a vector, follows torch.optim.AdamW.
"""
import json
import math
import zlib

import torch

import make

STEPS = 7
tensors, metadata = {}, {"torch": make.VERSION}


def inputs(name, **shapes):
    """Random tensors that float32 holds exactly: each of `shapes`, and STEPS gradients of it."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"more_optim/{name}".encode()))
    draw = lambda shape: torch.randn(shape, generator=generator, dtype=torch.float64).float().double()
    return {key: (draw(shape), [draw(shape) for _ in range(STEPS)]) for key, shape in shapes.items()}


def store(name, op, trajectories, **attrs):
    """trajectories: key -> (start, gradients, the parameter after each step)"""
    for key, (start, gradients, after) in trajectories.items():
        tensors[f"{name}/{key}"] = start
        for k, (g, p) in enumerate(zip(gradients, after)):
            tensors[f"{name}/{key}_g{k}"] = g
            tensors[f"{name}/{key}_{k + 1}"] = p
    metadata[name] = json.dumps({"op": op, **attrs})


def trajectory(start, gradients, make):
    """What a torch optimizer makes of a parameter."""
    p = torch.nn.Parameter(start.clone())
    optimizer, after = make([p]), []
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
        after.append(p.detach().clone())
    return after


def orthogonalize(u):
    x = u.T if u.shape[0] > u.shape[1] else u
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if u.shape[0] > u.shape[1] else x


def muon(start, gradients, lr, momentum, nesterov, weight_decay):
    p, v, after = start.clone(), torch.zeros_like(start), []
    for g in gradients:
        v = momentum * v + (1 - momentum) * g
        u = (1 - momentum) * g + momentum * v if nesterov else v
        matrix = u.reshape(u.shape[0], -1)
        scale = math.sqrt(max(1, matrix.shape[0] / matrix.shape[1]))
        p = p * (1 - lr * weight_decay) - lr * scale * orthogonalize(matrix).reshape(p.shape)
        after.append(p.clone())
    return after


for k, (shape, lr, momentum, nesterov, decay) in enumerate([
        ((4, 6), 0.02, 0.95, True, 0.0), ((9, 2), 0.1, 0.9, True, 0.1), ((6, 3, 2, 2), 0.05, 0.8, False, 0.01)]):
    name = f"muon.c{k}"
    ins = inputs(name, p=shape, bias=(5,))
    attrs = dict(lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    after = muon(*ins["p"], **attrs)
    if len(shape) == 2:
        theirs = trajectory(*ins["p"], lambda p: torch.optim.Muon(p, eps=1e-7, adjust_lr_fn="original", **attrs))
        error = max((a - b).abs().max() for a, b in zip(after, theirs))
        assert error < 0.05 * lr * STEPS, error
    rest_scale = 0.25
    rest = trajectory(*ins["bias"], lambda p: torch.optim.AdamW(p, lr=lr * rest_scale, betas=(0.9, 0.95), eps=1e-10,
                                                               weight_decay=decay, foreach=False))
    store(name, "muon", {"p": (*ins["p"], after), "bias": (*ins["bias"], rest)}, rest_scale=rest_scale, **attrs)

for n, (k, alpha, momentum) in enumerate([(2, 0.5, 0.9), (3, 0.8, 0.0), (1, 0.25, 0.5)]):
    name = f"lookahead.c{n}"
    (start, gradients), = inputs(name, p=(3, 4)).values()
    p, slow, after = torch.nn.Parameter(start.clone()), start.clone(), []
    inner = torch.optim.SGD([p], lr=0.1, momentum=momentum, foreach=False)
    for step, g in enumerate(gradients, 1):
        p.grad = g.clone()
        inner.step()
        if step % k == 0:
            slow = slow + alpha * (p.detach() - slow)
            p.data.copy_(slow)
        after.append(p.detach().clone())
    store(name, "lookahead", {"p": (start, gradients, after)}, k=k, alpha=alpha, lr=0.1, momentum=momentum)

make.save("more_optim", tensors, metadata)
