"""What a model file says of itself: the facts, and the JSON document that holds them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from rtstyle.errors import ModelError

FORMAT = 1  # version of the metadata document
METADATA_KEY = "rtstyle"
SUFFIXES = (".onnx", ".safetensors")  # of model files and of checkpoints
STYLE_INPUTS = ("weights", "statistics")  # what a style vector may hold

StyleInput = Literal["weights", "statistics"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What one model file holds; the only reader of its metadata is `read_model`.

    `stride` is what heights and widths must be multiples of. `styles` are the names the file
    offers, one for a single-style net. `style_size` is the length S of the style vector, 0 when
    the net takes none. The vector holds "weights" over `styles`, or the "statistics" of any
    style image, which the model's style encoder computes; such a model has no `styles` of its own.
    `style_descriptions` holds a sentence for each style, or none when `description` says it all.
    `takes_strength` when the net blends between picture and painting itself. `grain` when the net
    learnt to paint on the contract's grain (`rtstyle.nets.contract`), which imported nets did not.
    `provenance` is what training wrote down: painting, settings, losses.

    `precision` is that of the graph's arithmetic: "fp32", "fp16" or "int8".

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
    style_input: StyleInput = "weights"
    takes_strength: bool = False
    grain: bool = True
    description: str = ""
    style_descriptions: tuple[str, ...] = ()
    licence: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # of the architecture
    precision: str = "fp32"
    frame_input: str = "frame"
    layout: Literal["nhwc", "nchw"] = "nhwc"
    peak: float | None = None
    size: tuple[int, int] | None = None
    batch: int | None = None

    def input_shapes(self, count: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """The shape of every input of the graph by its name, in their order, for `count` frames of
        `height` × `width` pixels. All inputs are float32 except a frame of layout "nhwc"."""
        is_nhwc = self.layout == "nhwc"
        frame = (count, height, width, 3) if is_nhwc else (count, 3, height, width)
        shapes: dict[str, tuple[int, ...]] = {self.frame_input: frame}
        if self.style_size:
            shapes["style"] = (count, self.style_size)
        if self.takes_strength:
            shapes["strength"] = (count,)
        return shapes

    def metadata(self) -> str:
        """The JSON document for the metadata key `rtstyle`, which `read_model` reads back."""
        document = {
            "format": FORMAT,
            "architecture": self.architecture,
            "options": self.options,
            "stride": self.stride,
            "styles": list(self.styles),
            "style_size": self.style_size,
            "style_input": self.style_input,
            "grain": self.grain,
            "description": self.description,
            "style_descriptions": list(self.style_descriptions),
            "licence": self.licence,
            "provenance": self.provenance,
        }
        return json.dumps(document, ensure_ascii=False)


def read_document(path: Path, text: str) -> dict[str, Any]:
    """The metadata document of the file at `path`. Raises `ModelError` when it is none of format
    `FORMAT`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The rtstyle metadata of {path} are no JSON ({error}).") from None
    if not isinstance(document, dict):
        raise ModelError(f"The rtstyle metadata of {path} are no JSON object.")
    version = take(path, document, "format", int)
    if version != FORMAT:
        raise ModelError(
            f"{path} has metadata of format {version}; this rtstyle reads format {FORMAT}. "
            "Upgrade rtstyle, or export the model again."
        )
    return document


def take(path: Path, document: dict[str, Any], key: str, kind: type[_T]) -> _T:
    """The value of `key` in a metadata document. Raises `ModelError` when it is of another type."""
    value = document.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ModelError(
            f"The rtstyle metadata of {path} have {key} = {value!r:.60}; "
            f"a value of type {kind.__name__} was expected."
        )
    return value


def parse_metadata(path: Path, text: str) -> dict[str, Any]:
    """The fields of `ModelSpec` that the metadata document of the file at `path` holds.

    Raises `ModelError` when it is none of format `FORMAT`, or holds what cannot be.
    """
    return fields(path, read_document(path, text))


def fields(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """The fields of `ModelSpec` in a document. Raises `ModelError` when they cannot be."""
    described: dict[str, Any] = {
        key: take(path, document, key, str) for key in ("architecture", "description", "licence")
    }
    described |= {key: take(path, document, key, int) for key in ("stride", "style_size")}
    described |= {key: take(path, document, key, dict) for key in ("options", "provenance")}
    described["precision"] = str(described["provenance"].get("precision", "fp32"))
    described["style_input"] = document.get("style_input", "weights")
    if described["style_input"] not in STYLE_INPUTS:
        raise ModelError(
            f"The rtstyle metadata of {path} have style_input = {described['style_input']!r:.60}; "
            f"{' or '.join(STYLE_INPUTS)} was expected."
        )
    # files from before the trait was written down: imported nets never learnt it
    described["grain"] = document.get("grain", "imported" not in described["provenance"])
    if not isinstance(described["grain"], bool):
        raise ModelError(
            f"The rtstyle metadata of {path} have grain = {described['grain']!r:.60}; true or "
            "false was expected."
        )
    if not 1 <= described["stride"] <= 1024:
        raise ModelError(f"{path} has a stride of {described['stride']}; 1 to 1024 was expected.")
    described["styles"] = tuple(take(path, document, "styles", list))
    sentences = document.get("style_descriptions", [])
    if not isinstance(sentences, list) or not all(isinstance(text, str) for text in sentences):
        raise ModelError(f"The rtstyle metadata of {path} have style_descriptions of no texts.")
    if len(sentences) not in (0, len(described["styles"])):
        raise ModelError(
            f"{path} has {len(sentences)} sentences for {len(described['styles'])} styles; one for "
            "each was expected, or none."
        )
    described["style_descriptions"] = tuple(sentences)
    check = _check_statistics if described["style_input"] == "statistics" else _check_weights
    check(path, described["styles"], described["style_size"])
    return described


def _check_weights(path: Path, styles: tuple[Any, ...], style_size: int) -> None:
    if not styles or not all(isinstance(name, str) and _is_name(name) for name in styles):
        raise ModelError(
            f"The rtstyle metadata of {path} have the styles {list(styles)!r:.60}; at least one "
            "name was expected, printable and without = , / or a file's ending."
        )
    if style_size != (len(styles) if style_size else 0) or (len(styles) > 1 and not style_size):
        raise ModelError(
            f"{path} names {len(styles)} styles for a style vector of {style_size}; "
            "one weight for every style was expected."
        )


def _check_statistics(path: Path, styles: tuple[Any, ...], style_size: int) -> None:
    if styles or style_size < 1:
        raise ModelError(
            f"{path} takes the statistics of a painting, but names {len(styles)} styles and "
            f"declares a style vector of {style_size}; no style and at least 1 number were "
            "expected."
        )


def _is_name(text: str) -> bool:
    """Whether `find_style` can tell `text` from a path and from a mix."""
    plain = text.isprintable() and not set(text) & set("=,/\\")
    return bool(text.strip()) and plain and not text.lower().endswith(SUFFIXES)
