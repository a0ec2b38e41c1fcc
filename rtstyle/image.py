"""From a picture to the input of a net and back: scale, pad, crop, strength, colour preservation.

Pure functions; arrays are copied only where something changes, and never written into.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import MediaError, UsageError
from rtstyle.frame import MAX_PIXELS as MAX_PIXELS
from rtstyle.frame import Image
from rtstyle.lut import load_lut
from rtstyle.model.spec import ModelSpec

Batch = NDArray[np.uint8]  # (1, H, W, 3) RGB

# Nets pad by reflection at every scale inside, which needs something to reflect.
MIN_SIDE = 32
STROKE_PIXELS = 24  # that a stroke of a style net is about long, whatever the picture's size


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a picture is stylized and blended with the original.

    `strength` 0 is the picture, 1 the painting; a model that takes a strength blends inside the
    net, of every other one the finished picture is blended. `preserve_color` keeps the picture's
    colours and takes only the brightness of the painting (Gatys et al. 2016, "Preserving Color in
    Neural Artistic Style Transfer", luminance-only transfer). `lut` is a .cube file, a filter of
    the colours that come out of all that. The net paints at `height` pixels, of an upright picture
    at that width, as 720p is meant, or at `scale` times the picture's size, which decides how large
    the strokes are; or so that they are about `stroke` long, as a share of the picture's shorter
    side, at every resolution. With `upscale` 2 it paints at half of that height, scale or the
    picture's own size, and a small net enlarges the painting. The result has the picture's size all
    the same.

    Raises `UsageError` for values out of range.
    """

    strength: float = 1.0
    preserve_color: bool = False
    height: int | None = None
    scale: float | None = None
    stroke: float | None = None
    upscale: int = 1
    lut: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:  # also refuses NaN
            raise UsageError(f"The strength must be between 0 and 1, not {self.strength}.")
        if sum(given is not None for given in (self.height, self.scale, self.stroke)) > 1:
            raise UsageError("Give only one of the height, the scale and the stroke to paint with.")
        if self.height is not None and self.height < 1:
            raise UsageError(f"The height must be at least 1 pixel, not {self.height}.")
        if self.scale is not None and not (0 < self.scale < math.inf):
            raise UsageError(f"The scale must be a number above 0, not {self.scale}.")
        check_stroke(self.stroke)
        check_upscale(self.upscale)
        if self.lut is not None:
            load_lut(self.lut)  # raises before any work

    @property
    def is_plain(self) -> bool:
        """Whether pictures are painted at their own size and in the painting's colours."""
        resized = self.height or self.scale or self.stroke or self.upscale != 1
        return not resized and not self.preserve_color and self.lut is None

    def factor(self, height: int, width: int) -> float:
        """The size to paint a picture at, as a share of its own `height` × `width`."""
        if self.stroke is not None:
            return STROKE_PIXELS / self.stroke / min(height, width)
        given = self.scale or (self.height / min(height, width) if self.height else 1.0)
        return given / self.upscale


def check_stroke(stroke: float | None) -> None:
    """Raise `UsageError` when it is none that can be painted."""
    if stroke is not None and not 0 < stroke <= 1:
        raise UsageError(
            f"A stroke is a share of the picture's shorter side, above 0 and up to 1, such as "
            f"0.03, not {stroke:g}."
        )


def check_upscale(upscale: int) -> None:
    """Raise `UsageError` when there is no net for it."""
    if upscale not in (1, 2):
        raise UsageError(f"Paintings are upscaled by 2 or, not at all, by 1; not by {upscale}.")


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes (height, width) in pixels: of the picture, scaled for the net, and with padding; and
    how many times what the net painted is `enlarged` before it is scaled back."""

    picture: tuple[int, int]
    scaled: tuple[int, int]
    padded: tuple[int, int]
    enlarged: int = 1


def geometry(height: int, width: int, *, model: ModelSpec, look: Look) -> Geometry:
    """The sizes at which `model` stylizes a picture of `height` × `width`.

    Raises `MediaError` when that is more than `MAX_PIXELS`.
    """
    if model.size is not None:  # the net takes one size only: fit the picture into it
        factor = min(model.size[0] / height, model.size[1] / width)
        fitted = tuple(
            min(side, _scaled(length, factor))
            for length, side in zip((height, width), model.size, strict=True)
        )
        enlarged = look.upscale if fitted[0] < height else 1
        return Geometry((height, width), (fitted[0], fitted[1]), model.size, enlarged)
    factor = look.factor(height, width)
    scaled = (_scaled(height, factor), _scaled(width, factor))
    if scaled[0] * scaled[1] > MAX_PIXELS:
        most = max(1, int(min(scaled) * math.sqrt(MAX_PIXELS / (scaled[0] * scaled[1]))))
        raise MediaError(
            f"The picture would be painted at {scaled[1]}×{scaled[0]}, more than the "
            f"{MAX_PIXELS // 1_000_000} megapixels that are allowed; paint it at "
            f"--height {most} or less."
        )
    least = max(MIN_SIDE, 2 * model.stride)
    padded = padded_size(max(scaled[0], least), max(scaled[1], least), model)
    enlarged = look.upscale if scaled[0] < height else 1
    return Geometry((height, width), scaled, padded, enlarged)


def padded_size(height: int, width: int, model: ModelSpec) -> tuple[int, int]:
    """The next size that `model` takes; the same where none is large enough."""
    if model.size is not None:
        fits = height <= model.size[0] and width <= model.size[1]
        return model.size if fits else (height, width)
    down, across = (math.ceil(side / model.stride) for side in (height, width))
    return down * model.stride, across * model.stride


def prepare(image: Image, *, model: ModelSpec, look: Look, pad: bool = True) -> Batch:
    """The picture as `model` takes it: (H, W, 3) → (1, H', W', 3), scaled and padded by reflection.
    An engine that `pads` takes it without what `padded_size` adds.

    The result shares memory with `image` when neither is needed. Raises `MediaError` when the
    picture is too large.
    """
    sizes = geometry(*_size(image), model=model, look=look)
    scaled = _resize(image, sizes.scaled)
    bottom = sizes.padded[0] - sizes.scaled[0]
    right = sizes.padded[1] - sizes.scaled[1]
    pad = pad or padded_size(*sizes.scaled, model) != sizes.padded
    if pad and (bottom or right):
        # Repeats the reflection where the picture is smaller than the padding.
        border = cv2.copyMakeBorder(scaled, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
        scaled = np.asarray(border, dtype=np.uint8)
    return np.ascontiguousarray(scaled)[None]


def finish(stylized: Batch, original: Image, *, model: ModelSpec, look: Look) -> Image:
    """The finished picture: (1, H', W', 3) from the net, enlarged as `geometry` says, and the
    (H, W, 3) original → (H, W, 3).

    Undoes `prepare`, then preserves colours, mixes by strength and filters as `look` says. What a
    model with `takes_strength` returned is mixed already; only strength 0, the picture itself, is
    left to do. The result may share memory with either argument.
    """
    result = original if look.strength == 0 else _mixed(stylized, original, model, look)
    return load_lut(look.lut)(result) if look.lut else result


def _mixed(stylized: Batch, original: Image, model: ModelSpec, look: Look) -> Image:
    sizes = geometry(*_size(original), model=model, look=look)
    height, width = sizes.scaled
    shown = stylized[0, : height * sizes.enlarged, : width * sizes.enlarged]
    result = _resize(np.ascontiguousarray(shown), sizes.picture)
    if look.preserve_color:
        result = _with_colors_of(original, result)
    if look.strength < 1 and not model.takes_strength:
        mixed = cv2.addWeighted(result, look.strength, original, 1 - look.strength, 0)
        result = np.asarray(mixed, dtype=np.uint8)
    return result


def _with_colors_of(image: Image, stylized: Image) -> Image:
    """The luma of `stylized` with the chroma of `image` (BT.601)."""
    mixed = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    luma = cv2.cvtColor(stylized, cv2.COLOR_RGB2GRAY)
    mixed[..., 0] = luma
    return np.asarray(cv2.cvtColor(mixed, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def _size(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _scaled(length: int, factor: float) -> int:
    return max(1, round(length * factor))


def _resize(image: Image, size: tuple[int, int]) -> Image:
    """Scale to (height, width): averaging where it shrinks, bicubic where it grows."""
    if _size(image) == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    filter_ = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=filter_), dtype=np.uint8)
