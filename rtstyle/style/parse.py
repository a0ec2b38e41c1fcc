"""What the text after --style means: a name, a model file, any picture, or a mix of these."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from rtstyle.errors import StyleNotFoundError, UsageError
from rtstyle.media.options import VIDEO_SUFFIXES, is_picture
from rtstyle.model.file import read_model
from rtstyle.model.spec import SUFFIXES, ModelSpec
from rtstyle.model.zoo import find_models
from rtstyle.style.encoder import style_from_image
from rtstyle.style.style import Style, mix, name_key, styles_named, styles_of

_log = logging.getLogger("rtstyle")

# "model:style", where the model is a file's stem or a path to it. "C:\…" is a drive, no model.
_OF_MODEL = re.compile(
    r"(.*\.(?:onnx|safetensors)|[^:/\\]{2,}|[^:/\\](?!:[/\\])):(.+)", re.IGNORECASE
)


def find_style(text: str) -> Style:
    """The style that `text` names, one of:

    - a name, or `model:name` for the one of a certain model, named by its file's stem;
    - a path to a picture, which a model for any painting then paints like, or `model:picture`;
    - a path to a model file, for its first style, or `model.onnx:name`;
    - a mix of such that one model has, "a=0.7,b=0.3".

    Raises `StyleNotFoundError` for an unknown name, `UsageError` for a mix that cannot be, and for
    pictures and model files what `style_from_image` and `read_model` raise.
    """
    text = text.strip()
    if text.lower().endswith(SUFFIXES):
        return _first_style(read_model(Path(text).expanduser()))
    models = find_models()
    if "=" not in text or _is_file(text):
        return _candidates(text, models)[0]
    parts = _parts(text)
    styles = _of_one_model([_candidates(name, models) for name, _ in parts])
    mixed = mix([(style, weight) for style, (_, weight) in zip(styles, parts, strict=True)])
    total = sum(weight for _, weight in parts)
    if len(parts) == 1 and total != 1:
        raise UsageError(
            f"{text!r} is one style, whose share is all of the mix; name a second one, or say how "
            "strong it is with --strength."
        )
    if abs(total - 1) > 0.01:
        _log.warning("The weights of the mix sum to %g, not to 1; it is %s.", total, mixed.name)
    return mixed


def _candidates(text: str, models: list[ModelSpec]) -> list[Style]:
    """Every style that `text` may mean, the most likely one first; at least one."""
    text = text.strip()
    styles = [style for model in models for style in styles_of(model)]
    if any(name_key(style.name) == name_key(text) for style in styles):
        return styles_named(text, styles)
    _refuse_other_kinds(text)
    if _is_file(text):
        return [_from_image(text, models)]
    if (match := _OF_MODEL.fullmatch(text)) and (model := _model(match[1], models)):
        if model.style_input == "statistics":
            return [_from_image(match[2], [model])]
        return styles_named(match[2], styles_of(model))
    if is_picture(Path(text)):
        return [_from_image(text, models)]
    return styles_named(text, styles)  # raises, with what is called nearly so


# What people have that is neither a picture nor a model file, and how it becomes one.
_IMPORT = "import it first: rtstyle import {} -o MODEL.onnx"
_CONVERT = "convert it to ONNX with its own tools (tf2onnx, coremltools …), and then " + _IMPORT
_BUILT = "it holds for one runtime alone; name the model.onnx that it was made from"
_OTHER_KINDS: dict[tuple[str, ...], tuple[str, str]] = {
    (".pth", ".pt", ".pth.tar", ".model", ".bin"): ("a PyTorch checkpoint", _IMPORT),
    (".t7",): ("a Torch7 net", _IMPORT),
    (".ckpt", ".ckpt.index", ".ckpt.meta", ".index", ".meta"): (
        "a TensorFlow or PyTorch checkpoint", _IMPORT,
    ),
    (".json",): ("a TensorFlow.js model", _IMPORT),
    (".pb", ".tflite", ".h5", ".keras", ".mlmodel", ".caffemodel", ".npz"): (
        "a model of another framework", _CONVERT,
    ),
    (".engine", ".plan", ".trt", ".pt2", ".xml", ".ort"): ("a compiled model", _BUILT),
    tuple({*VIDEO_SUFFIXES} - {".gif", ".apng"}): ("a video", "name a picture such as a.jpg"),
}  # fmt: skip


def _refuse_other_kinds(text: str) -> None:
    """Raises `StyleNotFoundError`, which says what to do, for a file of a kind known to be none."""
    lower = text.lower()
    for suffixes, (kind, advice) in _OTHER_KINDS.items():
        if lower.endswith(suffixes):
            if not _is_file(text):
                raise StyleNotFoundError(f"There is no file {text}; a style was expected.")
            raise StyleNotFoundError(f"{text} is {kind}, not a style: {advice.format(text)}.")


def _from_image(picture: str, models: list[ModelSpec]) -> Style:
    model = next((model for model in models if model.style_input == "statistics"), None)
    return style_from_image(Path(picture).expanduser(), model)


def _model(name: str, models: list[ModelSpec]) -> ModelSpec | None:
    if name.lower().endswith(SUFFIXES):
        return read_model(Path(name).expanduser())
    return next((m for m in models if name_key(m.path.stem) == name_key(name)), None)


def _first_style(model: ModelSpec) -> Style:
    if styles := styles_of(model):
        return styles[0]
    raise StyleNotFoundError(
        f"{model.path} paints like any picture and has no style of its own; name one as well: "
        f"--style {model.path}:my_painting.jpg"
    )


def _of_one_model(candidates: list[list[Style]]) -> list[Style]:
    """One of each list so that all are of the first model that can mix them; else every first."""
    for style in candidates[0]:
        found = [
            next((other for other in others if other.model.path == style.model.path), None)
            for others in candidates
        ]
        same = [other for other in found if other is not None and other.vector is not None]
        if len(same) == len(candidates):
            return same
    return [others[0] for others in candidates]


def _parts(text: str) -> list[tuple[str, float]]:
    """ "a=0.7,b=0.3" → [("a", 0.7), ("b", 0.3)]."""
    parts = []
    for part in text.split(","):
        name, _, weight = part.rpartition("=")
        try:
            parts.append((name, float(weight)))
        except ValueError:
            raise UsageError(
                f"A mix is written like candy=0.7,mosaic=0.3; {part.strip()!r} does not fit that."
            ) from None
    return parts


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long a name, no home, a null character
        return False


def weights_file(name: Path) -> Path:
    """The file `name`, or that of the user's or the shipped model of that name."""
    key = name_key(str(name))
    models = () if name.exists() else find_models()
    return next((m.path for m in models if name_key(m.path.stem) == key), name)
