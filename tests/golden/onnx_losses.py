"""How norma computes the losses of ONNX, and what compares directions: for make_onnx.py. As onnx_ops.py, which is full."""
from onnx_ops import op


@op("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
def loss_of_labels(c, name, x, labels, weight=None):
    likelihood = name.startswith("Neg")
    classes_last = c.permute(x, [0, *range(2, len(c.shape(x))), 1])
    y = c.do("nll" if likelihood else "cross_entropy", classes_last, labels, weight, reduction=c.attr("reduction", "mean"),
             ignore_index=c.attr("ignore_index"))
    return y if len(c.outputs) == 1 else [y, c.do("log_softmax", x, axis=1)]


@op("LpNormalization")
def lp_normalization(c, _, x):
    axis = c.attr("axis", -1)
    if c.attr("p", 2) == 2:
        return c.do("l2_normalize", x, axis=axis)
    length = c.do("sum", c.do("abs", x), axes=[axis], keepdim=True)
    return c.do("where", c.do("eq", length, 0.0), 0.0, c.do("div", x, length))
