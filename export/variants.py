"""Every variant of every model of a folder, in one go: what `python -m export variants` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.checkpoint import CHECKPOINT
from rtstyle.errors import InputNotFoundError, ModelError
from rtstyle.nets.checkpoint import load_checkpoint_net
from rtstyle.variants.variant import Variant, write_variant

MAX_ZOO_BYTES = 34_000_000  # of all models, their encoders and their variants together


@dataclass(frozen=True, slots=True)
class Made:
    """A variant that was written, or why it was not."""

    path: Path
    variant: Variant | None
    problem: str = ""


def write_variants(
    zoo: Path,
    output: Path,
    precisions: Sequence[str],
    *,
    names: Sequence[str] = (),
    photos: Path | None = None,
    checkpoints: Path | None = None,
) -> Iterator[Made]:
    """Write `output`/PRECISION/MODEL for every model file of `zoo`, where `--precision` finds them;
    only for those called one of `names`, if there are any.

    Each is compared with the torch net in `checkpoints`/MODEL where there is one, else with the
    model file, on `photos`; see `write_variant`. One that is outside the limits is reported and not
    written. Raises `InputNotFoundError` when there is no model.
    """
    models = [path for path in sorted(zoo.glob("*.onnx")) if not names or path.stem in names]
    if missing := set(names) - {path.stem for path in models}:
        raise InputNotFoundError(f"There is no {', '.join(sorted(missing))} (.onnx) in {zoo}.")
    if not models:
        raise InputNotFoundError(f"There is no model file (.onnx) in {zoo}.")
    for model in models:
        trained = None if checkpoints is None else checkpoints / model.stem / CHECKPOINT
        net = load_checkpoint_net(trained)[0] if trained and trained.is_file() else None
        for precision in precisions:
            path = output / precision / model.name
            try:
                yield Made(path, write_variant(model, path, precision, photos=photos, net=net))
            except ModelError as error:
                yield Made(path, None, str(error))


def zoo_bytes(*folders: Path) -> int:
    """The size of all model files below the folders. Raises `ModelError` above the limit."""
    total = sum(path.stat().st_size for folder in set(folders) for path in folder.rglob("*.onnx"))
    if total > MAX_ZOO_BYTES:
        raise ModelError(
            f"The models and their variants take {total / 1e6:.1f} MB; at most "
            f"{MAX_ZOO_BYTES / 1e6:.0f} MB are shipped. Leave a precision or a model out."
        )
    return total
