#!/usr/bin/env python3
"""Writes data/loss.safetensors: the losses, and what compares directions. A part of make.py, whose format and helpers it has.

    python make_loss.py            # as make.py, in the same environment

Where PyTorch wants the classes on axis 1, `planar` takes them there, so that x and its gradient are channels-last.
"""
import torch
import torch.nn.functional as F

from make import case, exact, files, hundredths, normal, planar, save, uniform


def classes_second(t):
    return planar(t) if t.dim() > 2 else t


def classifier():
    layouts = [(5, 3, 1, 0.0, -100, ()), (7, 17, 1, 0.1, -100, ()), (5, 7, 2, 0.0, -100, (1, 3)), (7, 5, 1, 0.2, -1, (0, 4, 6)),
               (1, 2, 1, 0.0, -100, ()), (3, 10, 100, 0.05, -100, ()), (17, 3, 1, 0.1, 2, ())]
    for n, c, scale, smoothing, ignore, ignored in layouts:
        labels_case("cross_entropy", (n,), c, scale=scale, smoothing=smoothing, ignore=ignore, ignored=ignored)
    for op in ("cross_entropy", "nll"):
        for reduction in ("mean", "sum", "none"):
            for weighted in (False, True):
                for smoothing in (0.0, 0.2) if op == "cross_entropy" else (0.0,):
                    labels_case(op, (2, 3, 4), 5, smoothing=smoothing, ignored=(0, 7, 8), weighted=weighted, reduction=reduction)
                    if op == "cross_entropy":
                        shares_case((2, 3), 4, smoothing, weighted, reduction)
        labels_case(op, (9,), 70, ignore=3, weighted=True)
        labels_case(op, (), 4, weighted=True)
    shares_case((), 3, 0.1, True, "mean")


def labels_case(op, rows, c, scale=1, smoothing=0.0, ignore=-100, ignored=(), weighted=False, reduction="mean"):
    def labels(g):
        t = torch.randint(c, rows, generator=g)
        t.view(-1)[list(ignored)] = ignore
        return t

    def loss(x, labels, weight=None):
        x, options = classes_second(x), dict(weight=weight, ignore_index=ignore, reduction=reduction)
        return F.nll_loss(x, labels, **options) if op == "nll" else \
            F.cross_entropy(x, labels, label_smoothing=smoothing, **options)

    inputs = dict(x=normal(*rows, c, scale=scale), labels=labels) | (dict(weight=uniform(c, lo=0.2, hi=2)) if weighted else {})
    case("loss", op, inputs, loss, const=["weight"], label_smoothing=smoothing, ignore_index=ignore, reduction=reduction)


def shares_case(rows, c, smoothing, weighted, reduction):
    def target(g):
        return exact(torch.softmax(torch.randn(*rows, c, generator=g, dtype=torch.float64), -1))

    def loss(x, target, weight=None):
        return F.cross_entropy(classes_second(x), classes_second(target), weight=weight, label_smoothing=smoothing,
                               reduction=reduction)

    inputs = dict(x=normal(*rows, c), target=target) | (dict(weight=uniform(c, lo=0.2, hi=2)) if weighted else {})
    case("loss", "cross_entropy_of_shares", inputs, loss, const=["weight"], label_smoothing=smoothing, reduction=reduction)


def pairs():
    for shape in [(5, 3), (1,), (2, 7, 5, 3)]:
        case("loss", "mse", dict(a=normal(*shape), b=normal(*shape)), F.mse_loss, reduction="mean")
    for shape, scale in [((5, 3), 1), ((17,), 50), ((2, 3, 1), 3)]:
        case("loss", "bce_with_logits", dict(x=normal(*shape, scale=scale), target=uniform(*shape, lo=0, hi=1)),
             F.binary_cross_entropy_with_logits, const=["target"], reduction="mean")
    for shape, reduction in [((5, 3), "mean"), ((2, 7, 5), "sum"), ((3, 17), "none")]:
        def pair(op, loss, a=normal(*shape), b=normal(*shape), **attrs):
            case("loss", op, dict(a=a, b=b), lambda a, b: loss(a, b, reduction=reduction, **attrs), reduction=reduction, **attrs)

        apart = dict(a=hundredths(*shape, shift=0.005), b=hundredths(*shape))  # from the kinks
        pair("mse", F.mse_loss)
        pair("l1", F.l1_loss, **apart)
        for bound in (1.0, 0.25):
            pair("smooth_l1", F.smooth_l1_loss, **apart, beta=bound)
            pair("huber", F.huber_loss, **apart, delta=bound)
        pair("bce", F.binary_cross_entropy, a=uniform(*shape, lo=0.01, hi=0.99), b=uniform(*shape, lo=0, hi=1))
        pair("bce_with_logits_both", F.binary_cross_entropy_with_logits, b=uniform(*shape, lo=0, hi=1))
        pair("kl_div", F.kl_div, b=uniform(*shape, lo=0.1, hi=1))
        case("loss", "pos_weight", dict(x=normal(*shape), target=lambda g: torch.randint(2, shape, generator=g).double(),
                                        weight=uniform(shape[-1], lo=0.2, hi=3)),
             lambda x, target, weight: F.binary_cross_entropy_with_logits(x, target, pos_weight=weight, reduction=reduction),
             const=["target", "weight"], reduction=reduction)
    case("loss", "kl_div", dict(a=normal(3, 5), b=uniform(3, 5, lo=0.1, hi=1)),
         lambda a, b: F.kl_div(a, b, reduction="batchmean"), reduction="batchmean")


def directions():
    for shape, axis, eps in [((5, 3), -1, 1e-8), ((2, 7, 5), 1, 1e-8), ((3, 1), 0, 1e-8), ((2, 3), -1, 3.0)]:
        # No gradients below eps, where PyTorch's are not those of what it computes: the clamp is hidden from them.
        case("loss", "cosine_similarity", dict(a=normal(*shape), b=normal(*shape)),
             lambda a, b: F.cosine_similarity(a, b, axis, eps), const=["a", "b"] if eps == 3 else (), axis=axis, eps=eps)
        case("loss", "l2_normalize", dict(x=normal(*shape)), lambda x: F.normalize(x, 2, axis, eps), axis=axis, eps=eps)


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for family in (classifier, pairs, directions):
        family()
    save("loss", *files["loss"])


if __name__ == "__main__":
    main()
