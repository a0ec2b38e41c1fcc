"""Reads a model file or a checkpoint, and refuses with a sentence what no engine could run."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rtstyle.errors import InputNotFoundError, ModelError
from rtstyle.frame import MAX_PIXELS
from rtstyle.model.onnx_reader import FLOAT, UINT8, OnnxHeader, TensorInfo, read_header
from rtstyle.model.spec import METADATA_KEY, ModelSpec, fields, parse_metadata, read_document

# For files that do not say their stride: a multiple of every usual net's, and little to pad.
UNKNOWN_STRIDE = 32
_MAX_STYLE = 65_536  # numbers; a style of AdaIN's has 1024
STYLE_ENCODER = "style-encoder"  # the architecture of files that no engine paints with


def read_model(path: Path) -> ModelSpec:
    """What the model file or the checkpoint (.safetensors) at `path` says of itself.

    An ONNX file without metadata is accepted when it turns one picture into one of the same kind:
    uint8 (N, H, W, 3), or float32 (N, 3, H, W) whose sizes may be fixed.

    Raises `InputNotFoundError` when there is no such file and `ModelError` when it is no model
    that rtstyle can run.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _read_checkpoint(path)
    header = read_header(path)
    return _from_header(path, header)


def _from_header(path: Path, header: OnnxHeader) -> ModelSpec:
    if METADATA_KEY in header.metadata:
        _refuse_encoder(path, header.metadata[METADATA_KEY])
    by_name = {tensor.name: tensor for tensor in header.inputs}
    frame = by_name.pop("frame", None) or (header.inputs[0] if header.inputs else None)
    if frame is None or not header.outputs:
        raise ModelError(f"{path} has no input or no output; a model paints one picture.")
    by_name.pop(frame.name, None)
    style, strength = by_name.pop("style", None), by_name.pop("strength", None)
    if by_name:
        raise ModelError(
            f"{path} has the input {', '.join(map(repr, by_name))}, which rtstyle does not know; "
            "a model takes one picture and optionally 'style' and 'strength'."
        )
    if len(header.outputs) != 1:
        raise ModelError(f"{path} has {len(header.outputs)} outputs; one picture was expected.")
    size, layout, batch = _picture(path, frame, header.outputs[0])
    style_size = 0 if style is None else _style_size(path, style)
    if strength is not None and not fits(strength, FLOAT, (None,)):
        raise ModelError(f"{path} has an input 'strength' that is not float32 (N,).")
    common: dict[str, Any] = {
        "path": path, "takes_strength": strength is not None, "frame_input": frame.name,
        "layout": layout, "size": size, "batch": batch,
    }  # fmt: skip
    if METADATA_KEY in header.metadata:
        described = parse_metadata(path, header.metadata[METADATA_KEY])
        if described["style_size"] != style_size:
            raise ModelError(
                f"{path} contradicts itself: its metadata declare a style vector of "
                f"{described['style_size']}, its inputs one of {style_size}; export it again."
            )
        return ModelSpec(**common, **described)
    if style_size:
        raise ModelError(
            f"{path} takes a style vector but has no rtstyle metadata that name its styles; "
            "export it with `python -m export onnx`."
        )
    return ModelSpec(
        **common, architecture="unknown", stride=UNKNOWN_STRIDE, styles=(path.stem,)
    )  # fmt: skip


def _refuse_encoder(path: Path, text: str) -> None:
    if read_document(path, text).get("architecture") == STYLE_ENCODER:
        model = path.parent.parent / path.name
        raise ModelError(
            f"{path} is the style encoder of {model.name}, not a model that paints; give a picture "
            f"as the style, and {model.name} paints like it."
        )


def _picture(
    path: Path, frame: TensorInfo, painted: TensorInfo
) -> tuple[tuple[int, int] | None, Literal["nhwc", "nchw"], int | None]:
    """Fixed size, layout and fixed batch of a graph that maps pictures to pictures."""
    layout: Literal["nhwc", "nchw"]
    nhwc, nchw = (None, None, None, 3), (None, 3, None, None)
    free = frame.shape == (None,) * 4  # then the type alone decides the layout
    if (
        fits(frame, UINT8, nhwc)
        and fits(painted, UINT8, nhwc)
        and (free or _dims(frame, 3) == (3,))
    ):
        layout, (batch, height, width) = "nhwc", _dims(frame, 0, 1, 2)
    elif (
        fits(frame, FLOAT, nchw)
        and fits(painted, FLOAT, nchw)
        and (free or _dims(frame, 1) == (3,))
    ):
        layout, (batch, height, width) = "nchw", _dims(frame, 0, 2, 3)
    else:
        raise ModelError(
            f"{path} does not map a picture to a picture: uint8 (N, H, W, 3) or float32 "
            f"(N, 3, H, W) was expected on both ends, but {frame.name!r} is {describe(frame)} "
            f"and {painted.name!r} is {describe(painted)}."
        )
    if (height is None) != (width is None):
        raise ModelError(f"{path} fixes only one side of its pictures; fix both or none.")
    if batch not in (None, 1):
        raise ModelError(f"{path} paints exactly {batch} pictures at once; export it for 1 or any.")
    size = None if height is None or width is None else (height, width)
    if size is not None and (min(size) < 1 or size[0] * size[1] > MAX_PIXELS):
        raise ModelError(
            f"{path} has pictures of {size[1]}×{size[0]}; at least 1 and at most "
            f"{MAX_PIXELS // 1_000_000} million pixels were expected."
        )
    return size, layout, batch


def _style_size(path: Path, style: TensorInfo) -> int:
    if fits(style, FLOAT, (None, None)) and style.shape and (size := style.shape[1]):
        if size <= _MAX_STYLE:
            return size
        raise ModelError(f"{path} takes a style of {size} numbers; {_MAX_STYLE} are the most.")
    raise ModelError(
        f"{path} has an input 'style' that is {describe(style)}; float32 (N, S) with a fixed S "
        "was expected."
    )


def fits(tensor: TensorInfo, element: int, shape: tuple[int | None, ...]) -> bool:
    """Whether type and rank are right and no known dimension differs."""
    if tensor.element != element or tensor.shape is None or len(tensor.shape) != len(shape):
        return False
    pairs = zip(tensor.shape, shape, strict=True)
    return all(got is None or want is None or got == want for got, want in pairs)


def _dims(tensor: TensorInfo, *axes: int) -> tuple[int | None, ...]:
    assert tensor.shape is not None
    return tuple(tensor.shape[axis] for axis in axes)


def describe(tensor: TensorInfo) -> str:
    """Type and shape, for people."""
    kind = {FLOAT: "float32", UINT8: "uint8", 10: "float16"}.get(tensor.element, "another type")
    if tensor.shape is None:
        return f"{kind} of unknown shape"
    return f"{kind} ({', '.join('any' if size is None else str(size) for size in tensor.shape)})"


def _read_checkpoint(path: Path) -> ModelSpec:
    """A training checkpoint, read from its safetensors header alone: the weights need torch."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            meta = json.loads(
                json.loads(file.read(min(length, 100_000_000)))["__metadata__"][METADATA_KEY]
            )
        recipe: Mapping[str, Any] = meta["recipe"]
        facts = {"stride": UNKNOWN_STRIDE, "style_size": 0} | meta.get("model", {})
        architecture, options = str(recipe["architecture"]), dict(recipe["options"])
        updates, names = int(meta["done"]), list(meta.get("styles", ()))
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no checkpoint {path}.") from None
    except (
        OSError, ValueError, LookupError, TypeError, OverflowError, struct.error, RecursionError,
    ) as error:  # fmt: skip
        raise ModelError(
            f"{path} is no rtstyle checkpoint that can be read ({type(error).__name__}: {error})."
        ) from None
    # `rtstyle train` writes FOLDER/checkpoint.safetensors, where the folder carries the name.
    folder = path.resolve().parent.name if path.stem == "checkpoint" else path.stem
    if not names and facts.get("style_input") != "statistics":
        names = [folder or path.stem]
    described = fields(
        path,
        {
            "architecture": architecture, "description": "", "licence": "", "styles": names,
            "options": options, "provenance": {"updates": updates},
        } | facts,
    )  # fmt: skip
    return ModelSpec(path, takes_strength=facts.get("takes_strength") is True, **described)
