#!/usr/bin/env python3
"""Writes data/events.tfevents: the events of tests/examples/event_file_test.cc, by TensorBoard's own code.

    pip install tensorboard
    python make_events.py
"""
import pathlib

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.record_writer import RecordWriter

FILE = pathlib.Path(__file__).parent / "data" / "events.tfevents"
TIME = 1234567890.25


def summary(tag, **what):
    return Summary(value=[Summary.Value(tag=tag, **what)])


# -3 to 4.5 in 30 bins of 0.25, all exact.
values = [-3, -2.75, -2.8, 0, 0.25, 1, 4.5]
limits = [-3 + 0.25 * (i + 1) for i in range(30)]
counts = [0] * 30
for value in values:
    counts[next(i for i, limit in enumerate(limits) if value <= limit)] += 1
histogram = HistogramProto(min=-3, max=4.5, num=len(values), sum=sum(values), sum_squares=sum(v * v for v in values),
                           bucket_limit=limits, bucket=counts)
constant = HistogramProto(min=0, max=0, num=2, sum=0, sum_squares=0, bucket_limit=[0], bucket=[2])
image = Summary.Image(height=2, width=300, colorspace=3, encoded_image_string=bytes(range(256)) * 2)

events = [
    Event(file_version="brain.Event:2"),
    Event(step=7, session_log=SessionLog(status=SessionLog.START)),
    Event(summary=summary("step/loss", simple_value=0.1)),
    Event(step=1, summary=summary("step/loss", simple_value=0)),
    Event(step=300, summary=summary("step/loss", simple_value=float("inf"))),
    Event(step=2**40, summary=summary("pictures/ä", image=image)),
    Event(step=8, summary=summary("weights/fc.weight", histo=histogram)),
    Event(step=9, summary=summary("weights/fc.bias", histo=constant)),
]
with open(FILE, "wb") as file:
    writer = RecordWriter(file)
    for event in events:
        event.wall_time = TIME
        writer.write(event.SerializeToString(deterministic=True))
