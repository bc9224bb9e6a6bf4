"""What the programs in this folder share: the data, the same weights and random numbers as their counterparts in
examples/ports/ have, and a record of the losses.

    python vae.py            trains, and says how far the first losses are from those in the file
    python vae.py --write    makes the file anew: data, initial weights, random numbers, losses of the first steps

The file is tests/golden/data/ports/<name>.safetensors: data/NAME, weights/NAME, draws/0, draws/1, ... in the order in which they
are drawn, and losses/NAME [8], all in PyTorch's layout.
"""
import argparse
import pathlib

import torch
from safetensors.torch import load_file, save_file

import data

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "tests/golden/data/ports"
STEPS = 8  # whose losses and random numbers are written


class Port:
    def __init__(self, name):
        options = argparse.ArgumentParser(description=f"The PyTorch program that examples/ports/{name}.cc is a port of.")
        options.add_argument("--write", action="store_true", help="make the file that both read")
        options.add_argument("--steps", type=int, default=1 << 60, help="stop after so many")
        options = options.parse_args()
        self.path, self.steps = FOLDER / f"{name}.safetensors", options.steps
        self.writes, self.step, self.drawn = options.write, 0, 0
        torch.manual_seed(0)
        torch.set_num_threads(1)
        if self.writes:
            made = data.make(name)
            self.file = {k if k.startswith("weights/") else "data/" + k: v for k, v in made.items()}
        else:
            self.file = load_file(self.path)

    def __getitem__(self, name):
        """Pictures as floats in [0, 1], [N, C, H, W]; other bytes as int64."""
        x = self.file["data/" + name]
        return x if x.dtype != torch.uint8 else x / 255 if x.dim() == 4 else x.long()

    def state(self, part=""):
        """Weights from the file: those whose names begin with `part`, and without it."""
        prefix = "weights/" + part
        return {k[len(prefix):]: v for k, v in self.file.items() if k.startswith(prefix)}

    def load(self, model, part=""):
        """Gives a model its initial weights: the file's or, to be written, those that it has."""
        if self.writes:
            self.file |= {f"weights/{part}{k}": v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(self.state(part))

    def randn(self, *shape):
        return self.draw(lambda: torch.randn(*shape))

    def randperm(self, n):
        return self.draw(lambda: torch.randperm(n))

    def batches(self, n, size):
        """The numbers of n samples in a random order, `size` at a time: what a DataLoader that shuffles would do."""
        return self.randperm(n).split(size)

    def report(self, **losses):
        """Behind each step."""
        losses = {k: float(torch.as_tensor(v).detach()) for k, v in losses.items()}
        if self.step < 5 or self.step % 20 == 0:
            print(f"step {self.step:4}", *(f"  {k} {v:.5f}" for k, v in losses.items()), sep="", flush=True)
        for name, loss in losses.items():
            key = "losses/" + name
            if self.step < STEPS and self.writes:
                self.file.setdefault(key, torch.zeros(STEPS, dtype=torch.float64))[self.step] = loss
            elif self.step < STEPS and abs(loss - self.file[key][self.step]) > 1e-4 * abs(self.file[key][self.step]):
                print(f"step {self.step}: {name} {loss}, but in the file {self.file[key][self.step]}")
        self.step += 1
        if self.step == STEPS and self.writes:
            save_file({k: v.contiguous() for k, v in sorted(self.file.items())}, self.path, {"torch": torch.__version__})
        if self.step == self.steps:
            raise SystemExit

    def result(self, **values):
        """At the end."""
        print("result    ", *(f"  {k} {float(v):.5f}" for k, v in values.items()), sep="")

    def draw(self, make):
        key = f"draws/{self.drawn}"
        self.drawn += 1
        if self.writes and self.step < STEPS:
            self.file[key] = make()
        return self.file[key] if key in self.file else make()
