#!/usr/bin/env python3
"""Writes data/onnx.safetensors: the node tests of ONNX that norma can express, for tests/ops/onnx_test.cc.

    pip install onnx==1.23.2 numpy==2.4.6
    python make_onnx.py            # two runs write the same bytes; --list says of each case that is left out why

Inputs and results are those of ONNX, in ONNX's layout. What is written here is how norma computes a case: a list of steps,
each `[function of norma, arguments, attributes]`. So ONNX's conventions (images [N, C, H, W], negative steps, padding of one
side only, ...) become permutations, pads and views of norma, which are tested along the way. README.md has the format.

What is left out, beside cases in other dtypes (float16, bfloat16, float8, strings, sequences; arithmetic of u8, or of integers that
wrap at fewer bits than 64), of more than 4,096 elements, or of more than one node (ONNX's expansions of an op into others):
  - functions that norma does not have: trigonometric and hyperbolic ones but sin, cos, tanh; mod; bitwise ones; Unique, NonZero,
    Compress; GatherND and ScatterND; GridSample, RoiAlign; recurrent nets, attention, einsum, quantization, transforms of
    signals, transforms of strings, trees, control flow;
  - scatters but by addition; Resize by cubic, of antialiasing, to a part of the image, and by rules of coordinates that
    PyTorch does not have;
  - three axes of space, and the indices of MaxPool;
  - negative indices of OneHot: in norma they are an error (ops/shape/index.h);
  - the last of equals in ArgMax and ArgMin, where there are equals: norma takes the first;
  - Dropout that drops: the random numbers are not ONNX's;
  - the optimizers: those of nn/optim are compared with PyTorch;
  - what only asks a shape, makes a constant, or passes its input on.
"""
import collections
import importlib
import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests

from onnx_ops import OPS, Skip

HERE = pathlib.Path(__file__).parent
PATH = HERE / "data" / "onnx.safetensors"
for module in sorted(HERE.glob("onnx_*.py")):
    importlib.import_module(module.stem)  # enters its ops into OPS
LARGEST = 4096  # elements of a tensor
ROUGH = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}  # ONNX has its results with four digits
DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "uint8": "U8", "bool": "BOOL"}
WIDENED = {"int8", "int16", "int32", "uint16", "uint32", "uint64"}  # stored as int64


class Case:
    """One node test while it is translated. A value is named "x<i>" (input), "k<i>" (a constant that is made here),
    "s<i>" (the result of step i), or is a number: an int stands for an i64, a float for the dtype that the case runs in."""

    def __init__(self, node, inputs, outputs):
        self.attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        self.tensors, self.steps, self.outputs, arrays = {}, [], outputs, iter(inputs)
        self.inputs = [f"x{i}" if name else None for i, name in enumerate(node.input)]
        for name in filter(None, self.inputs):
            self.tensors[name] = next(arrays)

    def attr(self, name, default=None):
        value = self.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def input(self, i):
        return self.inputs[i] if i < len(self.inputs) else None

    def value(self, i, default=None):
        """An input that is an argument to norma, not a tensor: an axis, a shape."""
        return default if self.input(i) is None else self.tensors[self.input(i)].tolist()

    def axes(self, i, default=None):
        """Axes: an attribute once, an input since."""
        return self.attr("axes", default) if "axes" in self.attrs else self.value(i, default)

    def shape(self, name):
        return list(self.tensors[name].shape)

    def constant(self, array):
        name = f"k{len(self.tensors)}"
        self.tensors[name] = np.asarray(array)
        return name

    def do(self, function, *arguments, **attrs):
        self.steps.append([function, list(arguments), {key: a for key, a in attrs.items() if a is not None}])
        return f"s{len(self.steps) - 1}"

    def permute(self, x, axes):
        return x if list(axes) == list(range(len(axes))) else self.do("permute", x, axes=list(axes))

    def reshape(self, x, shape):
        return self.do("reshape", x, shape=[int(n) for n in shape])


def array(x):
    x = onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x
    return np.asarray(x) if isinstance(x, np.generic) else x


def translate(test):
    """The case's tensors, and its entry in the index."""
    nodes, (inputs, outputs) = test.model.graph.node, test.data_sets[0]
    if len(nodes) > 1:
        raise Skip("more than one node")
    if nodes[0].op_type not in OPS:
        raise Skip("no such op")
    function, name, floating = OPS[nodes[0].op_type]
    inputs, outputs = [array(x) for x in inputs], [array(x) for x in outputs]
    if not all(isinstance(x, np.ndarray) and str(x.dtype) in DTYPES.keys() | WIDENED for x in inputs + outputs) or \
            floating and inputs[0].dtype.kind != "f":
        raise Skip("dtype")
    if max(x.size for x in inputs + outputs) > LARGEST:
        raise Skip("size")
    c = Case(nodes[0], inputs, outputs)
    results = function(c, name, *c.inputs)
    results = results if isinstance(results, list) else [results]
    if not c.steps:
        raise Skip("passes its input on")
    used = {a for _, arguments, _ in c.steps for a in arguments if isinstance(a, str)}
    tensors = {key: x for key, x in c.tensors.items() if key in used}
    tensors.update({f"y{i}": x for i, x in enumerate(outputs)})
    for key, x in tensors.items():
        tensors[key] = x.astype(np.int64) if str(x.dtype) in WIDENED else x
    floats = [str(x.dtype) for key, x in tensors.items() if key[0] == "x" and x.dtype.kind == "f"]
    run_in = floats[:1] if name.startswith("Cast") else ["float32", "float64"] if floats else ["float64"]
    index = {"op": name, "run_in": [dtype.replace("float", "f") for dtype in run_in], "steps": c.steps,
             "results": results[:len(outputs)]}
    return tensors, index | ({"tolerance": 1e-3} if test.name in ROUGH else {})


def save(tensors, metadata):
    """A safetensors file in a fixed order: wide dtypes first, so that all are aligned."""
    header, offset = {"__metadata__": metadata}, 0
    order = sorted(tensors, key=lambda key: (-tensors[key].dtype.itemsize, key))
    for key in order:
        end = offset + tensors[key].nbytes
        header[key] = {"dtype": DTYPES[str(tensors[key].dtype)], "shape": tensors[key].shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    PATH.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *[tensors[key].tobytes() for key in order]]))


def main():
    warnings.simplefilter("ignore")  # ONNX divides by zero, for one
    tensors, metadata, left_out = {}, {"onnx": onnx.__version__}, collections.defaultdict(list)
    for test in load_model_tests(kind="node"):
        name = test.name.removeprefix("test_")
        try:
            parts, index = translate(test)
        except Skip as reason:
            left_out[str(reason)].append(name)
            continue
        tensors.update({f"{name}/{key}": x for key, x in parts.items()})
        metadata[name] = json.dumps(index, separators=(",", ":"))
    save(tensors, metadata)
    print(f"{len(metadata) - 1} cases of {len({json.loads(m)['op'] for n, m in metadata.items() if n != 'onnx'})} ops, "
          f"{PATH.stat().st_size} bytes")
    for reason, names in sorted(left_out.items()):
        print(f"left out, {reason}: {len(names)}", *(["  " + name for name in names] if "--list" in sys.argv else []), sep="\n")


if __name__ == "__main__":
    main()
