"""The data of the ports, made up: make(name) -> tensors by name. Pictures are uint8 [N, C, H, W], labels and tokens uint8,
tables float32. What a name begins with "weights/" is not data but what somebody has trained before."""
import math

import torch
import torch.nn.functional as F
from torch import nn


def uniform(g, n, low, high):
    return (low + (high - low) * torch.rand(n, generator=g)).view(n, 1, 1)


def shapes(g, n, kinds, noise=0.0, angle=0.0, turn=0.0, first=0):
    """-> pictures [n, 16, 16] in [0, 1], their kinds [n], and the pixels [n, 16, 16] that each shape covers: discs,
    squares, crosses and rings (0 ... 3; first ... kinds - 1 of these), turned by `turn` and up to `angle` more, at random
    places."""
    kind = torch.randint(first, kinds, (n,), generator=g)
    row, column = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    row, column = row - uniform(g, n, 6, 9), column - uniform(g, n, 6, 9)
    turn, r = turn + uniform(g, n, -angle, angle), uniform(g, n, 3, 5)
    u, v = row * turn.cos() + column * turn.sin(), column * turn.cos() - row * turn.sin()
    length, longest, shortest = (u**2 + v**2).sqrt(), torch.maximum(u.abs(), v.abs()), torch.minimum(u.abs(), v.abs())
    # How far a pixel is inside, in pixels.
    inside = torch.stack([r - length, r * 0.9 - longest, torch.minimum(r - longest, r * 0.35 - shortest),
                          torch.minimum(r - length, length - r * 0.55)])[kind, torch.arange(n)]
    picture = uniform(g, n, 0.6, 1) * (inside + 0.5).clamp(0, 1)
    picture = picture + noise * torch.randn(n, 16, 16, generator=g) + (0.1 if noise else 0)
    return picture.clamp(0, 1), kind, inside > 0


def pictures(x):
    return (x * 255).round().to(torch.uint8).view(len(x), -1, 16, 16)


def gan(g):
    return {"pictures": pictures(shapes(g, 256, 2)[0])}


def vae(g):
    return {"pictures": pictures(shapes(g, 256, 4, angle=0.7)[0])}


def unet(g):
    picture, kind, covered = shapes(g, 192, 2, noise=0.2)
    mask = torch.where(covered, 1 + kind.view(-1, 1, 1), 0)  # 0: background
    covered = covered[:, None].float()  # at the edge who made the masks was not always sure: 255
    edge = F.max_pool2d(covered, 3, 1, 1) + F.max_pool2d(-covered, 3, 1, 1) > 0
    edge = edge[:, 0] & (torch.rand(mask.shape, generator=g) < 0.5)
    return {"pictures": pictures(picture), "masks": mask.masked_fill(edge, 255).to(torch.uint8)}


def vit(g):
    picture, kind, _ = shapes(g, 320, 4, noise=0.1, angle=0.3)
    return {"pictures": pictures(picture), "labels": kind.to(torch.uint8)}


def transfer(g):
    """Another task for a network that tells shapes apart: is a cross or square turned by 45 degrees?"""
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential()
    model.add_module("backbone", backbone)
    model.add_module("head", nn.Linear(32, 4))
    picture, kind, _ = shapes(g, 2048, 4, noise=0.1, angle=0.2)
    x = pictures(picture) / 255
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(8):
        for i in torch.randperm(2048, generator=g).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[i]), kind[i])
            loss.backward()
            optimizer.step()
    print(f"pretrained to a loss of {loss.item():.3f}")

    turned = torch.randint(2, (192,), generator=g)
    picture, _, _ = shapes(g, 192, 3, noise=0.1, angle=0.2, turn=turned.view(-1, 1, 1) * math.pi / 4, first=1)
    weights = {f"weights/pretrained.{k}": v.clone() for k, v in model.state_dict().items()}
    return {"pictures": pictures(picture), "labels": turned.to(torch.uint8)} | weights


def moco(g):
    """Each picture twice: shifted, mirrored, brighter or darker, noisy."""
    picture, _, _ = shapes(g, 256, 4, angle=0.7)

    def view():
        moved = torch.stack([p.roll(tuple(torch.randint(-1, 2, (2,), generator=g).tolist()), (0, 1)) for p in picture])
        moved = torch.where(torch.rand(256, 1, 1, generator=g) < 0.5, moved, moved.flip(2))
        return pictures((moved * uniform(g, 256, 0.7, 1) + 0.05 * torch.randn(256, 16, 16, generator=g)).clamp(0, 1))

    return {"view1": view(), "view2": view()}


def gru(g):
    """The token behind the only 9 is what a sequence is about."""
    tokens = torch.randint(8, (1024, 12), generator=g)
    place = torch.randint(11, (1024, 1), generator=g)
    tokens.scatter_(1, place, 9)
    return {"tokens": tokens.to(torch.uint8), "labels": tokens.gather(1, place + 1)[:, 0].to(torch.uint8)}


def table(g):
    x = torch.randn(768, 8, generator=g)
    y = x[:, 0] * x[:, 1] + torch.sin(2 * x[:, 2]) + x[:, 3].abs() - 0.5 * x[:, 4] + 0.1 * torch.randn(768, generator=g)
    scale = 10 ** (4 * torch.rand(8, generator=g) - 2)
    return {"columns": x * scale + 3 * scale * torch.randn(8, generator=g), "target": 20 + 5 * y}


def make(name):
    return globals()[name](torch.Generator().manual_seed(17))
