#!/usr/bin/env python3
"""What bench/conv measures, in PyTorch: GF/s of convolutions, forward, backward_input and backward_weight, from images in
channels_last and in plain NCHW memory; of the two the faster counts, for each direction by itself.
"""
import argparse
import time

import peer

peer.tune_allocator()

import torch
import torch.nn.functional as F

# name: batch, height = width, channels in, channels out, kernel, stride, padding, groups
CASES = {
    "3x3 C=16 32x32": (128, 32, 16, 16, 3, 1, 1, 1), "3x3 C=32 16x16": (128, 16, 32, 32, 3, 1, 1, 1),
    "3x3 C=64 8x8": (128, 8, 64, 64, 3, 1, 1, 1), "3x3 3->16 32x32": (128, 32, 3, 16, 3, 1, 1, 1),
    "3x3 16->32 32x32 stride 2": (128, 32, 16, 32, 3, 2, 1, 1), "3x3 C=64 56x56": (32, 56, 64, 64, 3, 1, 1, 1),
    "3x3 C=256 14x14": (32, 14, 256, 256, 3, 1, 1, 1), "3x3 C=512 7x7": (32, 7, 512, 512, 3, 1, 1, 1),
    "1x1 64->256 56x56": (32, 56, 64, 256, 1, 1, 0, 1), "1x1 1024->256 14x14": (32, 14, 1024, 256, 1, 1, 0, 1),
    "5x5 C=32 28x28": (32, 28, 32, 32, 5, 1, 2, 1), "7x7 3->64 224x224 stride 2": (8, 224, 3, 64, 7, 2, 3, 1),
    "3x3 depthwise C=64 56x56": (32, 56, 64, 64, 3, 1, 1, 64), "3x3 depthwise C=256 14x14": (32, 14, 256, 256, 3, 1, 1, 256),
}
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def directions(case, order):
    """-> forward, backward_input, backward_weight, as functions; multiplications and additions in each"""
    n, size, cin, cout, k, stride, padding, groups = case
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(shape, generator=generator).contiguous(memory_format=order)
    x, w = random(n, cin, size, size), random(cout, cin // groups, k, k)
    y = F.conv2d(x, w, None, stride, padding, 1, groups)
    dy = random(*y.shape)

    def gradient(*mask):
        return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0],
                                                           groups, mask)
    forward = lambda: F.conv2d(x, w, None, stride, padding, 1, groups)
    return (forward, gradient(True, False, False), gradient(False, True, False)), 2 * y.numel() * w[0].numel()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=1, help="for each shape")
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rows = []
    print(f"GF/s, {args.threads} threads\n{'':<28} {'forward':>8} {'data':>8} {'weights':>8}  channels_last or contiguous")
    for name, case in CASES.items():
        if args.only not in name:
            continue
        runs = {layout: directions(case, order) for layout, order in LAYOUTS.items()}
        seconds = {layout: ([], [], []) for layout in LAYOUTS}
        start, rounds = time.perf_counter(), 0
        with torch.no_grad():
            while rounds < 5 or time.perf_counter() - start < args.seconds:
                for layout, (functions, _) in runs.items():
                    for i, fn in enumerate(functions):
                        _, spent = peer.timed(fn)
                        if rounds >= 2:  # the first two are to warm up
                            seconds[layout][i].append(spent)
                if rounds == 1:
                    start = time.perf_counter()
                rounds += 1
        speed, ways = [], []
        for i in range(3):
            layout = min(LAYOUTS, key=lambda layout: peer.median(seconds[layout][i]))
            speed.append(1e-9 * runs[layout][1] / peer.median(seconds[layout][i]))
            ways.append(layout)
        print(f"{name:<28} {speed[0]:>8.1f} {speed[1]:>8.1f} {speed[2]:>8.1f}  {' '.join(way[:2] for way in ways)}")
        rows.append(dict(shape=name, algorithm="PyTorch", gflops=speed, layouts=ways))
    peer.write_json(args.json, dict(torch=torch.__version__, cpu=peer.cpu_name(), threads=args.threads, rows=rows))


if __name__ == "__main__":
    main()
