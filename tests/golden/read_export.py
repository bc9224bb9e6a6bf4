#!/usr/bin/env python3
"""Does PyTorch read what norma writes?  python read_export.py EXPORTED.safetensors

EXPORTED is a checkpoint that norma saved with Layout::torch: the model of data/torch_cnn.safetensors, loaded from
there. It must load with strict=True and give the logits of data/torch_cnn_io.safetensors to 1e-5. Exit status 0
if so, 1 if not. For a person to run; no test needs PyTorch.
"""
import sys

import safetensors.torch
import torch

from make import DATA, cnn


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    model = cnn().eval()
    try:
        model.load_state_dict(safetensors.torch.load_file(sys.argv[1]), strict=True)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        sys.exit(f"{sys.argv[1]}: PyTorch cannot load it: {error}")
    io = safetensors.torch.load_file(DATA / "torch_cnn_io.safetensors")
    with torch.no_grad():
        logits = model(io["x"].permute(0, 3, 1, 2))
    worst = (logits - io["logits"]).abs().max().item()
    same = worst <= 1e-5  # false for NaN too
    print(f"{sys.argv[1]}: largest difference of a logit {worst:.2e}: {'ok' if same else 'WRONG'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
