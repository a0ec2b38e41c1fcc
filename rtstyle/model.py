"""What a model file says of itself, and where the models are."""

from __future__ import annotations

import json
import logging
import os
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from rtstyle.errors import InputNotFoundError, ModelError, RtstyleError
from rtstyle.onnx_header import FLOAT, UINT8, OnnxHeader, TensorInfo, read_header

FORMAT = 1  # version of the metadata document
METADATA_KEY = "rtstyle"
SUFFIXES = (".onnx", ".safetensors")  # of model files and of checkpoints
# For files that do not tell their stride: a multiple of every usual net's, and little to pad.
UNKNOWN_STRIDE = 32

_log = logging.getLogger("rtstyle")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What one model file holds; the only reader of its metadata is `read_model`.

    `stride` is what heights and widths must be multiples of. `styles` are the names the file
    offers, one for a single-style net. `style_size` is the length S of the style vector, the
    weights over `styles`; 0 when the net takes none. `provenance` is what training wrote down:
    painting, settings, losses.

    The last five fields describe models of other makers. `layout` is "nhwc" for uint8 (N, H, W, 3)
    with all processing inside the graph, "nchw" for float32 (N, 3, H, W) whose values run from 0
    to `peak`; `peak` is None as long as nobody found out. `size` is (H, W) where it is fixed,
    `batch` is N where it is fixed.
    """

    path: Path
    architecture: str
    stride: int
    styles: tuple[str, ...]
    style_size: int = 0
    takes_strength: bool = False
    description: str = ""
    licence: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # of the architecture
    frame_input: str = "frame"
    layout: Literal["nhwc", "nchw"] = "nhwc"
    peak: float | None = None
    size: tuple[int, int] | None = None
    batch: int | None = None

    def metadata(self) -> str:
        """The JSON document for the metadata key `rtstyle`, which `read_model` reads back."""
        document = {
            "format": FORMAT,
            "architecture": self.architecture,
            "options": self.options,
            "stride": self.stride,
            "styles": list(self.styles),
            "style_size": self.style_size,
            "description": self.description,
            "licence": self.licence,
            "provenance": self.provenance,
        }
        return json.dumps(document, ensure_ascii=False)


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


def find_models() -> list[ModelSpec]:
    """The user's models, then the shipped ones, each sorted by file name.

    A file that cannot be read is left out with a warning in the log, so that one bad download
    does not take all other styles away.
    """
    specs = []
    for folder in (user_folder(), shipped_folder()):
        for path in sorted(folder.glob("*.onnx")):
            try:
                specs.append(read_model(path))
            except RtstyleError as error:
                _log.warning("A model is left out: %s", error)
    return specs


def shipped_folder() -> Path:
    """The folder of the models that come with rtstyle."""
    return Path(str(resources.files("rtstyle") / "zoo"))


def user_folder() -> Path:
    """The folder of the user's own models: $RTSTYLE_MODELS, or the platform's place for data."""
    if chosen := os.environ.get("RTSTYLE_MODELS"):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "rtstyle" / "models"


def _from_header(path: Path, header: OnnxHeader) -> ModelSpec:
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
    if strength is not None and not _fits(strength, FLOAT, (None,)):
        raise ModelError(f"{path} has an input 'strength' that is not float32 (N,).")
    common: dict[str, Any] = {
        "path": path, "takes_strength": strength is not None, "frame_input": frame.name,
        "layout": layout, "size": size, "batch": batch,
    }  # fmt: skip
    if METADATA_KEY in header.metadata:
        told = parse_metadata(path, header.metadata[METADATA_KEY])
        if told["style_size"] != style_size:
            raise ModelError(
                f"{path} contradicts itself: its metadata tell a style vector of "
                f"{told['style_size']}, its inputs one of {style_size}; export it again."
            )
        return ModelSpec(**common, **told)
    if style_size:
        raise ModelError(
            f"{path} takes a style vector but has no rtstyle metadata that name its styles; "
            "export it with `python -m export onnx`."
        )
    return ModelSpec(
        **common, architecture="unknown", stride=UNKNOWN_STRIDE, styles=(path.stem,)
    )  # fmt: skip


def _picture(
    path: Path, frame: TensorInfo, painted: TensorInfo
) -> tuple[tuple[int, int] | None, Literal["nhwc", "nchw"], int | None]:
    """Fixed size, layout and fixed batch of a graph that maps pictures to pictures."""
    layout: Literal["nhwc", "nchw"]
    nhwc, nchw = (None, None, None, 3), (None, 3, None, None)
    free = frame.shape == (None,) * 4  # then the type alone tells the layout
    if (
        _fits(frame, UINT8, nhwc)
        and _fits(painted, UINT8, nhwc)
        and (free or _dims(frame, 3) == (3,))
    ):
        layout, (batch, height, width) = "nhwc", _dims(frame, 0, 1, 2)
    elif (
        _fits(frame, FLOAT, nchw)
        and _fits(painted, FLOAT, nchw)
        and (free or _dims(frame, 1) == (3,))
    ):
        layout, (batch, height, width) = "nchw", _dims(frame, 0, 2, 3)
    else:
        raise ModelError(
            f"{path} does not map a picture to a picture: uint8 (N, H, W, 3) or float32 "
            f"(N, 3, H, W) was expected on both ends, but {frame.name!r} is {_describe(frame)} "
            f"and {painted.name!r} is {_describe(painted)}."
        )
    if (height is None) != (width is None):
        raise ModelError(f"{path} fixes only one side of its pictures; fix both or none.")
    if batch not in (None, 1):
        raise ModelError(f"{path} paints exactly {batch} pictures at once; export it for 1 or any.")
    size = None if height is None or width is None else (height, width)
    if size is not None and min(size) < 1:
        raise ModelError(f"{path} has pictures of {size[1]}×{size[0]}.")
    return size, layout, batch


def _style_size(path: Path, style: TensorInfo) -> int:
    if _fits(style, FLOAT, (None, None)) and style.shape and (size := style.shape[1]):
        return size
    raise ModelError(
        f"{path} has an input 'style' that is {_describe(style)}; float32 (N, S) with a fixed S "
        "was expected."
    )


def _fits(tensor: TensorInfo, element: int, shape: tuple[int | None, ...]) -> bool:
    """Whether type and rank are right and no known dimension differs."""
    if tensor.element != element or tensor.shape is None or len(tensor.shape) != len(shape):
        return False
    pairs = zip(tensor.shape, shape, strict=True)
    return all(got is None or want is None or got == want for got, want in pairs)


def _dims(tensor: TensorInfo, *axes: int) -> tuple[int | None, ...]:
    assert tensor.shape is not None
    return tuple(tensor.shape[axis] for axis in axes)


def _describe(tensor: TensorInfo) -> str:
    kind = {FLOAT: "float32", UINT8: "uint8", 10: "float16"}.get(tensor.element, "another type")
    if tensor.shape is None:
        return f"{kind} of unknown shape"
    return f"{kind} ({', '.join('any' if size is None else str(size) for size in tensor.shape)})"


def parse_metadata(path: Path, text: str) -> dict[str, Any]:
    """The fields of `ModelSpec` that the metadata document of the file at `path` tells.

    Raises `ModelError` when it is none of format `FORMAT`, or tells what cannot be.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The rtstyle metadata of {path} are no JSON ({error}).") from None
    if not isinstance(document, dict):
        raise ModelError(f"The rtstyle metadata of {path} are no JSON object.")

    def take(key: str, kind: type[_T]) -> _T:
        value = document.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ModelError(
                f"The rtstyle metadata of {path} have {key} = {value!r:.60}; "
                f"a value of type {kind.__name__} was expected."
            )
        return value

    version = take("format", int)
    if version != FORMAT:
        raise ModelError(
            f"{path} has metadata of format {version}; this rtstyle reads format {FORMAT}. "
            "Upgrade rtstyle, or export the model again."
        )
    told: dict[str, Any] = {
        key: take(key, str) for key in ("architecture", "description", "licence")
    }
    told |= {key: take(key, int) for key in ("stride", "style_size")}
    told |= {key: take(key, dict) for key in ("options", "provenance")}
    styles = told["styles"] = tuple(take("styles", list))
    if not styles or not all(isinstance(name, str) and _is_name(name) for name in styles):
        raise ModelError(
            f"The rtstyle metadata of {path} have the styles {list(styles)!r:.60}; at least one "
            "name was expected, printable and without = , / or a file's ending."
        )
    if not 1 <= told["stride"] <= 1024:
        raise ModelError(f"{path} tells a stride of {told['stride']}; 1 to 1024 was expected.")
    if told["style_size"] != (len(styles) if told["style_size"] else 0) or (
        len(styles) > 1 and not told["style_size"]
    ):
        raise ModelError(
            f"{path} names {len(styles)} styles for a style vector of {told['style_size']}; "
            "one weight for every style was expected."
        )
    return told


def _is_name(text: str) -> bool:
    """Whether `find_style` can tell `text` from a path and from a mix."""
    plain = text.isprintable() and not set(text) & set("=,/\\")
    return bool(text.strip()) and plain and not text.lower().endswith(SUFFIXES)


def _read_checkpoint(path: Path) -> ModelSpec:
    """A training checkpoint, told from its safetensors header alone: the weights need torch."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            meta = json.loads(
                json.loads(file.read(min(length, 100_000_000)))["__metadata__"][METADATA_KEY]
            )
        recipe: Mapping[str, Any] = meta["recipe"]
        architecture, options = str(recipe["architecture"]), dict(recipe["options"])
        updates = int(meta["done"])
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no checkpoint {path}.") from None
    except (OSError, ValueError, LookupError, TypeError, struct.error, RecursionError) as error:
        raise ModelError(
            f"{path} is no rtstyle checkpoint that can be read ({type(error).__name__}: {error})."
        ) from None
    # `rtstyle train` writes FOLDER/checkpoint.safetensors, where the folder carries the name.
    name = path.resolve().parent.name if path.stem == "checkpoint" else path.stem
    return ModelSpec(
        path=path, architecture=architecture, stride=UNKNOWN_STRIDE, styles=(name or path.stem,),
        options=options, provenance={"updates": updates},
    )  # fmt: skip
