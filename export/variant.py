"""Writes a model file's variant of another precision, if it paints as the model does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from export.half import HALF, element_types, to_half
from export.int8 import Feed, to_int8
from rtstyle.errors import ModelError, OutputError, UsageError
from rtstyle.frame import Image
from rtstyle.model import METADATA_KEY, ModelSpec, read_model, shipped_folder
from rtstyle.nets.contract import Contract
from rtstyle.style_encoder import encode, read_style_encoder
from rtstyle.train.data import load_photos

# Grey levels. In a picture of no contrast instance norm blows up what the precision's own rounding
# left; only its mean colour is compared, so that it is no garbage.
MAX_FLAT_COLOR = 32.0
_SHORT_SIDE, _LONG_SIDE = 256, 384  # of calibration pictures, rounded to the stride
_MAX_PHOTOS = 24
_GRAIN = 2  # grey levels: no more contrast than a camera's noise
_INT8_AIM = 2.5  # grey levels on average, on the photographs that ranges are taken from


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a variant's pictures may be off, in grey levels: the worst picture counts."""

    mean: float
    p999: float | None  # 99.9th percentile


LIMITS = {"fp16": Limits(1.0, 4.0), "int8": Limits(3.0, None)}


@dataclass(frozen=True, slots=True)
class Difference:
    """What was measured: grey levels on textured pictures, and the colour of flat ones."""

    mean: float
    p999: float
    flat_color: float
    left_float: tuple[str, ...] = ()  # convolutions that INT8 leaves alone


def write_variant(
    source: Path,
    output: Path,
    precision: str,
    *,
    photos: Path | None = None,
    net: nn.Module | None = None,
) -> Difference:
    """Write `source` in `precision`, "fp16" or "int8", to `output`, whole or not at all.

    The variant is compared with `net`, or without one with `source`, on `photos` (those that come
    with rtstyle by default), noise, black and white. Raises `ModelError` when it differs too much
    or any value is no number, `OutputError` when it cannot be written.
    """
    if output.resolve() == source.resolve():
        raise UsageError(f"The variant would replace its model {source}; name another file.")
    spec = read_model(source)
    if spec.layout != "nhwc" or source.suffix != ".onnx":
        raise UsageError(
            f"{source.name} is no model file of rtstyle; make it one with `python -m export import`"
            " or `python -m export onnx` first."
        )
    pictures = _photographs(photos or shipped_folder().parent / "samples", spec)
    style = _style(spec, pictures[0])
    feeds = [_feed(spec, picture, style) for picture in pictures]
    model = onnx.load_model(source)
    left: list[str] = []
    if precision == "fp16":
        variant = to_half(model)
    else:
        variant, left = to_int8(model, feeds, max_mean=_INT8_AIM)
    _tell(variant, precision)
    paint = _runner(model) if net is None else _torch_runner(net)
    hard = [_feed(spec, picture, style) for picture in _hard_pictures(spec)]
    difference = _compare(variant, paint, [*feeds, *hard], tuple(left))
    _require(difference, LIMITS[precision], precision)
    part = output.with_name(output.name + ".part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(variant.SerializeToString())
        read_model(part)
        part.replace(output)
    except OSError as error:
        raise OutputError(f"The model {output} cannot be written ({error}).") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return difference


def _compare(
    variant: onnx.ModelProto,
    paint: Callable[[Feed], NDArray[np.uint8]],
    feeds: Sequence[Feed],
    left_float: tuple[str, ...],
) -> Difference:
    run = _runner(variant, finite=True)
    means, p999s, flats = [], [], []
    for feed in feeds:
        d = run(feed).astype(np.int16) - paint(feed)
        if np.ptp(feed["frame"]) > _GRAIN:
            means.append(float(np.abs(d).mean()))
            p999s.append(float(np.percentile(np.abs(d), 99.9)))
        else:
            flats.append(float(np.abs(d.mean((1, 2))).max()))
    return Difference(max(means), max(p999s), max(flats), left_float)


def _require(difference: Difference, limits: Limits, precision: str) -> None:
    right = (
        difference.mean <= limits.mean
        and (limits.p999 is None or difference.p999 <= limits.p999)
        and difference.flat_color <= MAX_FLAT_COLOR
    )
    if not right:
        at_most = f"{limits.mean:g}" if limits.p999 is None else f"{limits.mean:g}, {limits.p999:g}"
        raise ModelError(
            f"In {precision} the pictures differ by {difference.mean:.2f} grey levels on average, "
            f"{difference.p999:.0f} at the 99.9th percentile and {difference.flat_color:.1f} in the"
            f" colour of flat ones; at most {at_most} and {MAX_FLAT_COLOR:g} are allowed."
        )


def _runner(model: onnx.ModelProto, *, finite: bool = False) -> Callable[[Feed], NDArray[np.uint8]]:
    """Paints with every result rounded as the graph says: no rewriting of the graph.

    With `finite`, raises `ModelError` where the picture, before it becomes uint8, holds a value
    that is no number: uint8 would hide it.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    wanted = [model.graph.output[0].name]
    if watched := _before_clipping(probe.graph) if finite else None:
        wanted.append(watched)
        probe.graph.output.append(
            onnx.helper.make_tensor_value_info(watched, onnx.TensorProto.FLOAT, None)
        )
    _keep_rounding(probe)
    session = ort.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def paint(feed: Feed) -> NDArray[np.uint8]:
        painted, *watch = session.run(wanted, feed)
        if watch and not np.isfinite(watch[0]).all():
            raise ModelError("The variant computes values that are no numbers.")
        return np.asarray(painted, np.uint8)

    return paint


def _keep_rounding(model: onnx.ModelProto) -> None:
    """Make ONNX Runtime round where the graph does: on a CPU it computes half as float, and would
    drop a cast back and forth; a copy in between holds it from that."""
    kinds = element_types(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Cast" and kinds.get(node.input[0]) == HALF:
            name = f"{node.output[0]}.rounded"
            nodes.append(onnx.helper.make_node("Identity", [node.input[0]], [name]))
            node.input[0] = name
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _before_clipping(graph: onnx.GraphProto) -> str | None:
    for node in reversed(graph.node):
        if node.op_type in ("Clip", "Max"):
            return str(node.input[0])
    return None


def _torch_runner(net: nn.Module) -> Callable[[Feed], NDArray[np.uint8]]:
    reference = Contract(net.cpu()).eval()

    def paint(feed: Feed) -> NDArray[np.uint8]:
        with torch.inference_mode():
            painted = reference(*map(torch.from_numpy, feed.values()))
        return np.asarray(painted.numpy(), np.uint8)

    return paint


def _feed(spec: ModelSpec, picture: Image, style: NDArray[np.float32] | None) -> Feed:
    feed: Feed = {"frame": picture[None]}
    if style is not None:
        feed["style"] = style
    if spec.takes_strength:
        feed["strength"] = np.ones(1, np.float32)
    return feed


def _style(spec: ModelSpec, picture: Image) -> NDArray[np.float32] | None:
    """(1, S): a mix of all styles, or the statistics of a photograph's negative."""
    if not spec.style_size:
        return None
    if spec.style_input == "statistics":
        encoder = read_style_encoder(spec)
        side = -(-encoder.painting_size // encoder.stride) * encoder.stride
        painting = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)[::-1]
        return encode(encoder, np.ascontiguousarray(255 - painting))
    weights = np.arange(1, spec.style_size + 1, dtype=np.float32)
    return np.asarray(weights[None] / weights.sum())


def _photographs(folder: Path, spec: ModelSpec) -> list[Image]:
    """Photographs of a video's shape; each holds what the net will see."""
    found = load_photos(folder)
    height, width = spec.size or (_round(_SHORT_SIDE, spec), _round(_LONG_SIDE, spec))
    step = max(1, len(found) // _MAX_PHOTOS)
    images: list[Image] = []
    for i in range(0, len(found), step):
        scale = max(height / found[i].shape[0], width / found[i].shape[1])
        size = (max(width, round(found[i].shape[1] * scale)),
                max(height, round(found[i].shape[0] * scale)))  # fmt: skip
        grown = cv2.resize(found[i], size, interpolation=cv2.INTER_AREA)
        images.append(np.ascontiguousarray(grown[:height, :width], dtype=np.uint8))
    return images


def _hard_pictures(spec: ModelSpec) -> list[Image]:
    height, width = spec.size or (_round(96, spec), _round(128, spec))
    shape = (height, width, 3)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    grain = rng.integers(0, _GRAIN + 1, shape, dtype=np.uint8)  # black as a camera gives it
    return [noise, grain, 255 - grain, np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)]


def _round(side: int, spec: ModelSpec) -> int:
    return -(-side // spec.stride) * spec.stride


def _tell(model: onnx.ModelProto, precision: str) -> None:
    """Note the precision in the file's provenance."""
    told = {prop.key: prop.value for prop in model.metadata_props}
    if METADATA_KEY in told:
        document: dict[str, Any] = json.loads(told[METADATA_KEY])
        document["provenance"] = document.get("provenance", {}) | {"precision": precision}
        told[METADATA_KEY] = json.dumps(document, ensure_ascii=False)
        onnx.helper.set_model_props(model, told)
