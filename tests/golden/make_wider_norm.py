#!/usr/bin/env python3
"""Writes data/wider_norm.safetensors: norms whose variance is of more channels than their mean, whose statistics are mixed
with a population's, or whose gamma and beta are each sample's own, and layers that stand where a norm might, in the
format of make.py. PyTorch has no such op: these are the formulae, written out as means of arrays, with the gradients that
PyTorch derives of them. Not part of the build: README.md tells how to run this."""
import torch

from make import DATA, case, files, normal, nonzero, save, uniform


def scaled(mean_axes, groups, eps):
    """A mean over `mean_axes`; a variance over these and the channels of each of `groups` groups."""
    def norm(x, gamma, beta):
        d = x - x.mean(mean_axes, keepdim=True)
        parts = (d * d).unflatten(-1, (groups, -1))
        v = parts.mean([*mean_axes, x.ndim], keepdim=True).expand(*[-1] * x.ndim, parts.shape[-1])
        return gamma * d / torch.sqrt(v.flatten(-2) + eps) + beta
    return norm


def own_affine(axes, eps):
    """A mean and a variance over `axes`; gamma and beta [N, C]."""
    def norm(x, gamma, beta):
        d = x - x.mean(axes, keepdim=True)
        rows = [x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]]
        return gamma.view(rows) * d / torch.sqrt((d * d).mean(axes, keepdim=True) + eps) + beta.view(rows)
    return norm


def mixed(axes, eps):
    """The mean and the variance over `axes`, weighed by alpha with those of a population."""
    def norm(x, gamma, beta, alpha, mean, var):
        m = x.mean(axes, keepdim=True)
        v = alpha * (x - m).square().mean(axes, keepdim=True) + (1 - alpha) * var
        return gamma * (x - alpha * m - (1 - alpha) * mean) / torch.sqrt(v + eps) + beta
    return norm


def filter_response(eps):
    def norm(x, gamma, beta, tau):
        nu = x.square().mean([*range(1, x.ndim - 1)], keepdim=True)
        return torch.maximum(gamma * x / torch.sqrt(nu + eps) + beta, tau)
    return norm


def evo_norm(groups, eps):
    """EvoNorm-S0: the variance over the places of a sample and the channels of each of `groups` groups."""
    def norm(x, gamma, beta, a):
        cells = x.flatten(1, -2).unflatten(-1, (groups, -1)) if x.ndim > 2 else x.unflatten(-1, (groups, -1)).unsqueeze(1)
        s = torch.sqrt(cells.var((1, 3), unbiased=False, keepdim=True) + eps).expand(cells.shape)
        return gamma * x * torch.sigmoid(a * x) / s.reshape(x.shape) + beta
    return norm


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for size, groups, eps in [((4, 5, 3, 6), 1, 1e-5), ((3, 2, 2, 8), 4, 1e-3), ((7, 6), 2, 1e-5)]:
        inputs = dict(x=normal(*size, scale=2, shift=3), gamma=nonzero(size[-1]), beta=normal(size[-1]))
        case("wider_norm", "extended_batch_norm", inputs, scaled([*range(len(size) - 1)], groups, eps), groups=groups, eps=eps)
        if len(size) > 2:
            case("wider_norm", "centered_by_channel", inputs, scaled([*range(1, len(size) - 1)], groups, eps), groups=groups,
                 eps=eps)
    for size, eps in [((4, 5, 3, 6), 1e-5), ((3, 1, 7, 5), 1e-3), ((2, 9, 16), 1e-5)]:
        inputs = dict(x=normal(*size, scale=2, shift=3), gamma=nonzero(size[0], size[-1]), beta=normal(size[0], size[-1]))
        places = [*range(1, len(size) - 1)]
        for over, axes in dict(batch=[0, *places], instance=places, sample=[*places, len(size) - 1],
                               features=[len(size) - 1]).items():
            case("wider_norm", "own_affine", inputs, own_affine(axes, eps), over=over, eps=eps)
    for size in [(4, 5, 3, 6), (3, 2, 2, 8), (7, 6)]:
        channels = size[-1]
        inputs = dict(x=normal(*size, scale=2, shift=3), gamma=nonzero(channels), beta=normal(channels),
                      alpha=uniform(channels, lo=0.1, hi=0.9), mean=normal(channels, shift=2),
                      var=uniform(channels, lo=0.5, hi=6))
        for over, axes in dict(batch=[*range(len(size) - 1)], instance=[*range(1, len(size) - 1)]).items():
            if axes:
                case("wider_norm", "mixed", inputs, mixed(axes, 1e-5), const=("alpha", "mean", "var"), over=over)
    for size in [(4, 5, 3, 6), (2, 1, 1, 5), (3, 7, 4)]:
        channels = size[-1]
        inputs = dict(x=normal(*size, scale=2, shift=1), gamma=nonzero(channels), beta=normal(channels))
        case("wider_norm", "frn", dict(inputs, tau=normal(channels)), filter_response(1e-6))
        case("wider_norm", "dynamic_tanh", dict(inputs, a=uniform(1, lo=0.2, hi=0.9)),
             lambda x, gamma, beta, a: gamma * torch.tanh(a * x) + beta)
        case("wider_norm", "dynamic_erf", dict(inputs, a=uniform(1, lo=0.2, hi=0.9), s=normal(1)),
             lambda x, gamma, beta, a, s: gamma * torch.erf(a * x + s) + beta)
    for size, groups in [((4, 5, 3, 6), 3), ((2, 1, 2, 5), 1), ((3, 7, 8), 2), ((5, 6), 2)]:
        channels = size[-1]
        inputs = dict(x=normal(*size, scale=2, shift=1), gamma=nonzero(channels), beta=normal(channels),
                      a=uniform(channels, lo=0.2, hi=1.5))
        case("wider_norm", "evo", inputs, evo_norm(groups, 1e-5), groups=groups)
    save("wider_norm", *files["wider_norm"])
    print((DATA / "wider_norm.safetensors").stat().st_size, "wider_norm.safetensors")


if __name__ == "__main__":
    main()
