"""What flows through the pipeline: pictures, frames with their times, and facts of a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3) RGB, full range, upright, C-contiguous
Gain = NDArray[np.float32]  # (H, W): light of a high dynamic range picture over that of its Image

# Of a picture as it is stylized: more would need tens of gigabytes of activations.
MAX_PIXELS = 36_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a stream. Nobody writes into `image` once the frame exists.

    A `lead` frame comes before what is wanted: it is stylized for `SteadyFilter`, not delivered.
    """

    image: Image
    time: Fraction  # seconds, exactly as the container says
    index: int  # 0 for the first frame delivered
    duration: Fraction | None = None  # seconds, where the container says
    lead: bool = False
    gain: Gain | None = None  # where high dynamic range is kept
    alpha: NDArray[np.uint8] | None = None  # (H, W), where the picture is not opaque


@dataclass(frozen=True, slots=True)
class HighRange:
    """High dynamic range that is kept, BT.2020 in PQ or `hlg`, and what it was mastered on.

    `mastering` holds x and y of the display's red, green, blue and white, then its least and most
    light in cd/m2; `light_levels` the most light of a pixel and of a frame; both () if unknown.
    """

    hlg: bool
    mastering: tuple[Fraction, ...] = ()
    light_levels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a source knows of its stream before the first frame.

    `width` and `height` are those of the pictures delivered, after rotation. `rate` is frames a
    second, exact (30000/1001 stays that) and only nominal where the rate varies. `time_base` is the
    unit, in seconds, that every frame's time is a multiple of. `n_frames` is an estimate for
    progress bars, None when the container does not say. `bits` are those of a channel as stored:
    of more than 8, pictures are dithered to 8, in a way that `color.RgbWriter` undoes. `primaries`
    and `transfer` are FFmpeg's numbers of what the pictures' RGB means.
    """

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    n_frames: int | None = None
    pixel_aspect: Fraction = Fraction(1)
    bits: int = 8
    primaries: int = 1  # BT.709
    transfer: int = 1
    high_range: HighRange | None = None


@dataclass(frozen=True, slots=True)
class DeviceImage:
    """A picture in a GPU's memory, in the format of its decoder and encoder: NV12.

    `luma` (H, W) and `chroma` (H/2, W/2, 2) are uint8 and offer `__dlpack__`; the work that makes
    them is done, or is on the default stream. `weights` are those of red and blue in luma.
    `download` gives the same picture as an `Image`, in the thread that reads the source.
    """

    luma: Any
    chroma: Any
    size: tuple[int, int]  # (H, W), both even
    weights: tuple[float, float]
    full_range: bool
    device: int  # number of the GPU
    download: Callable[[], Image]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), as of an `Image`."""
        return (*self.size, 3)


@dataclass(frozen=True, slots=True)
class DeviceFrame:
    """As `Frame`, with its picture in a GPU's memory. Only a source that decodes there delivers it,
    and only a sink that encodes there takes it; see `rtstyle.media.base`."""

    image: DeviceImage
    time: Fraction
    index: int
    duration: Fraction | None = None
    lead: bool = False

    def download(self) -> Frame:
        """The frame in this computer's memory; see `DeviceImage.download`."""
        return Frame(self.image.download(), self.time, self.index, self.duration)
