#!/usr/bin/env python3
"""Writes data/layers.safetensors: what PyTorch's attention, weight and spectral norm, and LayerNorm over several axes compute,
in the format of make.py. Not part of the build: README.md tells how to run this."""
import torch
import torch.nn.functional as F
from torch import nn

from make import DATA, case, files, ints, last, normal, planar, save


def unit(n):
    return lambda g: F.normalize(normal(n)(g), dim=0).float().double()


def attention():
    def attend(mask=None, causal=False, scale=None):
        return lambda q, k, v, *m: F.scaled_dot_product_attention(q, k, v, m[0] if m else mask, is_causal=causal, scale=scale)

    shapes = [((3, 5), (4, 5), (4, 6)), ((2, 3, 4, 8), (2, 3, 7, 8), (2, 3, 7, 2)), ((1, 1), (1, 1), (1, 1))]
    for q, k, v in shapes:
        inputs = dict(q=normal(*q), k=normal(*k), v=normal(*v))
        case("layers", "attention", inputs, attend(), causal=False)
        case("layers", "attention", inputs, attend(causal=True), causal=True)
        case("layers", "attention", inputs, attend(scale=0.3), causal=False, scale=0.3)
        case("layers", "attention", dict(**inputs, mask=normal(q[-2], k[-2])), attend(), causal=False)
        # The first key may always be used: what comes of no key at all, PyTorch's versions disagree on.
        may = lambda g: (torch.randint(2, (*q[:-2], q[-2], k[-2]), generator=g).bool() | (torch.arange(k[-2]) == 0))
        case("layers", "attention", dict(**inputs, mask=may), attend(), causal=False)


def multihead_attention():
    def layer(bias, mask, same):
        def run(x, other, in_weight, out_weight, *biases):
            m = nn.MultiheadAttention(6, 3, bias=bias, batch_first=True, dtype=torch.float64)
            state = {"in_proj_weight": in_weight, "out_proj.weight": out_weight}
            if bias:
                state |= {"in_proj_bias": biases[0], "out_proj.bias": biases[1]}
            keys = x if same else other
            hidden = ~torch.ones(x.shape[1], keys.shape[1], dtype=torch.bool).tril() if mask else None
            return torch.func.functional_call(m, state, (x, keys, keys), dict(need_weights=False, attn_mask=hidden))[0] \
                + 0 * other.sum()
        return run

    for bias, mask, same in ((True, False, True), (True, True, True), (False, False, False), (True, True, False)):
        inputs = dict(x=normal(2, 4, 6), other=normal(2, 5, 6), in_weight=normal(18, 6), out_weight=normal(6, 6))
        if bias:
            inputs |= dict(in_bias=normal(18), out_bias=normal(6))
        case("layers", "multihead_attention", inputs, layer(bias, mask, same), bias=bias, causal=mask, same=same)


def weights():
    def weight_norm(x, w, g):
        return F.linear(x, torch._weight_norm(w, g, 0))

    case("layers", "weight_norm", dict(x=normal(3, 5), w=normal(4, 5), g=normal(4, 1)), weight_norm)
    case("layers", "weight_norm_conv", dict(x=normal(2, 5, 4, 3), w=normal(4, 3, 3, 3), g=normal(4, 1, 1, 1)),
         lambda x, w, g: last(F.conv2d(planar(x), torch._weight_norm(planar(w), g, 0))))

    # One training pass, from a given u: a step of power iteration, then the division.
    def spectral_norm(x, w, u):
        linear = nn.utils.spectral_norm(nn.Linear(w[0].numel(), len(w), bias=False, dtype=torch.float64))
        state = {"weight_orig": w.flatten(1), "weight_u": u.clone(), "weight_v": torch.zeros(w[0].numel(), dtype=u.dtype)}
        y = torch.func.functional_call(linear, state, (x,))
        return dict(y=y, u_after=state["weight_u"], v_after=state["weight_v"])

    for features, w in ((5, (4, 5)), (18, (4, 3, 2, 3))):
        case("layers", "spectral_norm", dict(x=normal(3, features), w=normal(*w), u=unit(4)), spectral_norm, const=("u",))


def layer_norm():
    for lead, shape in (((2,), (4, 3, 5)), ((), (6,)), ((2, 3), (7, 2))):
        case("layers", "layer_norm", dict(x=normal(*lead, *shape), gamma=normal(*shape), beta=normal(*shape)),
             lambda x, gamma, beta: F.layer_norm(x, gamma.shape, gamma, beta), shape=list(shape))


def embedding():
    for ids in ((4,), (2, 3), ()):
        case("layers", "embedding", dict(ids=ints(*ids, below=5), w=normal(5, 3)), F.embedding)


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for family in (attention, multihead_attention, weights, layer_norm, embedding):
        family()
    save("layers", *files["layers"])
    print((DATA / "layers.safetensors").stat().st_size, "layers.safetensors")


if __name__ == "__main__":
    main()
