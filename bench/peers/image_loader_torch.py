#!/usr/bin/env python3
"""Pictures in files, a folder a class: norma's loader and torchvision's ImageFolder with PyTorch's DataLoader, in turn.

    image_loader_torch.py --make 2000 --folder /tmp/pictures --norma build/release/bench/image_loader

Both decode, resize the shorter side, cut the middle out, and normalize, by --workers threads or processes, which both keep
from epoch to epoch; the first epoch is not timed. Each round runs both programs, one after the other, in changing order.
Wants torch, torchvision and pillow.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time

import peer


def make(folder, count):
    """JPEGs of the sizes of thumbnails, in ten classes."""
    import numpy as np
    from PIL import Image
    random = np.random.default_rng(1)
    for i in range(count):
        height, width = random.integers(90, 180, 2)
        y, x = np.mgrid[0:height, 0:width]
        a, b, c = random.uniform(3, 25, 3)
        planes = [127 + 80 * np.sin(x / a + k) * np.cos(y / (b + k)) + 40 * ((x + c * y) % 60 > 30) for k in range(3)]
        pixels = np.stack(planes, -1) + random.normal(0, 8, (height, width, 3))
        to = folder / f"class_{i % 10}" / f"{i:05}.jpg"
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(to, quality=85)


def torch_epochs(args):
    import torch
    from torchvision import datasets, transforms
    torch.set_num_threads(1)
    size = transforms.Compose([transforms.Resize(args.side or args.size), transforms.CenterCrop(args.size),
                               transforms.ToTensor(),
                               transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    loader = torch.utils.data.DataLoader(datasets.ImageFolder(args.folder, size), batch_size=args.batch, shuffle=True,
                                         num_workers=args.workers, persistent_workers=True)
    seconds, total = [], 0.0
    for epoch in range(args.epochs + 1):
        start = time.perf_counter()
        for images, labels in loader:
            total += images[0, 0, 0, 0].item() + len(labels)
        if epoch > 0:
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "checksum": total}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--make", type=int, default=0, help="so many pictures in the folder, unless it exists")
    parser.add_argument("--norma", help="the program image_loader; without it torchvision's time alone")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--side", type=int, default=0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.make and not pathlib.Path(args.folder).exists():
        make(pathlib.Path(args.folder), args.make)
    if not args.norma:
        return torch_epochs(args)
    sizes = ["--size", str(args.size), "--side", str(args.side), "--batch", str(args.batch), "--epochs", str(args.epochs)]
    commands = {"norma": [args.norma, args.folder, *sizes, "--threads", str(args.workers)],
                "torchvision": [sys.executable, __file__, "--folder", args.folder, *sizes, "--workers", str(args.workers)]}
    medians = {name: [] for name in commands}
    for round_number in range(args.rounds):
        for name in sorted(commands, reverse=round_number % 2 == 1):
            out = subprocess.run(commands[name], check=True, capture_output=True, text=True).stdout
            medians[name].append(peer.median(json.loads(out.splitlines()[-1])["seconds"]))
    ratios = [t / n for n, t in zip(medians["norma"], medians["torchvision"])]
    result = {"workers": args.workers, "cpu": peer.cpu_name(), "rounds": args.rounds,
              **{name: peer.median(values) for name, values in medians.items()},
              "ratio": peer.median(ratios), "ratio_p10": peer.percentile(ratios, 0.1), "ratio_p90": peer.percentile(ratios, 0.9)}
    print(json.dumps(result, indent=2))
    peer.write_json(args.json, result)


if __name__ == "__main__":
    main()
