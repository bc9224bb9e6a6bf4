#!/usr/bin/env python3
"""What bench/latency measures of networks, by onnxruntime, on the same networks with the same weights: PyTorch writes the model
as ONNX, onnxruntime optimizes it as far as it can (it folds batch norm and chooses its own memory layout). Wants a Python with
torch, safetensors, onnx and onnxruntime.
"""
import argparse
import io
import warnings

import peer

peer.tune_allocator()

import onnxruntime
import safetensors.torch
import torch

import latency_torch
import torch_step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=list(torch_step.NETWORKS), default="resnet20")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()

    model, image = torch_step.make_network(args.case)
    if args.weights:
        model.load_state_dict(safetensors.torch.load_file(args.weights))
    batches = [torch_step.draw(b, image, args.batch, torch.contiguous_format)[0] for b in range(latency_torch.BATCHES)]
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), (batches[0],), written, input_names=["x"], output_names=["y"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    session = onnxruntime.InferenceSession(written.getvalue(), options, providers=["CPUExecutionProvider"])
    inputs = [{"x": batch.numpy()} for batch in batches]

    outputs = torch.from_numpy(session.run(["y"], inputs[0])[0])
    found = latency_torch.times(args.seconds, lambda i: session.run(["y"], inputs[i % len(inputs)]))
    r = latency_torch.result("onnxruntime", found, outputs)
    print(f"{args.case}, batch {args.batch}, {args.threads} threads, onnxruntime: median {1e6 * r['median_seconds']:.2f} us "
          f"(p90 {1e6 * r['p90_seconds']:.2f})")
    peer.write_json(args.json, dict(version=onnxruntime.__version__, cpu=peer.cpu_name(), tried=[r]))


if __name__ == "__main__":
    main()
