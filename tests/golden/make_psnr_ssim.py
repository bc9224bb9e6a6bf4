#!/usr/bin/env python3
"""Writes data/psnr_ssim.safetensors: what scikit-image says of the PSNR and the SSIM of pairs of pictures.

Apart from make.py, since it needs another library; the format is the same (README.md), the layout too:

    pip install scikit-image numpy safetensors
    python make_psnr_ssim.py

The inputs are exact in float32, with values in [0, 1]. y has a number for each pair of pictures.
"""
import json
import pathlib
import zlib

import numpy as np
import safetensors.numpy
import skimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

DATA = pathlib.Path(__file__).parent / "data"
tensors, metadata = {}, {"scikit-image": skimage.__version__}


def psnr(a, b):
    return peak_signal_noise_ratio(a, b, data_range=1)


def ssim(a, b):
    """As Wang et al. 2004 have it: a Gaussian window of 11 x 11 (3.5 deviations on each side, rounded), biased moments."""
    return structural_similarity(a, b, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5,
                                 use_sample_covariance=False, K1=0.01, K2=0.03)


def pictures(generator, shape):
    """Smooth waves with noise on them, so that neither is all structure or all noise."""
    n, h, w, c = shape
    y, x = np.mgrid[0:h, 0:w]
    waves = [[np.sin(x * generator.uniform(0.1, 0.9) + y * generator.uniform(0.1, 0.9) + generator.uniform(0, 6))
              for _ in range(c)] for _ in range(n)]
    return np.clip(0.5 + 0.3 * np.transpose(waves, (0, 2, 3, 1)) + generator.normal(0, 0.1, shape), 0, 1)


def case(op, index, shape, noise):
    name = f"{op.__name__}.c{index}"
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    a = pictures(generator, shape)
    b = np.clip(a + generator.normal(0, noise, shape), 0, 1) if noise is not None else 1 - a
    a, b = (x.astype(np.float32).astype(np.float64) for x in (a, b))
    tensors[f"{name}/a"], tensors[f"{name}/b"] = a, b
    tensors[f"{name}/y"] = np.array([op(a[i], b[i]) for i in range(shape[0])])
    metadata[name] = json.dumps({"op": op.__name__, "noise": noise})


# Grey and coloured, no squares, as small as the window, hardly and badly disturbed; the last one is a negative.
CASES = [((2, 28, 28, 1), 0.1), ((3, 14, 19, 3), 0.2), ((1, 11, 11, 1), 0.05), ((2, 11, 16, 2), 0.5),
         ((2, 17, 12, 1), 1e-3), ((1, 15, 15, 3), None)]
for op in (psnr, ssim):
    for index, (shape, noise) in enumerate(CASES):
        case(op, index, shape, noise)
safetensors.numpy.save_file(tensors, DATA / "psnr_ssim.safetensors", metadata)
