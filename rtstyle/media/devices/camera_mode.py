"""The picture sizes and rates that a camera offers, and the one nearest to a wish."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Mode:
    """`width`×`height` pixels, `rate` pictures a second, in FFmpeg's name of the `codec`."""

    width: int
    height: int
    rate: float
    codec: str

    def __str__(self) -> str:
        return f"{self.width}×{self.height} at {self.rate:g}/s {self.codec}"


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that is plugged in: what opens it, what people call it, its modes where known."""

    address: str
    name: str
    modes: tuple[Mode, ...] = ()


def nearest(wanted: Mode, modes: Iterable[Mode]) -> Mode | None:
    """The mode nearest to `wanted`: by size, then shape, then rate, then codec; None without any.

    A camera too slow is worse than one too fast, and another codec only costs some decoding.
    """

    def distance(mode: Mode) -> tuple[float, float, float, bool]:
        area = abs(math.log(mode.width * mode.height / (wanted.width * wanted.height)))
        shape = abs(math.log(mode.width / mode.height * wanted.height / wanted.width))
        rate = math.log(wanted.rate / mode.rate) if mode.rate > 0 else math.inf
        return (round(area + 2 * shape, 3), max(rate, 0.0), -min(rate, 0.0),
                mode.codec != wanted.codec)  # fmt: skip

    return min(modes, key=distance, default=None)


_DSHOW = re.compile(
    r"(?:pixel_format|vcodec)=(\w+)\s+min s=\d+x\d+ fps=[\d.]+ max s=(\d+)x(\d+) fps=([\d.]+)"
)
_AVFOUNDATION = re.compile(r"(\d+)x(\d+)@\[[\d.]+ ([\d.]+)\]fps")


def parse_modes(log: str) -> tuple[Mode, ...]:
    """The modes that FFmpeg's dshow or avfoundation input lists in its `log`."""
    found = {
        Mode(int(width), int(height), float(rate), codec)
        for codec, width, height, rate in _DSHOW.findall(log)
    }
    found |= {
        Mode(int(width), int(height), float(rate), "raw")
        for width, height, rate in _AVFOUNDATION.findall(log)
    }
    return tuple(sorted(found))
