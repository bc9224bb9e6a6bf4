#!/usr/bin/env python3
"""Writes data/spatial.safetensors: interpolation, adaptive pooling, and all that pads, as PyTorch computes them.

Apart from make.py for its length alone: the cases are made by the functions there, in the same format, and this is run
likewise. What PyTorch has no argument for, different padding on each side, is padded beforehand.
"""
import torch
import torch.nn.functional as F

from make import DATA, case, distinct, files, last, normal, planar, save

MODES = ["zeros", "reflect", "replicate", "circular"]


def sides(top, bottom, left, right):
    """The order in which F.pad wants them."""
    return (left, right, top, bottom)


def padded(x, pads, mode="zeros"):
    """x [N, C, H, W] with pads (top, bottom, left, right) around it."""
    return F.pad(x, sides(*pads)) if mode == "zeros" else F.pad(x, sides(*pads), mode=mode)


def interpolate():
    shapes = [(2, 3, 5, 3), (1, 7, 4, 1), (1, 1, 6, 5), (2, 8, 3, 2)]
    for shape in shapes:
        for size in [(6, 10), (2, 3), (1, 1), (7, 4), (5, 13)]:
            if size == (5, 13) and shape[3] > 2:
                continue
            for mode, align in [("nearest", False), ("bilinear", False), ("bilinear", True)]:
                case("spatial", "interpolate", dict(x=normal(*shape)),
                     lambda x: last(F.interpolate(planar(x), size, mode=mode, **({"align_corners": align} if mode != "nearest" else {}))),
                     size=size, mode=mode, align_corners=align)
    for shape in shapes[:2]:
        for scale in [(2.0, 3.0), (1.5, 1.7), (0.6, 0.4), (2.3, 0.5), (1.1, 1.0)]:
            for mode, align in [("nearest", False), ("bilinear", False), ("bilinear", True)]:
                case("spatial", "interpolate", dict(x=normal(*shape)),
                     lambda x: last(F.interpolate(planar(x), scale_factor=scale, mode=mode, recompute_scale_factor=True,
                                                  **({"align_corners": align} if mode != "nearest" else {}))),
                     scale=scale, mode=mode, align_corners=align)


def adaptive():
    for shape, size in [((2, 7, 5, 3), (3, 2)), ((1, 4, 6, 2), (1, 1)), ((1, 3, 2, 5), (5, 7)), ((2, 6, 9, 1), (2, 4)), ((1, 5, 5, 3), (5, 5))]:
        case("spatial", "adaptive_avg_pool2d", dict(x=normal(*shape)), lambda x: last(F.adaptive_avg_pool2d(planar(x), size)), size=size)


def pools():
    def largest(x, kernel, stride, pads, dilation, ceil):
        low = F.pad(planar(x), sides(*pads), value=-torch.inf)
        return last(F.max_pool2d(low, kernel, stride, 0, dilation, ceil))

    for shape, kernel, stride, padding, dilation, ceil in [
            ((2, 7, 6, 3), (2, 2), (2, 2), (0, 0), (1, 1), True),
            ((1, 8, 5, 2), (3, 3), (2, 2), (1, 1), (1, 1), True),
            ((1, 5, 7, 1), (2, 3), (3, 2), (1, 0), (1, 1), True),
            ((2, 9, 8, 3), (3, 2), (1, 2), (1, 1), (2, 3), False),
            ((1, 9, 7, 5), (3, 3), (2, 3), (1, 1), (2, 1), True),
            ((1, 4, 4, 1), (2, 2), (5, 5), (0, 0), (1, 1), True)]:
        attrs = dict(kernel=kernel, stride=stride, padding=[padding[0]] * 2 + [padding[1]] * 2, ceil_mode=ceil)
        case("spatial", "max_pool2d", dict(x=distinct(*shape)),
             lambda x: last(F.max_pool2d(planar(x), kernel, stride, padding, dilation, ceil)), dilation=dilation, **attrs)
        for count in (True, False):
            case("spatial", "avg_pool2d", dict(x=normal(*shape)),
                 lambda x: last(F.avg_pool2d(planar(x), kernel, stride, padding, ceil, count)),
                 dilation=(1, 1), count_include_pad=count, **attrs)
    for shape, kernel, stride, pads, dilation in [((2, 5, 6, 3), (3, 3), (1, 1), (0, 2, 2, 1), (1, 1)),
                                                  ((1, 6, 7, 2), (2, 3), (2, 1), (1, 0, 2, 2), (2, 1)),
                                                  ((1, 3, 4, 1), (4, 3), (1, 2), (3, 3, 2, 0), (1, 1))]:
        attrs = dict(kernel=kernel, stride=stride, padding=pads, ceil_mode=False)
        case("spatial", "max_pool2d", dict(x=distinct(*shape)),
             lambda x: largest(x, kernel, stride, pads, dilation, False), dilation=dilation, **attrs)

        def mean(x, count):
            y = F.avg_pool2d(padded(planar(x), pads), kernel, stride)
            inside = F.avg_pool2d(padded(torch.ones_like(planar(x)), pads), kernel, stride)
            return last(y if count else y / inside.detach())
        for count in (True, False):
            case("spatial", "avg_pool2d", dict(x=normal(*shape)), lambda x: mean(x, count), dilation=(1, 1),
                 count_include_pad=count, **attrs)


def same(sizes, kernel, stride, dilation):
    """TensorFlow's SAME: ceil(size / stride) outputs, the odd row at the end."""
    pads = []
    for n, k, s, d in zip(sizes, kernel, stride, dilation):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pads += [total // 2, total - total // 2]
    return pads


def convolutions():
    for shape, filters, kernel, stride, pads, dilation, groups in [
            ((2, 6, 5, 3), 4, (3, 3), (1, 1), (0, 1, 2, 0), (1, 1), 1),
            ((1, 7, 6, 4), 6, (3, 2), (2, 1), (2, 0, 0, 3), (1, 2), 2),
            ((1, 5, 6, 12), 12, (3, 3), (1, 1), (2, 1, 1, 0), (1, 1), 1),
            ((2, 5, 6, 5), 5, (3, 3), (2, 2), (0, 1, 1, 2), (1, 1), 5),
            ((1, 3, 3, 2), 3, (1, 1), (2, 2), (0, 2, 0, 2), (1, 1), 1),
            ((1, 9, 6, 2), 3, (4, 3), (1, 1), "same", (1, 1), 1),
            ((2, 5, 7, 3), 4, (3, 2), (1, 1), "same", (2, 3), 1),
            ((1, 8, 7, 3), 4, (3, 3), (2, 2), "same", (1, 1), 1),
            ((1, 6, 9, 2), 2, (2, 5), (3, 2), "same", (1, 1), 1)]:
        for mode in MODES:
            if mode != "zeros" and (shape[3] > 4 or stride != (1, 1)):
                continue
            pixels = same(shape[1:3], kernel, stride, dilation) if pads == "same" else pads
            if mode in ("reflect", "circular") and max(pixels[:2]) >= shape[1]:
                continue

            def forward(x, w, b):
                y = F.conv2d(padded(planar(x), pixels, mode), planar(w), b, stride, 0, dilation, groups)
                if pads == "same" and stride == (1, 1) and mode == "zeros":
                    assert torch.equal(y, F.conv2d(planar(x), planar(w), b, stride, "same", dilation, groups))
                return last(y)
            case("spatial", "conv2d", dict(x=normal(*shape), w=normal(filters, *kernel, shape[3] // groups), b=normal(filters)), forward,
                 stride=stride, padding=pads, dilation=dilation, groups=groups, padding_mode=mode)
    for length, kernel, stride, padding, dilation, groups in [(9, 3, 1, 1, 1, 1), (8, 4, 2, 3, 1, 2), (11, 3, 3, 0, 2, 1)]:
        case("spatial", "conv1d", dict(x=normal(2, length, 4), w=normal(6, kernel, 4 // groups), b=normal(6)),
             lambda x, w, b: last(F.conv1d(planar(x), planar(w), b, stride, padding, dilation, groups)),
             stride=stride, padding=padding, dilation=dilation, groups=groups)


def shapes():
    for mode in MODES[1:]:
        for shape, pads in [((2, 4, 5, 3), (1, 2, 3, 0)), ((1, 3, 2, 1), (2, 2, 1, 1)), ((1, 1, 4, 2), (0, 0, 3, 3))]:
            case("spatial", "pad", dict(x=normal(*shape)), lambda x: last(padded(planar(x), pads, mode)),
                 pads=[[0, 0], pads[:2], pads[2:], [0, 0]], padding_mode=mode)
    for shape, r in [((2, 3, 2, 8), 2), ((1, 2, 3, 9), 3), ((1, 1, 1, 5), 1)]:
        case("spatial", "pixel_shuffle", dict(x=normal(*shape)), lambda x: last(F.pixel_shuffle(planar(x), r)), r=r)
    for shape, r in [((2, 4, 6, 3), 2), ((1, 3, 6, 2), 3), ((1, 1, 1, 5), 1)]:
        case("spatial", "pixel_unshuffle", dict(x=normal(*shape)), lambda x: last(F.pixel_unshuffle(planar(x), r)), r=r)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for family in (interpolate, adaptive, pools, convolutions, shapes):
        family()
    save("spatial", *files["spatial"])
    print(len(files["spatial"][1]) - 1, "cases,", (DATA / "spatial.safetensors").stat().st_size, "bytes")
