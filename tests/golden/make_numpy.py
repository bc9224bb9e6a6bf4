#!/usr/bin/env python3
"""Writes data/numpy.npz, data/numpy_deflated.npz and data/numpy.npy, for tests/datasets/numpy_test.cc: arrays as NumPy saves
them, of each dtype that norma reads. Array k has the values k - 2, k - 1, ... in row-major order; bool: whether they are odd.

    pip install numpy==2.4.6
    python make_numpy.py
"""
import pathlib

import numpy as np

DATA = pathlib.Path(__file__).parent / "data"
SHAPES = [(), (3,), (2, 3), (4, 1, 2), (0, 5), (2, 1, 2, 1, 2, 1, 1, 2)]


def main():
    arrays = {}
    for dtype in ["f4", "f8", "i8", "u1", "?", "i1", "i2", "i4", "u2", "u4"]:
        for k, shape in enumerate(SHAPES):
            values = np.arange(np.prod(shape, dtype=int)) + (k if dtype[0] == "u" else k - 2)
            values = (values % 2 if dtype == "?" else values).astype(dtype).reshape(shape)
            arrays[f"{np.dtype(dtype).name}_{k}"] = values
            if len(shape) == 3:
                arrays[f"fortran/{np.dtype(dtype).name}_{k}"] = np.asfortranarray(values)
    np.savez(DATA / "numpy.npz", **arrays)
    np.savez_compressed(DATA / "numpy_deflated.npz", **arrays)
    np.save(DATA / "numpy.npy", arrays["float32_2"])


if __name__ == "__main__":
    main()
