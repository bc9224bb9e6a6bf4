#!/usr/bin/env python3
"""What bench/data_parallel measures, in PyTorch: training steps of ResNet-20 by DistributedDataParallel over gloo, --processes of
them on this machine, each with an equal share of the batch. From the same weights (train_step --save-weights) and the same data.

DDP is taken at its best: gradients as views of its buckets, which it sends while the backward pass goes on, and no buffers sent;
eager or compiled as --way says. There is no SyncBatchNorm here: PyTorch has none on CPUs.
"""
import argparse
import os
import socket
import subprocess
import sys
import warnings

import peer

if "--plain-allocator" not in sys.argv:
    peer.tune_allocator()

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel

from torch_step import BATCHES, WARMUP, ResNet, draw


def work(args):
    warnings.simplefilter("ignore", FutureWarning)  # of the new names of DDP's options
    dist.init_process_group("gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()
    mode, layout = args.way.split(",")
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    torch.manual_seed(1)
    model = ResNet(20)
    if args.weights:
        model.load_state_dict(load_file(args.weights))
    model = model.to(memory_format=order).train()
    net = DistributedDataParallel(model, gradient_as_bucket_view=True, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    if mode == "compiled":
        net = torch.compile(net, dynamic=False)
    size = args.batch // processes
    batches = []
    for b in range(BATCHES):
        images, labels = draw(b, (32, 32, 3), args.batch, order)
        share = slice(rank * size, (rank + 1) * size)
        batches.append((images[share].clone(memory_format=order), labels[share].clone()))

    losses, seconds = [], []
    for i in range(WARMUP + args.steps):
        images, labels = batches[i % BATCHES]
        if i == WARMUP:
            dist.barrier()

        def step():
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            return loss
        loss, time = peer.timed(step)
        if i >= WARMUP:
            seconds.append(time)
        if i < 3:
            mean = loss.detach() / processes
            dist.all_reduce(mean)
            losses.append(mean.item())
    if rank == 0:
        median = peer.percentile(seconds, 0.5)
        print(f"DDP, {args.way}, batch {args.batch}, {processes} processes, {args.threads} threads each: median {1e3 * median:.2f} ms "
              f"(p10 {1e3 * peer.percentile(seconds, 0.1):.2f}, p90 {1e3 * peer.percentile(seconds, 0.9):.2f}), losses "
              f"{' '.join(f'{x:.6f}' for x in losses)}", flush=True)
        peer.write_json(args.json, dict(way=args.way, batch=args.batch, processes=processes, threads=args.threads, median_seconds=median,
                                        p10_seconds=peer.percentile(seconds, 0.1), p90_seconds=peer.percentile(seconds, 0.9),
                                        losses=losses, torch=torch.__version__, cpu=peer.cpu_name()))
    dist.barrier()
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--batch", type=int, default=128, help="of all together; the processes divide it")
    parser.add_argument("--steps", type=int, default=20, help="to be timed")
    parser.add_argument("--way", default="eager,channels_last", help="eager or compiled, channels_last or contiguous")
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--plain-allocator", action="store_true", help="glibc's allocator as it comes")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if args.batch % args.processes:
        parser.error(f"{args.processes} processes do not divide a batch of {args.batch}")
    torch.set_num_threads(args.threads)
    if "RANK" in os.environ:
        return work(args)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = dict(os.environ, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(args.processes),
                  OMP_NUM_THREADS=str(args.threads))
    children = [subprocess.Popen([sys.executable, *sys.argv], env=common | {"RANK": str(rank)}) for rank in range(args.processes)]
    if any([child.wait() for child in children]):
        sys.exit("a process has failed")


if __name__ == "__main__":
    main()
