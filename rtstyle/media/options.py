"""What a user may choose about reading and writing; None leaves the choice to the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """`start` and `duration`, in seconds, cut a video; `rate` is frames a second for pictures.

    `hwaccel` is where a video is decoded: "none" is this processor, "cuda" an NVIDIA card, "auto"
    a card where that works.
    """

    start: Fraction | None = None
    duration: Fraction | None = None
    rate: Fraction | None = None
    hwaccel: str = "none"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a video is encoded, what is kept beside it, and what may be replaced.

    `crf` is the quality on the codec's own scale, lower is better. `options` go to the encoder as
    they are and win over everything else. `suffix`, such as ".png", renames pictures in a folder.
    `hwaccel` "auto" and "cuda" encode on an NVIDIA card where that works and no codec is chosen.
    `threads` is how many the encoder uses: what it makes may depend on that, as with libx264.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    keep_audio: bool = True
    suffix: str | None = None
    overwrite: bool = False
    hwaccel: str = "none"
    threads: int | None = None

    @property
    def encodes(self) -> bool:
        """Whether anything is chosen that only a video has."""
        return bool(
            self.codec or self.crf is not None or self.preset or self.pixel_format or self.options
        )
