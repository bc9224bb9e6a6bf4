"""What the programs that time PyTorch share: its best settings, and medians.

By default glibc gives large blocks back to the system as soon as they are free, and PyTorch's next step takes them anew, page
fault by page fault. The variables below keep them, in huge pages; they are read when a process starts.
"""
import json
import os
import pathlib
import statistics
import sys
import time

ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_MMAP_THRESHOLD_": "4000000000",
             "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def tune_allocator():
    """Starts this program once more under ALLOCATOR, unless it runs under it. Call it before anything is imported that
    allocates much."""
    if any(os.environ.get(key) != value for key, value in ALLOCATOR.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ALLOCATOR)


def median(values):
    return statistics.median(values)


def percentile(values, p):
    """By the nearest rank, as the C++ programs take it."""
    return sorted(values)[min(len(values) - 1, int(p * len(values)))]


def timed(fn):
    """-> (result, seconds)"""
    start = time.perf_counter()
    result = fn()
    return result, time.perf_counter() - start


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def memory(field):
    """Bytes of this process by /proc/self/status: VmRSS now, VmHWM at most."""
    for line in open("/proc/self/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def write_json(path, value):
    if path:
        pathlib.Path(path).write_text(json.dumps(value, indent=2) + "\n")
