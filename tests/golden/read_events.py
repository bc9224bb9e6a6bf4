#!/usr/bin/env python3
"""Prints what TensorBoard reads from a folder, as JSON: {"scalars": {tag: [[step, value], ...]}, "images": {tag: [[step,
width, height of its PNG], ...]}, "histograms": {tag: [[step, count, sum of the buckets, min, max], ...]}}. Exits with 77
where tensorboard is not installed. For tests/examples/event_file_test.cc."""
import json
import struct
import sys

try:
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util
except ImportError as error:
    print(error)
    sys.exit(77)

events = event_accumulator.EventAccumulator(sys.argv[1], size_guidance={kind: 0 for kind in (
    event_accumulator.SCALARS, event_accumulator.IMAGES, event_accumulator.HISTOGRAMS, event_accumulator.TENSORS)})
events.Reload()
tags = events.Tags()
result = {"scalars": {}, "images": {}, "histograms": {}}
for tag in tags["scalars"]:
    result["scalars"][tag] = [[e.step, e.value] for e in events.Scalars(tag)]
for tag in tags["images"]:
    result["images"][tag] = []
    for e in events.Images(tag):
        assert e.encoded_image_string[:8] == b"\x89PNG\r\n\x1a\n", tag
        size = struct.unpack(">II", e.encoded_image_string[16:24])
        assert size == (e.width, e.height), (size, e.width, e.height)
        result["images"][tag].append([e.step, *size])
for tag in tags["histograms"]:
    result["histograms"][tag] = [[e.step, e.histogram_value.num, sum(e.histogram_value.bucket), e.histogram_value.min,
                                  e.histogram_value.max] for e in events.Histograms(tag)]
print(json.dumps(result))
