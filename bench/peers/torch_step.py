#!/usr/bin/env python3
"""What bench/train_step measures, in PyTorch: whole training steps, or with --infer forward passes, from the same weights (as
train_step --save-weights writes them) and the same data.

Every way is tried, eager and compiled, from images in channels_last and in plain NCHW memory, each in a process of its own,
and the fastest is the result; --only takes one of them, such as "compiled,channels_last". --device cuda times ten steps as one, as
train_step does there, in f32 without TF32. "folded" is for inference:
compiled, with the constants known, which folds batch norm into the convolutions. airbench94 and fast are the recipes of
bench/peers/airbench_torch.py, with all that is in their steps; the others train by SGD with momentum.
"""
import argparse
import json
import logging
import math
import subprocess
import sys
import tempfile

import peer

if "--plain-allocator" not in sys.argv:
    peer.tune_allocator()

import numpy
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

import airbench_torch

torch._logging.set_logs(all=logging.ERROR)  # not that this machine has no GPU

CLASSES, BATCHES, WARMUP = 10, 8, 5


# ---- the models, with the names that norma's have --------------------------------------------------------------------

class Block(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.norm2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.project = self.project_norm = None
        if cin != cout or stride != 1:
            self.project, self.project_norm = nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout)

    def forward(self, x):
        shortcut = x if self.project is None else self.project_norm(self.project(x))
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)).add_(shortcut), inplace=True)


class ResNet(nn.Module):
    def __init__(self, widths, blocks_each):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        inputs = [widths[0]] + [c for c in widths for _ in range(blocks_each)]
        self.blocks = nn.Sequential(*(Block(a, b, 2 if a < b else 1) for a, b in zip(inputs, inputs[1:])))
        self.fc = nn.Linear(widths[-1], CLASSES)

    def forward(self, x):
        y = self.blocks(F.relu(self.norm(self.conv(x)), inplace=True))
        return self.fc(F.adaptive_avg_pool2d(y, 1).flatten(1))


class SmallCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.norm2 = nn.Conv2d(32, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        self.fc1, self.fc2 = nn.Linear(64 * 7 * 7, 128), nn.Linear(128, CLASSES)

    def forward(self, x):
        y = F.max_pool2d(F.relu(self.norm1(self.conv1(x)), inplace=True), 2)
        y = F.max_pool2d(F.relu(self.norm2(self.conv2(y)), inplace=True), 2)
        return self.fc2(F.relu(self.fc1(y.flatten(1)), inplace=True))


NETWORKS = {"resnet20": lambda: ResNet([16, 32, 64], 3), "resnet18": lambda: ResNet([64, 128, 256, 512], 2), "mnist_cnn": SmallCnn,
            **dict.fromkeys(airbench_torch.RECIPES, airbench_torch.Airbench)}


def make_network(name):
    """-> the network, [H, W, C] of its pictures"""
    return NETWORKS[name](), (28, 28, 1) if name == "mnist_cnn" else (32, 32, 3)


# ---- the data, as train_step draws them ---------------------------------------------------------------------------------

def mix(i):
    i = i.astype(numpy.uint32) * numpy.uint32(0x9E3779B1)
    i = (i ^ (i >> 16)) * numpy.uint32(0x85EBCA6B)
    i = (i ^ (i >> 13)) * numpy.uint32(0xC2B2AE35)
    return i ^ (i >> 16)


def draw(b, image, size, order):
    n = size * image[0] * image[1] * image[2]
    x = (mix(numpy.arange(b * n, (b + 1) * n)) >> 8).astype(numpy.float32) * numpy.float32(2**-23) - numpy.float32(1)
    labels = mix(numpy.arange(b * size, (b + 1) * size) + 0x80000000) % CLASSES
    images = torch.from_numpy(x).reshape(size, *image).movedim(-1, 1)
    return images.contiguous(memory_format=order), torch.from_numpy(labels.astype(numpy.int64))


# ---- timing ----------------------------------------------------------------------------------------------------------------

def measure(args, way):
    mode, layout = way.split(",")
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    baseline = peer.memory("VmRSS")

    recipe = airbench_torch.RECIPES.get(args.model)
    model, image = make_network(args.model)
    if args.weights:
        model.load_state_dict(safetensors.torch.load_file(args.weights))
    model = model.to(args.device, memory_format=order).train(not args.infer)
    if recipe:
        of_epoch = 50_000 // recipe["batch"]  # the schedules are as in a whole training
        training = airbench_torch.Training(model, args.model, math.ceil(recipe["epochs"] * of_epoch), of_epoch)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    batches = [[x.to(args.device) for x in draw(b, image, args.batch, order)] for b in range(BATCHES)]

    net = model
    if mode != "eager":
        torch._dynamo.reset()
        torch._inductor.config.freezing = mode == "folded"
        net = torch.compile(model, dynamic=False)

    def forward(images):
        with torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.bf16):
            return net(images).float()

    def step(images, labels):
        if args.infer:
            with torch.no_grad():
                return forward(images)
        if recipe:
            return training.step(forward, images, labels)
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    smoothing = airbench_torch.SMOOTHING if recipe else 0
    losses, seconds = [], []
    for i in range(WARMUP):
        images, labels = batches[i % BATCHES]
        out = step(images, labels)
        if i < 3:
            losses.append((F.cross_entropy(out, labels, label_smoothing=smoothing) if args.infer else out).item())
    together = 10 if args.device != "cpu" else 1
    for first in range(WARMUP, args.steps + WARMUP, together):
        def some():
            for i in range(first, first + together):
                step(*batches[i % BATCHES])
            if args.device != "cpu":
                torch.cuda.synchronize()
        if args.device != "cpu":
            torch.cuda.synchronize()
        seconds.append(peer.timed(some)[1] / together)
    median = peer.percentile(seconds, 0.5)
    return dict(way=way, median_seconds=median, p10_seconds=peer.percentile(seconds, 0.1),
                p90_seconds=peer.percentile(seconds, 0.9), images_per_second=args.batch / median,
                peak_memory_bytes=peer.memory("VmHWM") - baseline, losses=losses)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(NETWORKS), default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=50, help="to be timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--infer", action="store_true", help="the forward pass in evaluation mode")
    parser.add_argument("--bf16", action="store_true", help="under torch.autocast in bfloat16")
    parser.add_argument("--tf32", action="store_true", help="on a GPU: products and convolutions may round their factors to TF32")
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--only", metavar="WAY")
    parser.add_argument("--plain-allocator", action="store_true", help="glibc's allocator as it comes")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.tf32

    if args.only:
        results = [measure(args, args.only)]
        r = results[0]
        what = f"{'inference' if args.infer else 'training'}{' in bf16' if args.bf16 else ''}"
        print(f"{args.model} {what}, batch {args.batch}, {args.threads} threads, {r['way']}: median {1e3 * r['median_seconds']:.2f} ms "
              f"(p10 {1e3 * r['p10_seconds']:.2f}, p90 {1e3 * r['p90_seconds']:.2f}), {r['images_per_second']:.0f} images/s, peak memory "
              f"{1e-6 * r['peak_memory_bytes']:.0f} MB above the imports, losses {' '.join(f'{x:.6f}' for x in r['losses'])}",
              flush=True)
    else:
        modes = ["eager", "compiled"] + (["folded"] if args.infer else [])
        with tempfile.NamedTemporaryFile() as file:
            results = []
            for way in [f"{mode},{layout}" for mode in modes for layout in ("channels_last", "contiguous")]:
                subprocess.run([sys.executable, *sys.argv, "--only", way, "--json", file.name], check=True)
                results += json.load(open(file.name))["tried"]
    best = min(results, key=lambda r: r["median_seconds"])
    peer.write_json(args.json, dict(model=args.model, infer=args.infer, bf16=args.bf16, batch=args.batch, threads=args.threads,
                                    steps=args.steps, torch=torch.__version__, cpu=peer.cpu_name(), **best, tried=results))


if __name__ == "__main__":
    main()
