#!/usr/bin/env python3
"""What bench/latency measures, in PyTorch: one forward pass of a small batch in evaluation mode, and one addition of tensors of
one element, without and with its backward pass. Every way is tried: eager, compiled, and compiled with the constants known
("folded"), each from images in channels_last and in plain NCHW memory.
"""
import argparse
import logging
import time

import peer

peer.tune_allocator()

import safetensors.torch
import torch

import torch_step

torch._logging.set_logs(all=logging.ERROR)
BATCHES, TOGETHER = 8, 1000


def times(seconds, fn):
    """The times of fn(0), fn(1), ..., for so many seconds, and before that for a quarter of it without looking."""
    found, start = [], time.perf_counter()
    warm, begin, i = start + seconds / 4, start, 0
    while begin < warm + seconds or not found:
        fn(i)
        after = time.perf_counter()
        if begin >= warm:
            found.append(after - begin)
        begin, i = after, i + 1
    return found


def result(way, found, outputs, together=1):
    return dict(way=way, median_seconds=peer.median(found) / together, p90_seconds=peer.percentile(found, 0.9) / together,
                outputs=outputs.detach().flatten().tolist())


def network(args):
    for mode in "eager", "compiled", "folded":
        for layout in "channels_last", "contiguous":
            order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
            model, image = torch_step.make_network(args.case)
            if args.weights:
                model.load_state_dict(safetensors.torch.load_file(args.weights))
            net = model.to(memory_format=order).eval()
            if mode != "eager":
                torch._dynamo.reset()
                torch._inductor.config.freezing = mode == "folded"
                net = torch.compile(net, dynamic=False)
            batches = [torch_step.draw(b, image, args.batch, order)[0] for b in range(BATCHES)]
            with torch.no_grad():
                outputs = net(batches[0])
                yield result(f"{mode},{layout}", times(args.seconds, lambda i: net(batches[i % BATCHES])), outputs)


def addition(args):
    backward = args.case == "add_backward"
    a, b = torch.full((1,), 0.25, requires_grad=backward), torch.full((1,), 0.5)

    def add(_):
        for _ in range(TOGETHER):
            y = a + b
            if backward:
                y.backward()
        return y
    yield result("eager", times(args.seconds, add), add(0), TOGETHER)
    if not backward:
        with torch.inference_mode():
            a, b = a.clone(), b.clone()
            yield result("inference_mode", times(args.seconds, add), add(0), TOGETHER)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[*torch_step.NETWORKS, "add", "add_backward"], default="resnet20")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=1, help="for each way")
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tried = []
    for r in (addition if args.case.startswith("add") else network)(args):
        tried.append(r)
        print(f"{args.case}, batch {args.batch}, {args.threads} threads, {r['way']}: median {1e6 * r['median_seconds']:.2f} us "
              f"(p90 {1e6 * r['p90_seconds']:.2f})", flush=True)
    peer.write_json(args.json, dict(version=torch.__version__, cpu=peer.cpu_name(), tried=tried))


if __name__ == "__main__":
    main()
