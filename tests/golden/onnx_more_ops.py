"""How norma computes ONNX's integers, truth values, orders along an axis, and images of another size: for make_onnx.py. As
onnx_ops.py, which is full."""
import numpy as np

from onnx_ops import Skip, op, same

for name, function in dict(Sin="sin", Cos="cos", Erf="erf", Floor="floor", Round="round", Sign="sign",
                           HardSwish="hardswish", Softplus="softplus", PRelu="prelu", IsNaN="isnan").items():
    same(name, function)
for name, function in dict(And="logical_and", Or="logical_or", Xor="logical_xor", Not="logical_not").items():
    same(name, function, floating=False)

op("Ceil")(lambda c, _, x: c.do("neg", c.do("floor", c.do("neg", x))))
op("Elu")(lambda c, _, x: c.do("elu", x, alpha=c.attr("alpha", 1.0)))


@op("IsInf")
def is_infinite(c, _, x):
    y = c.do("isinf", x)
    for sign, compare in (("detect_negative", "gt"), ("detect_positive", "lt")):
        if not c.attr(sign, 1):
            y = c.do("logical_and", y, c.do(compare, x, 0.0))
    return y


def integers(c, function, *inputs):
    """Of integers norma computes in i64: those of fewer bits may wrap elsewhere."""
    if c.outputs[0].dtype == np.uint8 or any(c.tensors[x].dtype == np.uint8 for x in inputs):
        raise Skip("u8, in which norma does not compute")
    wide = [c.tensors[x].astype(np.int64) for x in inputs]
    if c.outputs[0].dtype.kind in "iu" and not (function(*wide) == c.outputs[0].astype(np.int64)).all():
        raise Skip("integers that wrap at fewer bits")


@op("Neg", "Add", "Sub", "Mul", floating=False)
def arithmetic(c, name, *inputs):
    if c.outputs[0].dtype.kind != "f":
        integers(c, dict(Neg=np.negative, Add=np.add, Sub=np.subtract, Mul=np.multiply)[name], *inputs)
    return c.do(name.lower(), *inputs)


@op("Max", "Min", floating=False)
def extreme(c, name, first, *others):
    for x in others:
        if c.outputs[0].dtype.kind != "f":
            integers(c, np.maximum if name == "Max" else np.minimum, first, x)
        first = c.do("maximum" if name == "Max" else "minimum", first, x)
    return first


@op("CumSum", floating=False)
def cumulative(c, _, x, unused):
    if c.tensors[x].dtype == np.uint8:
        raise Skip("u8, in which norma does not compute")
    axis, backwards = int(c.value(1) if isinstance(c.value(1), int) else c.value(1)[0]), c.attr("reverse", 0)
    start = c.do("flip", x, axis=axis) if backwards else x
    y = c.do("cumsum", start, axis=axis)
    y = c.do("sub", y, start) if c.attr("exclusive", 0) else y
    return c.do("flip", y, axis=axis) if backwards else y


@op("TopK", floating=False)
def top(c, _, x, unused):
    attrs = dict(k=int(c.value(1)[0]), axis=c.attr("axis", -1), largest=bool(c.attr("largest", 1)))
    if not c.attr("sorted", 1):
        raise Skip("an order that is not said")
    return [c.do("topk_values", x, **attrs), c.do("topk_indices", x, **attrs)]


@op("Trilu", floating=False)
def triangle(c, _, x, unused=None):
    return c.do("triu" if c.attr("upper", 1) else "tril", x, diagonal=int(c.value(1, 0)))


@op("ScatterElements", floating=False)
def scatter(c, _, x, index, source):
    if c.attr("reduction", "none") != "add":
        raise Skip("scatters but by addition")
    axis = c.attr("axis", 0) % len(c.shape(x))
    if any(i != axis and n != m for i, (n, m) in enumerate(zip(c.shape(x), c.shape(index)))):
        raise Skip("scatters into a part of the other axes")
    return c.do("scatter_add", x, index, source, axis=axis)


@op("Split", floating=False)
def split(c, _, x, *unused):
    axis, sizes = c.attr("axis", 0), [y.shape[c.attr("axis", 0)] for y in c.outputs]
    return [c.do("split", x, axis=axis, sizes=sizes, part=i) for i in range(len(sizes))]


@op("Tile", floating=False)
def tile(c, _, x, *unused):
    return c.do("tile", x, repeats=c.value(1))


@op("Pad", floating=False)
def pad(c, _, x, *unused):
    rank, pads = len(c.shape(x)), c.value(1)
    sides, half = [[0, 0] for _ in range(rank)], len(pads) // 2
    for axis, *side in zip(c.value(3, list(range(rank))), pads[:half], pads[half:]):
        sides[axis] = side
    mode = dict(constant=None, reflect="reflect", edge="replicate", wrap="circular")[c.attr("mode", "constant")]
    return c.do("pad", x, pads=sides, mode=mode, value=c.value(2, 0.0) if mode is None else None)


@op("Resize", "Upsample")
def resize(c, name, x, *unused):
    """Images of another size, where ONNX is asked for what norma (and PyTorch) does."""
    shape, wanted = c.shape(x), list(c.outputs[0].shape)
    mode, corners = c.attr("mode", "nearest"), c.attr("coordinate_transformation_mode", "half_pixel")
    if len(shape) != 4 or wanted[:2] != shape[:2] or c.attr("antialias", 0) or c.attr("keep_aspect_ratio_policy"):
        raise Skip("a resize of other axes, or another resize")
    scales = c.value(2 if name == "Resize" else 1) or [n / s for n, s in zip(wanted, shape)]
    scales = scales if len(scales) == 4 else [1.0, 1.0, *scales]
    if any(abs(n / s - scale) > 1e-6 for n, s, scale in zip(wanted, shape, scales)):
        raise Skip("a resize by a scale that makes no whole size")
    if mode == "linear" and corners in ("half_pixel", "align_corners", "pytorch_half_pixel"):
        attrs = dict(mode="bilinear", align_corners=corners == "align_corners")
        if corners == "pytorch_half_pixel" and 1 in wanted[2:]:
            raise Skip("a resize to one pixel, by ONNX's rule")
    elif mode == "nearest" and (name == "Upsample" or corners == "asymmetric" and c.attr("nearest_mode") == "floor"):
        attrs = dict(mode="nearest", align_corners=False)
    elif mode == "nearest" and all(n % s == 0 for n, s in zip(wanted, shape)) and corners == "half_pixel" and \
            c.attr("nearest_mode", "round_prefer_floor") != "ceil":
        attrs = dict(mode="nearest", align_corners=False)  # by whole factors, the rules make the same
    else:
        raise Skip("a resize by another rule")
    return c.permute(c.do("interpolate", c.permute(x, [0, 2, 3, 1]), size=wanted[2:], **attrs), [0, 3, 1, 2])
