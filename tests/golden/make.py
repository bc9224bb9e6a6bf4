#!/usr/bin/env python3
"""Writes the golden files data/*.safetensors: what PyTorch, on the CPU, says every op should compute.

Not part of the build: the files are committed. README.md tells the format and how to run this.

Each case is one call of `case`: forward, then backward with a random upstream gradient, all in float64. Every
random value is representable in float32 too, so a float32 test starts from exactly the same numbers. Images
are [N, H, W, C] and weights [C_out, KH, KW, C_in / groups]; torch's own layout exists only inside the functions
passed to `case` (see `planar` and `last`), so the gradients come out channels-last by themselves.
"""
import collections
import json
import math
import pathlib
import zlib

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

DATA = pathlib.Path(__file__).parent / "data"
VERSION = torch.__version__.split("+")[0]
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL"}


# ---- random inputs: each of these returns a function generator -> tensor ---------------------------------------

def exact(t):
    """Rounds to values that float32 holds exactly."""
    return t.float().double()


def normal(*shape, scale=1.0, shift=0.0):
    return lambda g: exact(torch.randn(shape, generator=g, dtype=torch.float64) * scale + shift)


def uniform(*shape, lo, hi):
    return lambda g: exact(torch.rand(shape, generator=g, dtype=torch.float64) * (hi - lo) + lo)


def hundredths(*shape, shift=0.0):
    """Normal values on a grid of 0.01: with shift 0.005 they stay that far from 0, and from the unshifted ones."""
    return lambda g: exact(torch.randn(shape, generator=g, dtype=torch.float64).mul(100).round() / 100 + shift)


def nonzero(*shape):
    """|value| between 0.3 and 3."""
    return lambda g: uniform(*shape, lo=0.3, hi=3)(g) * (torch.randint(2, shape, generator=g) * 2 - 1)


def distinct(*shape):
    """No two values closer than a few thousandths, for whatever picks a largest or smallest one."""
    count = math.prod(shape)
    step = min(0.25, 6 / count)
    return lambda g: exact((torch.randperm(count, generator=g) - count // 2 + 0.5) * step).reshape(shape)


def ints(*shape, below):
    return lambda g: torch.randint(below, shape, generator=g)


# ---- cases and files -------------------------------------------------------------------------------------------

files = collections.defaultdict(lambda: ({}, {"torch": VERSION}))  # file -> (tensors, metadata)
counts = collections.Counter()                                     # (file, op) -> cases so far


def case(file, op, inputs, fn, const=(), **attrs):
    """Stores one case, `<op>.c<k>`, in data/<file>.safetensors.

    inputs  name -> random input (see above); the seed is made from the case's name
    fn      inputs, in that order, -> the output `y`, or a dict of named outputs
    const   inputs that get no gradient (integers and masks never do)
    attrs   what a test needs to make the same call
    """
    name = f"{op}.c{counts[file, op]}"
    counts[file, op] += 1
    generator = torch.Generator().manual_seed(zlib.crc32(f"{file}/{name}".encode()))
    ins = {key: make(generator) for key, make in inputs.items()}
    leaves = {key: t.requires_grad_() for key, t in ins.items() if t.is_floating_point() and key not in const}

    outs = fn(*ins.values())
    outs = outs if isinstance(outs, dict) else {"y": outs}
    upstream = {f"d{key}": normal(*t.shape)(generator) for key, t in outs.items() if t.requires_grad}
    gradients = {}
    if upstream:
        roots = [t for t in outs.values() if t.requires_grad]
        wanted = torch.autograd.grad(roots, list(leaves.values()), list(upstream.values()))
        gradients = {f"d{key}": t for key, t in zip(leaves, wanted)}

    tensors, metadata = files[file]
    for part in (ins, outs, upstream, gradients):
        for key, t in part.items():
            assert f"{name}/{key}" not in tensors and t.isfinite().all(), f"{name}/{key}"
            tensors[f"{name}/{key}"] = t.detach().clone()
    metadata[name] = json.dumps({"op": op, **attrs})


def save(file, tensors, metadata):
    """A safetensors file in a fixed order (the library's own writer leaves the order of metadata to chance)."""
    header, offset = {"__metadata__": metadata}, 0
    order = sorted(tensors, key=lambda key: (-tensors[key].element_size(), key))  # wide first: all are aligned
    for key in order:
        t = tensors[key]
        end = offset + t.numel() * t.element_size()
        header[key] = {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(DATA / f"{file}.safetensors", "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for key in order:
            out.write(tensors[key].contiguous().numpy().tobytes())


def planar(t):
    """[N, ..., C] -> [N, C, ...]: images, and weights OHWI -> OIHW."""
    return t.movedim(-1, 1).contiguous()


def last(t):
    """[N, C, ...] -> [N, ..., C]. Its gradient is made contiguous: under one with channels-last strides, the gradients
    of PyTorch 2.15's instance_norm are wrong on the CPU where N = 1."""
    if t.requires_grad:
        t.register_hook(lambda gradient: gradient.contiguous())
    return t.movedim(1, -1).contiguous()


# ---- one function per file --------------------------------------------------------------------------------------

def binary():
    shapes = [((2, 3, 5), (2, 3, 5)), ((2, 7, 3), (3,)), ((5, 3), ()), ((2, 1, 3), (1, 5, 1)), ((3,), (2, 17, 3)), ((1,), (1,))]
    for a, b in shapes:
        for fn in (torch.add, torch.sub, torch.mul):
            case("binary", fn.__name__, dict(a=normal(*a), b=normal(*b)), fn)
        case("binary", "div", dict(a=normal(*a), b=nonzero(*b)), torch.div)
        case("binary", "pow", dict(a=uniform(*a, lo=0.3, hi=3), b=normal(*b, scale=1.5)), torch.pow)
        for fn in (torch.minimum, torch.maximum):
            case("binary", fn.__name__, dict(a=hundredths(*a), b=hundredths(*b, shift=0.005)), fn)


def unary():
    shapes = [(2, 3, 5), (7,), (), (17, 3)]
    for shape in shapes:
        kinked = dict(x=hundredths(*shape, shift=0.005))
        for fn in (torch.abs, torch.relu):
            case("unary", fn.__name__, kinked, fn)
        for fn in (torch.log, torch.sqrt, torch.rsqrt):
            case("unary", fn.__name__, dict(x=uniform(*shape, lo=0.05, hi=5)), fn)
        for fn in (torch.neg, torch.exp, torch.tanh, torch.sigmoid, F.silu):
            case("unary", fn.__name__, dict(x=normal(*shape, scale=2 if fn is torch.exp else 4)), fn)
        for tanh in (False, True):
            case("unary", "gelu", dict(x=normal(*shape, scale=2)), lambda x: F.gelu(x, approximate="tanh" if tanh else "none"),
                 tanh=tanh)
        for slope in (0.01, 0.2):
            case("unary", "leaky_relu", kinked, lambda x: F.leaky_relu(x, slope), slope=slope)
        for lo, hi in ((-0.5, 0.75), (0.0, 6.0)):
            case("unary", "clamp", kinked, lambda x: torch.clamp(x, lo, hi), lo=lo, hi=hi)


def where():
    shapes = [((3, 5), (3, 5), (3, 5)), ((2, 7, 3), (3,), ()), ((2, 1, 1), (1, 5, 1), (1, 1, 3)), ((17,), (2, 1), (2, 17))]
    for cond, a, b in shapes:
        case("where", "where", dict(cond=lambda g: torch.rand(cond, generator=g) < 0.5, a=normal(*a), b=normal(*b)), torch.where)


def reduce():
    layouts = [((3, 5), [], False), ((2, 7, 3), [-1], False), ((2, 7, 3), [0, 2], True), ((5, 1, 2, 3), [0, 1, 2], False),
               ((17, 3), [0], False), ((2, 3, 5), [], True), ((2, 3, 1, 5), [-3, -2], False)]
    for shape, axes, keepdim in layouts:
        attrs = dict(axes=axes, keepdim=keepdim)
        how = dict(dim=axes or list(range(len(shape))), keepdim=keepdim)
        x, unequal = dict(x=normal(*shape, shift=0.5)), dict(x=distinct(*shape))
        for fn in (torch.sum, torch.mean, torch.logsumexp):
            case("reduce", fn.__name__, x, lambda x: fn(x, **how), **attrs)
        for correction in (1, 0):
            case("reduce", "var", x, lambda x: torch.var(x, correction=correction, **how), correction=correction, **attrs)
        case("reduce", "max", unequal, lambda x: torch.amax(x, **how), **attrs)
        case("reduce", "min", unequal, lambda x: torch.amin(x, **how), **attrs)
    case("reduce", "logsumexp", dict(x=normal(3, 7, scale=5, shift=1000)),  # exp(x) overflows
         lambda x: torch.logsumexp(x, 1), axes=[1], keepdim=False)
    for shape, axis, keepdim in [((3, 5), 1, False), ((2, 7, 3), -2, True), ((17,), 0, False), ((5, 1, 2), 1, False)]:
        case("reduce", "argmax", dict(x=distinct(*shape)), lambda x: torch.argmax(x, axis, keepdim),
             axis=axis, keepdim=keepdim)


def matmul():
    shapes = [((3, 5), (5, 7)), ((1, 5), (5, 3)), ((17, 1), (1, 2)), ((2, 3, 5), (2, 5, 7)), ((2, 1, 3, 5), (3, 5, 2)),
              ((2, 3, 5), (5, 7)), ((3, 5), (2, 5, 1)), ((2, 1, 1, 7), (1, 3, 7, 1))]
    for a, b in shapes:
        case("matmul", "matmul", dict(a=normal(*a), b=normal(*b)), torch.matmul)


def linear():
    for shape, out, bias in [((5, 3), 7, True), ((2, 3, 5), 2, True), ((1, 17), 1, False), ((2, 1, 7), 5, False), ((7,), 3, True)]:
        inputs = dict(x=normal(*shape), w=normal(out, shape[-1]))
        if bias:
            inputs["b"] = normal(out)
        case("linear", "linear", inputs, F.linear, bias=bias)


def convolution(op, x, out, kernel, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, bias=True, **more):
    """x [N, H, W, C_in], out = C_out; `more` is output_padding for the transposed one."""
    transposed = op == "conv_transpose2d"
    weight = (x[-1], *kernel, out // groups) if transposed else (out, *kernel, x[-1] // groups)
    attrs = dict(stride=stride, padding=padding, dilation=dilation, groups=groups, **more)
    inputs = dict(x=normal(*x), w=normal(*weight))
    if bias:
        inputs["b"] = normal(out)
    torch_op = F.conv_transpose2d if transposed else F.conv2d
    case(op, op, inputs, lambda x, w, b=None: last(torch_op(planar(x), planar(w), b, **attrs)), bias=bias, **attrs)


def conv2d():
    convolution("conv2d", (2, 5, 7, 3), 5, (1, 1))
    convolution("conv2d", (1, 7, 5, 1), 3, (3, 3), padding=(1, 1))
    convolution("conv2d", (2, 7, 9, 3), 5, (5, 5), stride=(2, 2), padding=(2, 2))
    convolution("conv2d", (3, 5, 7, 5), 2, (3, 2), stride=(2, 1), padding=(1, 0), bias=False)
    convolution("conv2d", (1, 5, 7, 16), 16, (3, 3), padding=(1, 1), groups=16)          # depthwise
    convolution("conv2d", (2, 7, 5, 3), 6, (3, 3), stride=(2, 1), padding=(1, 1), groups=3)  # two outputs a channel
    convolution("conv2d", (2, 9, 7, 3), 2, (3, 3), padding=(2, 1), dilation=(2, 3))
    convolution("conv2d", (2, 5, 7, 6), 4, (3, 3), stride=(2, 2), padding=(1, 1), groups=2, bias=False)
    convolution("conv2d", (2, 1, 17, 3), 3, (3, 3), padding=(1, 1))                      # one row
    convolution("conv2d", (1, 5, 5, 16), 16, (3, 3), padding=(1, 1))
    convolution("conv2d", (1, 3, 3, 2), 1, (3, 3))                                       # one output pixel
    convolution("conv2d", (2, 8, 7, 3), 2, (2, 3), stride=(3, 2))                        # rows left over
    convolution("conv2d", (2, 5, 4, 5), 3, (1, 1), stride=(2, 2), bias=False)
    convolution("conv2d", (1, 1, 1, 5), 7, (5, 5), padding=(2, 2))                       # mostly padding


def conv_transpose2d():
    plain = dict(output_padding=(0, 0))
    convolution("conv_transpose2d", (2, 5, 3, 3), 5, (3, 3), **plain)
    convolution("conv_transpose2d", (1, 4, 5, 5), 3, (2, 2), stride=(2, 2), **plain)
    convolution("conv_transpose2d", (2, 3, 5, 3), 2, (3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1))
    convolution("conv_transpose2d", (1, 5, 3, 1), 7, (3, 2), stride=(2, 3), padding=(1, 0), bias=False, output_padding=(0, 2))
    convolution("conv_transpose2d", (2, 3, 4, 6), 4, (3, 3), stride=(2, 1), padding=(1, 1), groups=2, output_padding=(1, 0))
    convolution("conv_transpose2d", (2, 3, 5, 2), 3, (3, 2), dilation=(2, 3), padding=(1, 2), **plain)
    convolution("conv_transpose2d", (1, 1, 7, 16), 16, (3, 3), stride=(2, 2), padding=(1, 1), groups=16, bias=False, **plain)
    convolution("conv_transpose2d", (2, 3, 2, 5), 3, (1, 1), bias=True, **plain)


def pool2d():
    layouts = [((2, 6, 8, 3), (2, 2), (2, 2), (0, 0)), ((1, 7, 5, 5), (3, 3), (2, 2), (1, 1)),
               ((3, 5, 7, 1), (3, 2), (1, 3), (1, 0)), ((2, 1, 17, 2), (1, 3), (1, 2), (0, 1)),
               ((1, 7, 7, 17), (2, 2), (2, 2), (0, 0)), ((2, 5, 3, 3), (5, 3), (5, 3), (0, 0))]
    for shape, kernel, stride, padding in layouts:
        attrs = dict(kernel=kernel, stride=stride, padding=padding)
        case("pool2d", "max_pool2d", dict(x=distinct(*shape)),
             lambda x: last(F.max_pool2d(planar(x), kernel, stride, padding)), **attrs)
        case("pool2d", "avg_pool2d", dict(x=normal(*shape)),
             lambda x: last(F.avg_pool2d(planar(x), kernel, stride, padding)), count_include_pad=True, **attrs)
    for shape in [(2, 5, 7, 3), (1, 1, 1, 5), (3, 2, 1, 17)]:
        case("pool2d", "global_avg_pool", dict(x=normal(*shape)), lambda x: F.adaptive_avg_pool2d(planar(x), 1).flatten(1))


def upsample():
    for shape, scale in [((2, 3, 5, 3), (2, 2)), ((1, 1, 7, 1), (3, 1)), ((3, 2, 3, 5), (1, 2)), ((2, 1, 1, 17), (2, 3))]:
        case("upsample", "upsample_nearest", dict(x=normal(*shape)),
             lambda x: last(F.interpolate(planar(x), scale_factor=scale, mode="nearest")), scale=scale)


def softmax():
    for shape, axis, scale in [((5, 7), 1, 1), ((2, 17), -1, 200), ((2, 3, 5), 0, 1), ((2, 3, 2, 5), -2, 3), ((3, 1), 1, 1)]:
        x = dict(x=normal(*shape, scale=scale))
        case("softmax", "softmax", x, lambda x: F.softmax(x, axis), axis=axis)
        case("softmax", "log_softmax", x, lambda x: F.log_softmax(x, axis), axis=axis)


def shape():
    for size, axes in [((3, 5), [1, 0]), ((2, 3, 5), [2, 0, 1]), ((2, 3, 1, 5), [0, 3, 1, 2]), ((2, 3, 5), [0, 1, 2])]:
        case("shape", "permute", dict(x=normal(*size)), lambda x: x.permute(axes), axes=axes)
    for size, axis, start, stop, step in [((7,), 0, 2, 5, 1), ((3, 7), 1, 1, 7, 2), ((2, 5, 3), -1, 0, 1, 1), ((17, 2), 0, 3, 17, 5)]:
        case("shape", "slice", dict(x=normal(*size)), lambda x: x.movedim(axis, 0)[start:stop:step].movedim(0, axis),
             axis=axis, start=start, stop=stop, step=step)
    for sizes, axis in [([(2, 3), (1, 3), (5, 3)], 0), ([(2, 3, 5), (2, 3, 1), (2, 3, 2)], -1), ([(2, 1, 3), (2, 7, 3)], 1)]:
        case("shape", "concat", {f"x{i}": normal(*s) for i, s in enumerate(sizes)}, lambda *xs: torch.cat(xs, axis), axis=axis)
    for size, pads, value in [((3, 5), [[1, 2], [0, 3]], 0.0), ((7,), [[2, 0]], -1.5),
                              ((2, 3, 1, 5), [[0, 0], [1, 1], [2, 1], [0, 0]], 0.0)]:
        flat = [n for pair in reversed(pads) for n in pair]  # torch counts from the last axis
        case("shape", "pad", dict(x=normal(*size)), lambda x: F.pad(x, flat, value=value), pads=pads, value=value)
    for size, to in [((3, 5), [15]), ((2, 3, 5), [5, 6]), ((2, 3, 2, 5), [2, -1]), ((1,), [])]:
        case("shape", "reshape", dict(x=normal(*size)), lambda x: x.reshape(to), shape=to)


def index():
    for size, picks, axis in [((3, 5), (3, 2), 1), ((5, 3), (7, 3), 0), ((2, 3, 5), (2, 3, 1), -1), ((2, 7, 3), (2, 17, 3), 1)]:
        case("index", "gather", dict(x=normal(*size), index=ints(*picks, below=size[axis])),
             lambda x, index: torch.gather(x, axis, index), axis=axis)
    for size, picks, axis in [((5, 3), (0, 4, 4, 1, 4), 0), ((2, 7, 3), (6, 0, 6), 1), ((3, 5), (2,), -1), ((17,), (3, 16, 3, 0), 0)]:
        case("index", "index_select", dict(x=normal(*size), index=lambda g: torch.tensor(picks)),
             lambda x, index: torch.index_select(x, axis, index), axis=axis)
    for size, classes in [((7,), 5), ((2, 3), 3), ((1,), 17)]:
        case("index", "one_hot", dict(index=ints(*size, below=classes)), lambda index: F.one_hot(index, classes).double(),
             classes=classes)


def norm():
    def inputs(shape, **more):
        return dict(x=normal(*shape, scale=2, shift=3), gamma=nonzero(shape[-1]), beta=normal(shape[-1]), **more)

    for size, momentum, eps in [((4, 5, 3, 3), 0.1, 1e-5), ((7, 5), 0.1, 1e-5), ((2, 1, 7, 17), 0.3, 1e-3),
                                ((1, 3, 5, 1), 0.01, 1e-5), ((2, 3), 1.0, 1e-2), ((3, 2, 2, 16), 0.1, 1e-5)]:
        populations = dict(running_mean=normal(size[-1], shift=3), running_var=uniform(size[-1], lo=0.5, hi=4))

        def batch_norm(x, gamma, beta, mean, var):
            mean, var = mean.clone(), var.clone()
            y = last(F.batch_norm(planar(x), mean, var, gamma, beta, training=True, momentum=momentum, eps=eps))
            return dict(y=y, new_running_mean=mean, new_running_var=var)
        case("norm", "batch_norm", inputs(size, **populations), batch_norm, const=populations, momentum=momentum, eps=eps)
        case("norm", "batch_norm_eval", inputs(size, **populations),
             lambda x, gamma, beta, mean, var: last(F.batch_norm(planar(x), mean, var, gamma, beta, eps=eps)),
             const=populations, eps=eps)

    for size, groups, eps in [((2, 5, 3, 6), 2, 1e-5), ((3, 1, 7, 6), 3, 1e-3), ((1, 3, 2, 5), 5, 1e-5),
                              ((2, 3, 5, 17), 1, 1e-5), ((3, 8), 4, 1e-5)]:
        case("norm", "group_norm", inputs(size), lambda x, gamma, beta: last(F.group_norm(planar(x), groups, gamma, beta, eps)),
             groups=groups, eps=eps)
    for size, eps in [((2, 5, 3, 3), 1e-5), ((3, 1, 7, 1), 1e-3), ((1, 2, 2, 17), 1e-5)]:
        case("norm", "instance_norm", inputs(size),
             lambda x, gamma, beta: last(F.instance_norm(planar(x), weight=gamma, bias=beta, eps=eps)), eps=eps)
    for size, eps in [((2, 3, 5, 7), 1e-5), ((5, 17), 1e-5), ((1, 2, 1, 3), 1e-3)]:
        case("norm", "layer_norm", inputs(size), lambda x, gamma, beta: F.layer_norm(x, size[-1:], gamma, beta, eps),
             over="features", eps=eps)
        case("norm", "layer_norm", inputs(size), lambda x, gamma, beta: last(F.group_norm(planar(x), 1, gamma, beta, eps)),
             over="sample", eps=eps)
        case("norm", "rms_norm", dict(x=normal(*size, scale=2, shift=1), gamma=nonzero(size[-1])),
             lambda x, gamma: F.rms_norm(x, size[-1:], gamma, eps), eps=eps)


def optim():
    def trajectory(op, torch_class, **attrs):
        def steps(p, *gradients):
            p = nn.Parameter(p.clone())
            optimizer = torch_class([p], foreach=False, **attrs)
            after = {}
            for k, g in enumerate(gradients, 1):
                p.grad = g.clone()
                optimizer.step()
                after[f"p{k}"] = p.detach().clone()
            return after
        inputs = dict(p=normal(3, 4), **{f"g{k}": normal(3, 4) for k in range(5)})
        case("optim", op, inputs, steps, const=inputs, **attrs)

    plain = dict(lr=0.1, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0)
    for changes in (dict(), dict(momentum=0.9), dict(lr=0.05, momentum=0.9, nesterov=True), dict(weight_decay=0.01),
                    dict(lr=0.02, momentum=0.8, nesterov=True, weight_decay=0.05)):
        trajectory("sgd", torch.optim.SGD, **plain | changes)
    for op, torch_class in ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW):
        for lr, betas, eps, decay in [(0.001, (0.9, 0.999), 1e-8, 0.0), (0.01, (0.9, 0.999), 1e-8, 0.01),
                                      (0.1, (0.5, 0.9), 1e-3, 0.1), (0.05, (0.0, 0.99), 1e-6, 0.5)]:
            trajectory(op, torch_class, lr=lr, betas=betas, eps=eps, weight_decay=decay)

    def clip(*gradients, max_norm):
        parameters = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
        for p, g in zip(parameters, gradients):
            p.grad = g.clone()
        total = nn.utils.clip_grad_norm_(parameters, max_norm, foreach=False)
        return dict(norm=total, **{f"c{k}": p.grad for k, p in enumerate(parameters)})
    for max_norm in (1.0, 0.01, 100.0):  # the last leaves them as they are
        inputs = dict(g0=normal(3, 5), g1=normal(7), g2=normal(2, 3, 1))
        case("optim", "clip_grad_norm", inputs, lambda *g: clip(*g, max_norm=max_norm), const=inputs, max_norm=max_norm)


def schedule():
    def rates(op, torch_class, steps, lr=None, **attrs):
        """lr[k] is the rate that optimizer step k uses, from k = 0."""
        def run():
            optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr or 1.0)
            scheduler = torch_class(optimizer, **attrs)
            out = []
            for k in range(steps):
                out.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                if k + 1 < steps:
                    scheduler.step()
            return dict(lr=torch.tensor(out, dtype=torch.float64))
        case("schedule", op, {}, run, steps=steps, **({"lr": lr} if lr else {}), **attrs)

    lrs = torch.optim.lr_scheduler
    rates("step_lr", lrs.StepLR, 20, lr=0.1, step_size=7, gamma=0.1)
    rates("step_lr", lrs.StepLR, 20, lr=0.5, step_size=1, gamma=0.9)
    rates("cosine_annealing_lr", lrs.CosineAnnealingLR, 21, lr=0.1, T_max=20, eta_min=0.0)
    rates("cosine_annealing_lr", lrs.CosineAnnealingLR, 18, lr=0.3, T_max=17, eta_min=0.01)
    for max_lr, total, start in (0.1, 20, 0.3), (1.0, 23, 0.3), (0.4, 20, 0.5):
        rates("one_cycle_lr", lrs.OneCycleLR, total, max_lr=max_lr, total_steps=total, pct_start=start, div_factor=25.0,
              final_div_factor=1e4, anneal_strategy="cos", three_phase=False, cycle_momentum=False)


def cnn():
    """The model of torch_cnn.safetensors; its input is [N, 1, 12, 8]."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(6 * 3 * 2, 5), nn.ReLU(), nn.Linear(5, 3))


def checkpoint():
    torch.manual_seed(1)
    model = cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(30):
        labels = torch.randint(3, (16,))
        x = torch.randn(16, 1, 12, 8) + 0.5 * labels.view(-1, 1, 1, 1)
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    safetensors.torch.save_file(model.state_dict(), DATA / "torch_cnn.safetensors")

    x = torch.randn(2, 1, 12, 8) + torch.tensor([0.0, 1.0]).view(-1, 1, 1, 1)
    with torch.no_grad():
        logits = model.eval()(x)
    save("torch_cnn_io", dict(x=last(x), logits=logits), {"torch": VERSION})


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    DATA.mkdir(exist_ok=True)
    for family in (binary, unary, where, reduce, matmul, linear, conv2d, conv_transpose2d, pool2d, upsample, softmax, shape, index,
                   norm, optim, schedule):
        family()
    for file, (tensors, metadata) in files.items():
        save(file, tensors, metadata)
    checkpoint()
    for path in sorted(DATA.glob("*.safetensors")):
        print(f"{path.stat().st_size:8d}  {path.name}")


if __name__ == "__main__":
    main()
