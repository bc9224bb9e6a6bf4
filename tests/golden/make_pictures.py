#!/usr/bin/env python3
"""Writes data/pictures.safetensors: small PNG and JPEG files, what PIL decodes them to, and what torchvision's Resize and
CenterCrop make of that. Wants torch, torchvision and pillow. For each case: NAME.file u8 [bytes], NAME.pixels u8 [H, W, 3],
and NAME.SIDE.SIZE u8 [SIZE, SIZE, 3] for some sides and sizes.
"""
import io
import pathlib

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torchvision.transforms import v2

random = np.random.default_rng(1)


def drawn(height, width, channels):
    """Smooth colors with an edge and some noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 90 * np.sin(x / (5 + c) + c) * np.cos(y / (7 - c)) + 40 * (x + y * c > width) for c in range(channels)]
    noisy = np.stack(planes, -1) + random.normal(0, 6, (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def file_of(image, **how):
    to = io.BytesIO()
    image.save(to, **how)
    return to.getvalue()


rgb, gray = Image.fromarray(drawn(23, 31, 3)), Image.fromarray(drawn(40, 17, 1)[..., 0])
rgba = Image.fromarray(np.concatenate([drawn(9, 12, 3), random.integers(0, 256, (9, 12, 1), dtype=np.uint8)], -1))
cases = {
    "png_rgb": file_of(rgb, format="PNG"),
    "png_gray": file_of(gray, format="PNG"),
    "png_alpha": file_of(rgba, format="PNG"),
    "png_palette": file_of(rgb.quantize(13), format="PNG"),
    "png_one_bit": file_of(gray.convert("1"), format="PNG"),
    "jpeg_rgb": file_of(rgb, format="JPEG", quality=90),
    "jpeg_444": file_of(rgb, format="JPEG", quality=75, subsampling=0),
    "jpeg_gray": file_of(gray, format="JPEG"),
    "jpeg_progressive": file_of(rgb, format="JPEG", progressive=True),
    "jpeg_cmyk": file_of(rgb.convert("CMYK"), format="JPEG"),
}
tensors = {}
for name, file in cases.items():
    image = Image.open(io.BytesIO(file)).convert("RGB")
    tensors[f"{name}.file"] = torch.frombuffer(bytearray(file), dtype=torch.uint8)
    tensors[f"{name}.pixels"] = torch.from_numpy(np.array(image))
    for side, size in [(8, 8), (13, 6), (64, 61), (17, 17)]:
        resized = v2.CenterCrop(size)(v2.Resize(side)(image))
        tensors[f"{name}.{side}.{size}"] = torch.from_numpy(np.array(resized))
safetensors.torch.save_file(tensors, pathlib.Path(__file__).parent / "data/pictures.safetensors")
