"""Ways of training: what the batches are and which losses decide, one a file.

All share the trainer, the loop and the job. Adding one is a file and a row in `WAYS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn

from rtstyle.errors import UsageError
from rtstyle.frame import Image

if TYPE_CHECKING:
    from rtstyle.train.trainer import Trainer

Terms = dict[str, Tensor]
Weights = Mapping[str, float | Tensor]
Progress = Callable[[int, int | None, str], None]  # done, total if known, a remark


@dataclass(frozen=True, slots=True)
class Row:
    """A way's material, "module:Class", what its recipe has other than `Recipe`'s defaults, and the
    net that it starts from, None for a new one."""

    material: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    init: str | None = "gallery"


# A net that keeps the photograph's own colours has batch norm: instance norm forgets them.
_KEEPS_COLOURS = {"architecture": "fast", "options": {"norm": "batch"}}
_PAIRS = _KEEPS_COLOURS | {
    "batch": 4, "updates": 4000, "finish": 0, "stability_weight": 2.0, "stability_every": 3,
}  # fmt: skip
# A quarter of the gallery's cost: 4.5 kMAC a pixel.
_LIGHT = {"width": 16, "deep": 48, "blocks": 4, "tail": 8}
# The net begins as the picture itself, which no critic has to teach it; so the rate may be higher
# than the published 2e-4 (Zhu et al. 2017). Muon would upset the balance of net and critics.
_ADVERSARIAL = {
    "architecture": "fast", "options": _LIGHT | {"norm": "batch", "skip": 1},
    "batch": 2, "crop": 192, "updates": 1500, "finish": 0, "muon": False, "lr": 1.5e-3,
    "warm_up": 0, "stability_weight": 2.0, "stability_every": 3, "peak_weight": 0.0,
}  # fmt: skip
_INK = _ADVERSARIAL | {
    "options": _LIGHT | {"norm": "batch", "skip": 2}, "lr": 2.5e-3, "stability_weight": 0.5,
}  # fmt: skip
# What it imitates is steady already.
_SMALLER = {
    "architecture": "fast", "options": _LIGHT,
    "batch": 4, "updates": 12_000, "finish": 0, "stability_weight": 0.0,
}  # fmt: skip

WAYS = {
    "pairs": Row("rtstyle.train.ways.pairs:PairFolders", _PAIRS),
    "teacher": Row("rtstyle.train.teacher:Teacher", _PAIRS),
    "keyframe": Row(
        "rtstyle.train.ways.keyframes:Keyframes", _PAIRS | {"batch": 16, "crop": 64}
    ),
    "distil": Row("rtstyle.train.ways.distillation:Larger", _SMALLER, None),
    "unpaired": Row("rtstyle.train.ways.unpaired:Collection", _ADVERSARIAL, None),
    "ink": Row("rtstyle.train.ways.unpaired:Collection", _INK, None),
    "text": Row("rtstyle.train.ways.text:Words", {"updates": 2000, "finish": 0}),
}  # fmt: skip


class Material(Protocol):
    """What a way learns from, as files: a frozen dataclass of paths and settings."""

    def open(self, folder: Path, progress: Progress) -> Way:
        """Read it, keeping what takes long to make in `folder`. Raises the errors of
        `rtstyle.errors`."""
        ...


class Way(nn.Module):
    """A way of training. Not safe to share between threads.

    What it learns beside the net is in `partners`, which follow the gradient of the net's own
    losses, and in `critics`, which have losses of their own; all of it is part of a checkpoint.
    `columns` names every loss, the telling ones first. `weights` are what the losses count that
    the recipe may weight otherwise. `names` are those of the styles that the net learns, where the
    material decides them.
    """

    columns: ClassVar[tuple[str, ...]]
    weights: Mapping[str, float] = MappingProxyType({})
    names: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.partners, self.critics = nn.ModuleDict(), nn.ModuleDict()

    def nearest(self, init: nn.Module, trainer: Trainer) -> int | None:
        """Which style of `init`, a net of several, to start from; None for their mean."""
        return None

    def attach(self, trainer: Trainer) -> None:
        """Make what depends on the net; called once, when the trainer has it. Raises `UsageError`
        for a weight of a loss that this way has not."""
        for name in trainer.recipe.weights:
            if name not in self.weights:
                near = get_close_matches(name, self.weights, n=1) or sorted(self.weights)
                known = f"did you mean {', '.join(near)}?" if near else "this way takes none."
                raise UsageError(f"There is no loss {name!r} to weight here; {known}")
        self.weights = {**self.weights, **trainer.recipe.weights}
        self.trainer = trainer

    def terms(self) -> tuple[Terms, Weights]:
        """The loss terms of one update, each a number or one a picture, and what each counts."""
        raise NotImplementedError

    def teach_critics(self) -> dict[str, float]:
        """The critics' own update, after the net's; returns their losses."""
        return {}

    def sheet(self, net: nn.Module) -> Image:
        """A picture that shows how far `net` is."""
        raise NotImplementedError

    def provenance(self) -> dict[str, Any]:
        """What the model file says of the material."""
        return {}
