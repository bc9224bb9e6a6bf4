#!/usr/bin/env python3
"""The recipes airbench94 and fast of examples/cifar in PyTorch, on the CPU: whole trainings on CIFAR-10's binary files, tested
by one view and by six. Times are of training alone; those of its first steps, from norma's weights, bench/compare compares.

    airbench_torch.py --data cifar-10-batches-bin --recipe fast --seed 1
    airbench_torch.py --data cifar-10-batches-bin --recipe airbench94 --compile --json run.json
    airbench_torch.py --data cifar-10-batches-bin --steps 20          the time of a step, without a test
"""
import argparse
import math
import pathlib
import sys
import time

import peer

if __name__ == "__main__" and "--plain-allocator" not in sys.argv:
    peer.tune_allocator()

import numpy
import torch
import torch.nn.functional as F
from torch import nn

CLASSES, IMAGES = 10, 50_000
RECIPES = {"airbench94": dict(epochs=9.9, batch=1024, lr=1.5, weight_decay=0.00133, stem_lr=1, muon=False, lookahead=5),
           "fast": dict(epochs=8, batch=2000, lr=1.656, weight_decay=0.002415, stem_lr=64, muon=True, lookahead=0)}
MOMENTUM, BIAS_LR, STEM_EPOCHS, SMOOTHING = 0.85, 64, 3, 0.2
MUON_LR, MUON_MOMENTUM = 0.24, 0.6


# ---- the network, with the names that norma's has ----------------------------------------------------------------------

class Conv(nn.Conv2d):
    def __init__(self, cin, cout):
        super().__init__(cin, cout, 3, padding=1, bias=False)
        nn.init.dirac_(self.weight.data[:cin])


class Norm(nn.BatchNorm2d):
    def __init__(self, channels):
        super().__init__(channels, eps=1e-12, momentum=0.4)
        self.weight.requires_grad = False


class Group(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv1, self.norm1 = Conv(cin, cout), Norm(cout)
        self.conv2, self.norm2 = Conv(cout, cout), Norm(cout)

    def forward(self, x):
        y = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(y)))


class Airbench(nn.Module):
    def __init__(self):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad = False
        nn.init.zeros_(self.whiten.bias)
        self.groups = nn.Sequential(Group(24, 64), Group(64, 256), Group(256, 256))
        self.fc = nn.Linear(256, CLASSES, bias=False)

    def forward(self, x):
        y = F.max_pool2d(self.groups(F.gelu(self.whiten(x))), 3)
        return self.fc(y.flatten(1)) / 9


def whitening_filters(images):  # f32 [N, 3, H, W]
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors.T / (values[:, None] + 5e-4).sqrt()).flip(0).reshape(12, 3, 2, 2)
    return torch.cat([filters, -filters]).float()


# ---- training ----------------------------------------------------------------------------------------------------------

def orthogonalized(u):
    if u.size(0) > u.size(1):
        return orthogonalized(u.T).T
    x = u / (u.norm() + 1e-7)
    for _ in range(3):
        a = x @ x.T
        x = torch.addmm(x, torch.addmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


class Muon(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                v = self.state[p].setdefault("velocity", torch.zeros_like(p))
                v.mul_(MUON_MOMENTUM).add_(p.grad)
                u = orthogonalized(p.grad.add(v, alpha=MUON_MOMENTUM).flatten(1))
                p.mul_(math.sqrt(len(p)) / p.norm()).sub_(group["lr"] * u.view_as(p))


class Training:
    """The steps of a recipe: `step` of a batch, on `net`, which is the model or what compiles it."""

    def __init__(self, model, recipe, steps, steps_of_epoch):
        self.model, self.recipe, self.steps, self.done = model, RECIPES[recipe], steps, 0
        self.stem_steps = min(steps, math.ceil(STEM_EPOCHS * steps_of_epoch))
        o = self.recipe
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        filters = [p for p in trained.values() if p.ndim == 4] if o["muon"] else []
        norms = [p for name, p in trained.items() if p.ndim == 1 and name != "whiten.bias"]
        rest = [p for p in trained.values() if p.ndim == 2 or (p.ndim == 4 and not o["muon"])]

        def group(parameters, times):  # the decay in a step, lr * weight_decay, is of all the same
            return dict(params=parameters, lr=o["lr"] * times, weight_decay=o["weight_decay"] / times)
        self.sgd = torch.optim.SGD([group([model.whiten.bias], o["stem_lr"]), group(norms, BIAS_LR), group(rest, 1)],
                                   momentum=MOMENTUM, nesterov=True, fused=True)
        self.optimizers = [self.sgd] + ([Muon(filters, dict(lr=MUON_LR))] if filters else [])
        for optimizer in self.optimizers:
            for g in optimizer.param_groups:
                g["full_lr"] = g["lr"]
        self.fast = [t for t in [*trained.values(), *model.buffers()] if t.is_floating_point()]
        self.slow = [t.detach().clone() for t in self.fast] if o["lookahead"] else []

    def share(self, step, steps):  # of the full learning rate
        if self.recipe["muon"]:
            return 1 - step / steps
        top = math.floor(0.23 * steps)
        return 0.2 + 0.8 * step / top if step < top else 1 - 0.93 * (step - top) / (steps - top)

    def step(self, net, images, labels):
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for g in optimizer.param_groups:
                g["lr"] = g["full_lr"] * self.share(self.done, self.steps)
        if self.recipe["muon"] and self.done < self.stem_steps:
            stem = self.sgd.param_groups[0]
            stem["lr"] = stem["full_lr"] * self.share(self.done, self.stem_steps)
        self.model.whiten.bias.requires_grad = self.done < self.stem_steps
        loss = F.cross_entropy(net(images), labels, label_smoothing=SMOOTHING)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.done += 1
        if self.slow:
            self.look_ahead()
        return loss

    @torch.no_grad()
    def look_ahead(self):
        k = self.recipe["lookahead"]
        if self.done % k == 0:
            torch._foreach_lerp_(self.slow, self.fast, 1 - 0.95**k * (self.done / self.steps)**3)
        if self.done % k == 0 or self.done == self.steps:
            torch._foreach_copy_(self.fast, self.slow)


# ---- data --------------------------------------------------------------------------------------------------------------

def load(folder, names):
    """u8 [N, 32, 32, 3] and labels"""
    records = numpy.concatenate([numpy.fromfile(pathlib.Path(folder) / name, numpy.uint8).reshape(-1, 3073) for name in names])
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32)).permute(0, 2, 3, 1).contiguous()
    return images, torch.from_numpy(records[:, 0].astype(numpy.int64))


class Batches:
    """Epochs of batches, shuffled; pictures are shifted by up to two pixels, and mirrored in every other epoch."""

    def __init__(self, images, labels, size):
        self.labels, self.size = labels, size
        x = images.permute(0, 3, 1, 2).float()
        self.mean, self.deviation = x.mean((0, 2, 3)), x.std((0, 2, 3), correction=0)
        self.padded = F.pad(x, (2,) * 4, "reflect").to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        self.mirrored = torch.rand(len(images)) < 0.5

    def normalized(self, images):  # u8 [N, H, W, 3] -> f32 [N, 3, H, W], channels_last
        return ((images - self.mean) / self.deviation).permute(0, 3, 1, 2)

    def epoch(self, number):
        order, place = torch.randperm(len(self.labels)), torch.arange(32)
        for first in range(0, len(order) - self.size + 1, self.size):
            chosen = order[first:first + self.size]
            top, left = torch.randint(0, 5, (2, self.size, 1))
            back = self.mirrored[chosen] ^ (number % 2 == 1)
            columns = left + torch.where(back[:, None], 31 - place, place)
            images = self.padded[chosen[:, None, None], (top + place)[:, :, None], columns[:, None, :]]
            yield self.normalized(images), self.labels[chosen]


@torch.inference_mode()
def evaluate(model, images, labels, normalized):
    """-> accuracy by one view, and by six"""
    model.eval()

    def both(x):
        return (model(x) + model(x.flip(3))) / 2
    one = six = 0
    for first in range(0, len(images), 500):
        x, y = normalized(images[first:first + 500]), labels[first:first + 500]
        single, around = model(x), F.pad(x, (1,) * 4, "reflect")
        views = (single + model(x.flip(3))) / 4 + both(around[:, :, :32, :32]) / 4 + both(around[:, :, 2:, 2:]) / 4
        one += (single.argmax(1) == y).sum().item()
        six += (views.argmax(1) == y).sum().item()
    model.train()
    return one / len(images), six / len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--recipe", choices=list(RECIPES), default="fast")
    parser.add_argument("--epochs", type=float, help="in place of the recipe's")
    parser.add_argument("--batch", type=int, help="in place of the recipe's")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, help="stop after so many, and do not test")
    parser.add_argument("--eval-every", type=int, default=1000, metavar="EPOCHS", help="test behind each so many; not in the seconds")
    parser.add_argument("--compile", action="store_true", help="torch.compile; compiling counts as training")
    parser.add_argument("--plain-allocator", action="store_true", help="glibc's allocator as it comes")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    recipe = RECIPES[args.recipe]
    epochs, size = args.epochs or recipe["epochs"], args.batch or recipe["batch"]

    images, labels = load(args.data, [f"data_batch_{i}.bin" for i in range(1, 6)])
    batches = Batches(images, labels, size)
    model = Airbench()
    model.whiten.weight.data.copy_(whitening_filters(batches.normalized(images[:5000])))
    model = model.to(memory_format=torch.channels_last)
    net = torch.compile(model, dynamic=False) if args.compile else model

    of_epoch = len(images) // size
    steps = math.ceil(epochs * of_epoch * (1 - 1e-12))
    training = Training(model, args.recipe, steps, of_epoch)
    last, seconds, epoch, history = min(steps, args.steps or steps), [], 0, []
    test = None if args.steps else load(args.data, ["test_batch.bin"])
    while training.done < last:
        losses, start = [], time.perf_counter()
        for x, y in batches.epoch(epoch):
            losses.append(training.step(net, x, y).item())
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
            if training.done == last:
                break
        epoch += 1
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, {sum(seconds):.1f} s", flush=True)
        if test and epoch % args.eval_every == 0 and training.done < last:
            one, six = evaluate(model, *test, batches.normalized)
            history.append(dict(epoch=epoch, train_seconds=sum(seconds), single_view_accuracy=one, test_accuracy=six))
            print(f"  test accuracy {six:.4f} by six views, {one:.4f} by one", flush=True)
    result = dict(recipe=args.recipe, epochs=epochs, batch=size, seed=args.seed, steps=last, train_seconds=sum(seconds),
                  median_seconds=peer.median(seconds), compiled=args.compile, threads=args.threads, torch=torch.__version__,
                  cpu=peer.cpu_name(), peak_memory_bytes=peer.memory("VmHWM"))
    if test:
        one, six = evaluate(model, *test, batches.normalized)
        result.update(single_view_accuracy=one, test_accuracy=six, history=history)
        print(f"test accuracy {six:.4f} by six views, {one:.4f} by one, after {sum(seconds):.1f} s of training")
    print(f"median {1e3 * result['median_seconds']:.1f} ms a step")
    peer.write_json(args.json, result)


if __name__ == "__main__":
    main()
