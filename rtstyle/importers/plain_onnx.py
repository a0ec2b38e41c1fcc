"""Image-to-image ONNX files of any maker, such as the model zoo's, as models of the contract.

The graph stays as it is; before it uint8 pictures become what it takes, after it they become uint8
again. Fixed sizes are opened where the graph then still runs and gives pictures of the same size.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from rtstyle.errors import ModelError, UsageError
from rtstyle.model.file import read_model
from rtstyle.model.onnx_reader import check_safe
from rtstyle.model.spec import METADATA_KEY, ModelSpec
from rtstyle.train.reference import Samples

_OPSET = 18
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# What a pixel p, 0 to 255, is to the net, channel by channel: p * scale + offset.
RANGES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0..1": ((1 / 255,) * 3, (0.0,) * 3),
    "0..255": ((1.0,) * 3, (0.0,) * 3),
    "-1..1": ((2 / 255,) * 3, (-1.0,) * 3),
    "imagenet": (
        tuple(1 / (255 * s) for s in _IMAGENET_STD),
        tuple(-m / s for m, s in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)),
    ),
}
_SIZE = (96, 128)  # of a sample, where the graph takes any
_OTHER_SIZES = ((64, 96), (96, 64))  # that an opened graph must paint


def wrap(path: Path, values: str | None, spec: ModelSpec) -> tuple[onnx.ModelProto, Samples]:
    """The ONNX file at `path` as a model of the contract, with the metadata of `spec`, and samples
    of what the graph paints as it is.

    `values` is a key of `RANGES` for both ends; the model zoo's nets are known to be "0..255".
    Raises `ModelError` when the file maps no pictures to pictures, `UsageError` when `values` is
    needed.
    """
    given = read_model(path)  # raises where input or output are no picture
    if given.layout == "nhwc" or given.style_size or given.takes_strength:
        raise UsageError(f"{path} keeps the contract already; use it as it is.")
    check_safe(path)
    model = _tidy(onnx.load_model(path))
    if values is None and _is_zoo(model):
        values = "0..255"
    if values is None:
        raise UsageError(
            f"{path} takes float pictures; say of which range with --range {'|'.join(RANGES)}."
        )
    samples = _samples(path, _session(path, model), given.size or _SIZE, *RANGES[values])
    model = _modern(model, given.size or _SIZE)
    opened = _open_sizes(model) if given.size else model
    size = given.size if opened is model else None
    fixed = (given.batch if size else None, *(size or (None, None)))
    wrapped = _with_ends(opened, *RANGES[values], fixed)
    document = replace(spec, options={"range": values}).metadata()
    helper.set_model_props(wrapped, {METADATA_KEY: document})
    try:
        onnx.checker.check_model(wrapped, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{path} is no valid ONNX model: {str(error).splitlines()[0]}") from error
    return wrapped, samples


def _tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, whose weights are not listed as inputs. Before IR version 4 each had to be;
    files of that version without them are met too, and no tool that checks takes them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    return model


def _modern(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto:
    """The same graph in a newer operator set, as INT8 needs; as it was where that fails, or gives
    another picture."""
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version >= _OPSET:
        return model
    try:
        modern = version_converter.convert_version(model, _OPSET)
        picture = _pictures(size)[0].transpose(0, 3, 1, 2).astype(np.float32)
        ours, theirs = (_run(_open(m), picture) for m in (modern, model))
    except Exception:  # the converter's and the runtime's exceptions share no base class
        return model
    return modern if np.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.ptp(theirs)) else model


def _session(path: Path, model: onnx.ModelProto) -> ort.InferenceSession:
    try:
        return _open(model)
    except Exception as error:  # its exceptions share no base class
        raise ModelError(
            f"ONNX Runtime does not run {path}: {str(error).splitlines()[0]}"
        ) from error


def _run(session: ort.InferenceSession, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(session.run(None, {session.get_inputs()[0].name: picture})[0])


def _pictures(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Noise, and a smooth picture: (1, H, W, 3) each."""
    rng, (height, width) = np.random.default_rng(0), size
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([np.sin(x / 19) + np.cos(y / (13 + 5 * c)) for c in range(3)], -1) * 60 + 127
    noise = rng.integers(0, 256, (height, width, 3))
    return [picture.astype(np.uint8)[None] for picture in (noise, smooth)]


def _samples(
    path: Path,
    original: ort.InferenceSession,
    size: tuple[int, int],
    scale: tuple[float, ...],
    offset: tuple[float, ...],
) -> Samples:
    """What the graph paints as it is, from pixels to pixels."""
    samples: Samples = []
    gain, shift = np.array(scale, np.float32), np.array(offset, np.float32)
    for frames in _pictures(size):
        x = (frames * gain + shift).transpose(0, 3, 1, 2)
        try:
            y = _run(original, np.ascontiguousarray(x, np.float32))
        except Exception as error:  # its exceptions share no base class
            raise ModelError(
                f"ONNX Runtime does not run {path}: {str(error).splitlines()[0]}"
            ) from error
        if y.shape != x.shape:
            raise ModelError(
                f"{path} turns a picture of {size[1]}×{size[0]} into {list(y.shape)}; one of the "
                "same size was expected."
            )
        pixels = (y.transpose(0, 2, 3, 1) - shift) / gain
        samples.append((frames, None, (pixels.clip(0, 255) + 0.5).astype(np.uint8)))
    return samples


def _is_zoo(model: onnx.ModelProto) -> bool:
    """The model zoo's nets: named so, Johnson's kernel of 9, no activation at the end."""
    graph = model.graph
    ends = (graph.input[0].name, graph.output[0].name)
    first = next((node for node in graph.node if node.op_type == "Conv"), None)
    if ends != ("input1", "output1") or first is None:
        return False
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return shapes.get(first.input[1], [])[1:] == [3, 9, 9]


def _open_sizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` for pictures of any size, or `model` itself where that does not run."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    del opened.graph.value_info[:]
    for value in (opened.graph.input[0], opened.graph.output[0]):
        dims = value.type.tensor_type.shape.dim
        for i, name in ((0, "N"), (2, "H"), (3, "W")):
            dims[i].dim_param = name
    try:
        session = _open(opened)
        for height, width in _OTHER_SIZES:
            picture = np.zeros((1, 3, height, width), np.float32)
            if _run(session, picture).shape != picture.shape:
                return model
    except Exception:  # its exceptions share no base class; whatever fails, the size stays fixed
        return model
    return opened


def _with_ends(
    model: onnx.ModelProto,
    scale: tuple[float, ...],
    offset: tuple[float, ...],
    fixed: tuple[int | None, int | None, int | None],
) -> onnx.ModelProto:
    graph = model.graph
    source, result = graph.input[0].name, graph.output[0].name
    constants = {
        "rtstyle.scale": np.array(scale, np.float32).reshape(1, 3, 1, 1),
        "rtstyle.offset": np.array(offset, np.float32).reshape(1, 3, 1, 1),
        "rtstyle.black": np.float32(0),
        "rtstyle.white": np.float32(255),
        "rtstyle.half": np.float32(0.5),  # old operator sets have no Round
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    before = [
        helper.make_node("Cast", ["frame"], ["rtstyle.float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["rtstyle.float"], ["rtstyle.nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["rtstyle.nchw", "rtstyle.scale"], ["rtstyle.scaled"]),
        helper.make_node("Add", ["rtstyle.scaled", "rtstyle.offset"], [source]),
    ]
    after = [
        helper.make_node("Sub", [result, "rtstyle.offset"], ["rtstyle.centred"]),
        helper.make_node("Div", ["rtstyle.centred", "rtstyle.scale"], ["rtstyle.pixels"]),
        helper.make_node("Max", ["rtstyle.pixels", "rtstyle.black"], ["rtstyle.positive"]),
        helper.make_node("Min", ["rtstyle.positive", "rtstyle.white"], ["rtstyle.clipped"]),
        helper.make_node("Add", ["rtstyle.clipped", "rtstyle.half"], ["rtstyle.raised"]),
        helper.make_node("Floor", ["rtstyle.raised"], ["rtstyle.rounded"]),
        helper.make_node("Transpose", ["rtstyle.rounded"], ["rtstyle.nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["rtstyle.nhwc"], ["stylized"], to=TensorProto.UINT8),
    ]
    nodes = [*before, *graph.node, *after]
    shape: list[Any] = [size or name for size, name in zip(fixed, "NHW", strict=True)]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("frame", TensorProto.UINT8, [*shape, 3]))
    graph.output.append(helper.make_tensor_value_info("stylized", TensorProto.UINT8, [*shape, 3]))
    return model


def _open(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
