"""How norma computes the ops of ONNX: for make_onnx.py, which says what this is. Each onnx_<family>.py beside it enters more."""
import math

import numpy as np

Skip = type("Skip", (Exception,), {})  # a case that is left out; says why


OPS = {}  # ONNX's name -> a function of the case, the name, and the inputs, that returns a result or a list of them; the name;
          # whether the first input has to be a floating one


def op(*names, floating=True):
    def enter(function):
        assert not OPS.keys() & set(names), names
        OPS.update({name: (function, name, floating) for name in names})
        return function
    return enter


# ---- elementwise -------------------------------------------------------------------------------------------------

def same(name, function, floating=True):
    """An op that norma has, with the same arguments."""
    op(name, floating=floating)(lambda c, _, *inputs: c.do(function, *inputs))


for name in ("Exp", "Log", "Sqrt", "Abs", "Tanh", "Sigmoid", "Relu", "Div"):
    same(name, name.lower())
for name, function in dict(Equal="eq", Less="lt", LessOrEqual="le", Greater="gt", GreaterOrEqual="ge",
                           Where="where").items():
    same(name, function, floating=False)

op("Clip")(lambda c, _, x, *bounds: c.do("clamp", x, low=c.value(1), high=c.value(2)))
op("Gelu")(lambda c, _, x: c.do("gelu_tanh" if c.attr("approximate") == "tanh" else "gelu", x))


@op("Pow")
def power(c, _, a, b):
    return c.do("pow", a, b if c.tensors[b].dtype.kind == "f" else c.do("to", b))


@op("Sum", "Mean")
def addition(c, name, first, *others):
    for x in others:
        first = c.do("add", first, x)
    return first if name == "Sum" else c.do("div", first, float(1 + len(others)))


@op("LeakyRelu", "ThresholdedRelu", "Shrink")
def two_sided(c, name, x):
    if name == "LeakyRelu":
        return c.do("leaky_relu", x, slope=c.attr("alpha", 0.01))
    if name == "ThresholdedRelu":
        return c.do("where", c.do("gt", x, c.attr("alpha", 1.0)), x, 0.0)
    bound, bias = c.attr("lambd", 0.5), c.attr("bias", 0.0)
    above, below = c.do("sub", x, bias), c.do("add", x, bias)
    return c.do("where", c.do("gt", x, bound), above, c.do("where", c.do("lt", x, -bound), below, 0.0))


@op("Celu", "Selu")
def exponential_below(c, name, x):
    alpha = c.attr("alpha", 1.67326319217681884765625 if name == "Selu" else 1.0)
    gamma = c.attr("gamma", 1.05070102214813232421875 if name == "Selu" else 1.0)
    below = c.do("sub", c.do("exp", c.do("div", x, alpha) if name == "Celu" else x), 1.0)
    return c.do("mul", c.do("where", c.do("lt", x, 0.0), c.do("mul", below, alpha), x), gamma)


@op("HardSigmoid", "Softsign", "Reciprocal")
def composed(c, name, x):
    if name == "HardSigmoid":
        y = c.do("add", c.do("mul", x, c.attr("alpha", 0.2)), c.attr("beta", 0.5))
        return c.do("clamp", y, low=0.0, high=1.0)
    return c.do("div", x, c.do("add", c.do("abs", x), 1.0)) if name == "Softsign" else c.do("div", 1.0, x)


@op("Swish", "SwiGLU")
def swish(c, name, x, factor=None):
    alpha = c.attr("alpha", 1.0)
    y = c.do("silu", x) if alpha == 1 else c.do("mul", x, c.do("sigmoid", c.do("mul", x, alpha)))
    return y if factor is None else c.do("mul", y, factor)


@op("Cast", "CastLike")
def cast(c, _, x, like=None):
    if "saturate" in c.attrs:
        raise Skip("8-bit floats")
    to = {"float32": "f32", "float64": "f64"}[str(c.outputs[0].dtype)]
    return c.do("to", x, dtype=to)


@op("Dropout")
def dropout(c, _, x, *unused):
    if c.value(2, False) and c.value(1, 0.5) > 0:
        raise Skip("random numbers")
    return [c.do("dropout", x, p=0.0), c.do("eq", x, x)]


# ---- reductions, softmax -------------------------------------------------------------------------------------------

REDUCTIONS = dict(ReduceSum="sum", ReduceMean="mean", ReduceMax="max", ReduceMin="min", ReduceLogSumExp="logsumexp",
                  ReduceProd="prod", ReduceL1="vector_norm", ReduceL2="vector_norm", ReduceLogSum="sum",
                  ReduceSumSquare="sum")


@op(*REDUCTIONS)
def reduction(c, name, x, *unused):
    axes = c.axes(1, [])
    if not axes and c.attr("noop_with_empty_axes", 0):
        raise Skip("passes its input on")
    if name == "ReduceSumSquare":
        x = c.do("square", x)
    y = c.do(REDUCTIONS[name], x, axes=axes, keepdim=bool(c.attr("keepdims", 1)),
             p={"ReduceL1": 1.0, "ReduceL2": 2.0}.get(name))
    return c.do("log", y) if name == "ReduceLogSum" else y


@op("ArgMax", "ArgMin")
def index_of_extreme(c, name, x):
    axis, values = c.attr("axis", 0), c.tensors[x]
    if c.attr("select_last_index", 0):
        best = (values.max if name == "ArgMax" else values.min)(axis=axis, keepdims=True)
        if ((values == best).sum(axis=axis) > 1).any():
            raise Skip("the last of equals")
    return c.do(name.lower(), x, axis=axis, keepdim=bool(c.attr("keepdims", 1)))


op("Softmax")(lambda c, _, x: c.do("softmax", x, axis=c.attr("axis", -1)))
op("LogSoftmax")(lambda c, _, x: c.do("log_softmax", x, axis=c.attr("axis", -1)))


@op("Hardmax")
def hardmax(c, _, x):
    rank, axis = len(c.shape(x)), c.attr("axis", -1) % len(c.shape(x))
    y = c.do("one_hot", c.do("argmax", x, axis=axis, keepdim=False), classes=c.shape(x)[axis])
    others = list(range(rank - 1))
    return c.permute(y, others[:axis] + [rank - 1] + others[axis:])


# ---- matrices ------------------------------------------------------------------------------------------------------

@op("MatMul")
def matmul(c, _, a, b):
    row, column = len(c.shape(a)) == 1, len(c.shape(b)) == 1
    y = c.do("matmul", c.do("unsqueeze", a, axis=0) if row else a, c.do("unsqueeze", b, axis=1) if column else b)
    return c.reshape(y, c.outputs[0].shape) if row or column else y


@op("Gemm")
def gemm(c, _, a, b, bias=None):
    alpha, beta = c.attr("alpha", 1.0), c.attr("beta", 1.0)
    a = c.do("transpose", a, i=0, j=1) if c.attr("transA", 0) else a
    y = c.do("linear", a, b, None) if c.attr("transB", 0) else c.do("matmul", a, b)
    y = y if alpha == 1 else c.do("mul", y, alpha)
    if bias:
        y = c.do("add", y, bias if beta == 1 else c.do("mul", bias, beta))
    return y


# ---- images --------------------------------------------------------------------------------------------------------

class Windows:
    """Windows over the one or two axes of space of x [N, C, (H,) W]; one axis becomes a W with H = 1."""

    def __init__(self, c, x, kernel, ceil=False):
        self.c, self.x, n = c, x, len(c.shape(x)) - 2
        if n > 2:
            raise Skip("three axes of space")
        self.lines = n == 1
        size, stride = c.shape(x)[2:], c.attr("strides", [1] * n)
        dilation, pads = c.attr("dilations", [1] * n), c.attr("pads", [0] * 2 * n)
        pads = list(zip(pads[:n], pads[n:]))
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
        if c.attr("auto_pad", "NOTSET").startswith("SAME"):
            total = [max((math.ceil(s / t) - 1) * t + r - s, 0) for s, t, r in zip(size, stride, reach)]
            pads = [(p // 2, p - p // 2) if c.attr("auto_pad") == "SAME_UPPER" else (p - p // 2, p // 2) for p in total]
        self.extra = [0] * n  # what the last window reaches beyond the padding, where a part of one counts
        if ceil:
            for i, (s, t, r, (before, after)) in enumerate(zip(size, stride, reach, pads)):
                last = math.ceil((s + before + after - r) / t)
                last -= last * t >= s + before
                self.extra[i] = max(last * t + r - s - before - after, 0)
        one = [1] * self.lines
        self.kernel, self.stride, self.dilation = one + list(kernel), one + list(stride), one + list(dilation)
        self.pads, self.extra = [(0, 0)] * self.lines + pads, [0] * self.lines + self.extra
        self.size = one + size

    def last(self, x):
        """[N, C, (H,) W] -> [N, H, W, C]; weights [O, I, (KH,) KW] -> [O, KH, KW, I]."""
        return self.c.permute(self.c.do("unsqueeze", x, axis=2) if self.lines else x, [0, 2, 3, 1])

    def first(self, y):
        y = self.c.permute(y, [0, 3, 1, 2])
        return self.c.do("squeeze", y, axis=2) if self.lines else y

    def symmetric(self):
        """The padding as a pair, if it is the same on both sides."""
        within = all(b == a and e == 0 for (b, a), e in zip(self.pads, self.extra))
        return [b for b, _ in self.pads] if within else None

    def four(self):
        """The padding as norma takes it: {top, bottom, left, right}."""
        return [n for pair in self.pads for n in pair]

    def padded(self, x, value):
        pads = [[0, 0], *[[b, a + e] for (b, a), e in zip(self.pads, self.extra)], [0, 0]]
        return self.c.do("pad", x, pads=pads, value=value)


@op("Conv")
def conv(c, _, x, weight, bias=None):
    w = Windows(c, x, c.shape(weight)[2:])
    return w.first(c.do("conv2d", w.last(x), w.last(weight), bias, stride=w.stride, padding=w.four(),
                        dilation=w.dilation, groups=c.attr("group", 1)))


@op("ConvTranspose")
def conv_transpose(c, _, x, weight, bias=None):
    w = Windows(c, x, c.shape(weight)[2:])
    output_padding = [0] * w.lines + c.attr("output_padding", [0] * (2 - w.lines))
    whole = [(s - 1) * t + d * (k - 1) + 1 for s, t, d, k in zip(w.size, w.stride, w.dilation, w.kernel)]
    wanted = [1] * w.lines + list(c.outputs[0].shape[2:])
    if "output_shape" in c.attrs or c.attr("auto_pad", "NOTSET") != "NOTSET":
        total = [max(n + o - k, 0) for n, o, k in zip(whole, output_padding, wanted)]
        w.pads = [(p - p // 2, p // 2) if c.attr("auto_pad") != "SAME_UPPER" else (p // 2, p - p // 2) for p in total]
    padding = w.symmetric()
    added = [0, 0] if padding is None else [k - n + sum(p) for k, n, p in zip(wanted, whole, w.pads)]
    y = c.do("conv_transpose2d", w.last(x), w.last(weight), bias, stride=w.stride, padding=padding or [0, 0],
             output_padding=added, dilation=w.dilation, groups=c.attr("group", 1))
    for axis in (1, 2) if padding is None else ():
        start = w.pads[axis - 1][0]
        y = c.do("slice", y, axis=axis, start=start, stop=start + wanted[axis - 1], step=1)
    return w.first(y)


@op("MaxPool", "AveragePool", "LpPool")
def pool(c, name, x):
    w = Windows(c, x, c.attr("kernel_shape"), bool(c.attr("ceil_mode", 0)))
    if len(c.outputs) > 1:
        raise Skip("indices of MaxPool")
    y = w.last(x)
    window = dict(kernel=w.kernel, stride=w.stride, dilation=w.dilation, ceil=bool(c.attr("ceil_mode", 0)))
    if name == "LpPool":
        y = c.do("pow", c.do("abs", y), float(c.attr("p", 2)))
        y = c.do("avg_pool2d", w.padded(y, 0.0), padding=[0] * 4, count_include_pad=True, **window)
        return w.first(c.do("pow", c.do("mul", y, float(math.prod(w.kernel))), 1 / c.attr("p", 2)))
    include = bool(c.attr("count_include_pad", 0))
    return w.first(c.do(name[:3].lower().replace("ave", "avg") + "_pool2d", y, padding=w.four(), count_include_pad=include,
                        **window))


@op("GlobalAveragePool", "GlobalMaxPool")
def global_pool(c, name, x):
    if name == "GlobalAveragePool" and len(c.shape(x)) == 4:
        return c.reshape(c.do("global_avg_pool", c.permute(x, [0, 2, 3, 1])), c.outputs[0].shape)
    return c.do("mean" if name == "GlobalAveragePool" else "max", x, axes=list(range(2, len(c.shape(x)))), keepdim=True)


@op("LRN")
def local_response(c, _, x):
    shape, size = c.shape(x), c.attr("size")
    y = c.reshape(c.do("square", x), [shape[0], shape[1], -1, 1])  # the channels as an axis of space
    y = c.do("pad", y, pads=[[0, 0], [(size - 1) // 2, size // 2], [0, 0], [0, 0]], value=0.0)
    y = c.do("avg_pool2d", y, kernel=[size, 1], stride=[1, 1], padding=[0] * 4, count_include_pad=True)
    y = c.do("add", c.do("mul", c.reshape(y, shape), c.attr("alpha", 1e-4)), c.attr("bias", 1.0))
    return c.do("div", x, c.do("pow", y, c.attr("beta", 0.75)))


# ---- norms ---------------------------------------------------------------------------------------------------------

def norm_of_channels(c, x, gamma, beta, *given, **attrs):
    """norma's norm of x [N, C, ...]."""
    rank = len(c.shape(x))
    y = c.do("norm", c.permute(x, [0, *range(2, rank), 1]), gamma, beta, *given, **attrs)
    return c.permute(y, [0, rank - 1, *range(1, rank - 1)])


@op("BatchNormalization")
def batch_norm(c, _, x, gamma, beta, mean, var):
    eps, momentum, axes = c.attr("epsilon", 1e-5), c.attr("momentum", 0.9), [0, *range(2, len(c.shape(x)))]
    if not c.attr("training_mode", 0):
        return norm_of_channels(c, x, gamma, beta, mean, var, grouping="whole", eps=eps)

    def step(old, new):
        return c.do("add", c.do("mul", old, momentum), c.do("mul", new, 1 - momentum))

    return [norm_of_channels(c, x, gamma, beta, grouping="whole", eps=eps),
            step(mean, c.do("mean", x, axes=axes, keepdim=False)),
            step(var, c.do("var", x, axes=axes, correction=0, keepdim=False))]


@op("InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization")
def grouped_norm(c, name, x, gamma=None, beta=None):
    if name.startswith("Mean"):
        if c.attr("axes", [0, 2, 3]) != [0, 2, 3]:
            raise Skip("other axes")
        return norm_of_channels(c, x, None, None, grouping="whole", eps=1e-18)  # ONNX adds 1e-9 to the deviation
    grouping = "instance" if name.startswith("Instance") else "groups"
    return norm_of_channels(c, x, gamma, beta, grouping=grouping, groups=c.attr("num_groups"), eps=c.attr("epsilon", 1e-5))


@op("LayerNormalization", "RMSNormalization")
def layer_norm(c, name, x, gamma, beta=None):
    shape, eps = c.shape(x), c.attr("epsilon", 1e-5)
    axis = c.attr("axis", -1) % len(shape)
    features = math.prod(shape[axis:])
    gamma, beta = (c.reshape(c.do("expand", p, shape=shape[axis:]), [features]) if p else None for p in (gamma, beta))
    y = c.reshape(c.do("norm", c.reshape(x, [-1, features]), gamma, beta, grouping="features", eps=eps,
                       center=name == "LayerNormalization"), shape)
    axes = dict(axes=list(range(axis, len(shape))), keepdim=True)
    if len(c.outputs) == 1:
        return y
    return [y, c.do("mean", x, **axes), c.do("rsqrt", c.do("add", c.do("var", x, correction=0, **axes), eps))]


# ---- shapes and indices: of any dtype ------------------------------------------------------------------------------

op("Concat", floating=False)(lambda c, _, *tensors: c.do("concat", *tensors, axis=c.attr("axis")))
op("Transpose", floating=False)(lambda c, _, x: c.do("permute", x, axes=c.attr("perm", list(range(len(c.shape(x))))[::-1])))


@op("Reshape", "Flatten", "Expand", floating=False)
def reshape(c, name, x, *unused):
    shape, wanted = c.shape(x), list(c.outputs[0].shape)
    if name == "Flatten" and c.attr("axis", 1) == 1:
        return c.do("flatten", x)
    if name == "Reshape" and 0 not in wanted:
        wanted = [shape[i] if n == 0 else n for i, n in enumerate(c.value(1))]
    return c.do("expand" if name == "Expand" else "reshape", x, shape=wanted)


@op("Squeeze", "Unsqueeze", floating=False)
def squeeze(c, name, x, *unused):
    rank = len(c.outputs[0].shape) if name == "Unsqueeze" else len(c.shape(x))
    axes = sorted(axis % rank for axis in c.axes(1))
    for axis in axes if name == "Unsqueeze" else axes[::-1]:
        x = c.do(name.lower(), x, axis=axis)
    return x


@op("Slice", floating=False)
def slices(c, _, x, *unused):
    starts, stops = c.value(1), c.value(2)
    axes, steps = c.value(3, list(range(len(starts)))), c.value(4, [1] * len(starts))
    for axis, start, stop, step in zip(axes, starts, stops, steps):
        extent = c.shape("x0")[axis]
        start, stop, step = slice(start, stop, step).indices(extent)
        stop = max(start, stop) if step > 0 else None if stop < 0 else min(start, stop)
        x = c.do("slice", x, axis=axis, start=start, stop=stop, step=step)
    return x


@op("DepthToSpace", "SpaceToDepth", floating=False)
def depth(c, name, x):
    (n, channels, h, w), size, pixels = c.shape(x), c.attr("blocksize"), c.attr("mode", "DCR") == "DCR"
    if name == "DepthToSpace" and not pixels:
        return c.permute(c.do("pixel_shuffle", c.permute(x, [0, 2, 3, 1]), r=size), [0, 3, 1, 2])
    if name == "DepthToSpace":
        few = channels // size**2
        x = c.permute(c.reshape(x, [n, size, size, few, h, w]), [0, 3, 4, 1, 5, 2])
    else:
        x = c.reshape(x, [n, channels, h // size, size, w // size, size])
        x = c.permute(x, [0, 3, 5, 1, 2, 4] if pixels else [0, 1, 3, 5, 2, 4])
    return c.reshape(x, c.outputs[0].shape)


@op("Gather", "GatherElements", floating=False)
def gather(c, name, x, index):
    axis = c.attr("axis", 0) % len(c.shape(x))
    if name == "Gather":
        return c.reshape(c.do("index_select", x, c.reshape(index, [-1]), axis=axis), c.outputs[0].shape)
    for other, extent in enumerate(c.shape(index)):  # norma wants the index to be as large as x along other axes
        if other != axis:
            x = c.do("slice", x, axis=other, start=0, stop=extent, step=1)
    return c.do("gather", x, index, axis=axis)


@op("OneHot", floating=False)
def one_hot(c, _, index, unused, values):
    if (c.tensors[index] < 0).any():
        raise Skip("negative indices")
    rank = len(c.shape(index)) + 1
    axis, others = c.attr("axis", -1) % rank, list(range(rank - 1))
    index = index if c.tensors[index].dtype.kind == "i" else c.do("to", index, dtype="i64")
    hot = c.do("one_hot", index, classes=int(c.value(1)), dtype="bool")
    off, on = (c.do("slice", values, axis=0, start=i, stop=i + 1, step=1) for i in (0, 1))
    return c.permute(c.do("where", hot, on, off), others[:axis] + [rank - 1] + others[axis:])
