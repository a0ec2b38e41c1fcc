"""A filter after any net that holds on to the last painting along the motion of the input.

A net paints every frame anew, so its strokes flicker where the picture stands still. Recursive
blending with the warped last output is Lai et al. 2018, "Learning Blind Video Temporal
Consistency", without the learning; the flow is DIS (Kroeger et al. 2016) between small grey
pictures of the input, so any model is steadied, also one of other makers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import UsageError
from rtstyle.frame import Frame, Image

LEAD_FRAMES = 32  # that a segment paints before its start, after which what was before is forgotten
_HELD = 0.85  # share of the last painting at full strength: 0.85 ** 32 is 1/180
_TEXTURE = 0.94  # of the net's own that the result is sharpened to have
_GAIN = 1.5  # weight of the unsharp mask for each share that is lost
_SHARPEST = 1.0
_MATCHES = 20.0  # grey levels of the moved input's difference at which the hold is down to 1/e
_MOVES = 3.0  # grey levels from where on a place is not taken to stand still
_CUT = 0.5  # of the picture matches at least, or the scene is a new one
_SMALL_HEIGHT = 180  # of the pictures that the flow is computed on, at most
_LEAST_SIDE = 32  # that DIS needs
_BAND = 128  # rows filtered at once, so that what lies between fits into the processor's cache

_Grey = NDArray[np.uint8]  # (h, w)
_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Motion:
    """From the last small picture to this one. `hold` (h, w) is how much of the last painting may
    stay, 0 to 1; `flow` (h, w, 2), in small pixels, is where each pixel was, None where nothing
    moved."""

    hold: _Floats
    flow: _Floats | None


class SteadyFilter:
    """Steadies one stream of paintings. Used by one thread.

    `amount` 0 changes nothing, 1 holds most. `starts` are the times at which segments begin: what
    is delivered from there on depends only on the frames from `lead` seconds before, so that it is
    the same wherever the segment before was painted. Raises `UsageError`.
    """

    def __init__(
        self, amount: float, *, starts: Sequence[Fraction] = (), lead: Fraction = Fraction(1)
    ) -> None:
        check_amount(amount)
        self._held_share = _HELD * amount
        self._starts, self._lead = list(starts), lead
        self._current: _Floats | None = None  # the last painting delivered
        self._leads: dict[Fraction, _Floats] = {}  # the same for segments that begin soon
        self._small: _Grey | None = None
        self._key: object = None
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        # To the last pixel of the small picture, but without the costly smoothing.
        self._dis.setFinestScale(0)
        self._dis.setVariationalRefinementIterations(0)

    def __call__(self, painted: Image, frame: Frame, key: object = None) -> Image:
        """The steadied painting of `frame`, both (H, W, 3). Another `key`, as of a new style, or
        another size begins afresh."""
        small = _small(frame.image)
        if self._small is None or key != self._key or small.shape != self._small.shape:
            motion = None
        else:
            motion = self._motion(self._small, small)
        self._small, self._key = small, key
        while self._starts and frame.time >= self._starts[0]:
            self._current = self._leads.pop(self._starts.pop(0), None)
        for start in self._starts:
            if frame.time >= start - self._lead:
                self._leads[start] = self._held(self._leads.get(start), painted, motion)
        self._current = self._held(self._current, painted, motion)
        return _sharpened(self._current, painted)

    def _motion(self, last: _Grey, now: _Grey) -> _Motion | None:
        """None at a cut."""
        flow = None
        moved: NDArray[Any] = last
        if (_smooth_difference(last, now) > _MOVES).any() and min(now.shape) >= _LEAST_SIDE:
            flow = np.asarray(self._dis.calc(now, last, np.empty(0)), np.float32)
            moved = _moved(last, _grid(0, *now.shape) + flow, cv2.INTER_LINEAR)
        hold = np.exp(-((_smooth_difference(moved, now) / _MATCHES) ** 4), dtype=np.float32)
        return None if hold.mean() < _CUT else _Motion(hold, flow)

    def _held(self, last: _Floats | None, painted: Image, motion: _Motion | None) -> _Floats:
        """The painting with what is held of the last one."""
        fresh = painted.astype(np.float32)
        if last is None or motion is None or last.shape != painted.shape:
            return fresh
        (height, width), (rows, columns) = painted.shape[:2], motion.hold.shape
        hold = cv2.resize(motion.hold * self._held_share, (width, height))
        flow = None
        if motion.flow is not None:
            scale = np.array([width / columns, height / rows], np.float32)
            flow = cv2.resize(motion.flow * scale, (width, height))
        for top in range(0, height, _BAND):
            band = slice(top, min(top + _BAND, height))
            before = last[band]
            if flow is not None:
                # Bicubic, as what is moved again and again would otherwise blur.
                places = _grid(top, before.shape[0], width) + flow[band]
                before = _moved(last, places, cv2.INTER_CUBIC)
            fresh[band] += (before - fresh[band]) * cv2.merge([hold[band]] * 3)
        return fresh


def check_amount(amount: float) -> None:
    """Raise `UsageError` when it is not between 0 and 1."""
    if not 0 <= amount <= 1:  # also refuses NaN
        raise UsageError(f"--steady takes a number from 0 to 1, not {amount}.")


def lead_seconds(rate: Fraction) -> Fraction:
    """How long before its start a segment begins to paint, at `rate` frames a second."""
    return LEAD_FRAMES / rate


def _sharpened(held: _Floats, painted: Image) -> Image:
    """The picture to deliver: what averaging took from the texture is given back."""
    lost = _TEXTURE * _texture(painted) / max(_texture(held), 1e-3) - 1
    weight = min(max(_GAIN * lost, 0.0), _SHARPEST)
    smooth = cv2.GaussianBlur(held, (0, 0), 1.0)
    sharp = cv2.addWeighted(held, 1 + weight, smooth, -weight, 0, dtype=cv2.CV_8U)
    return np.asarray(sharp, np.uint8)


def _texture(picture: NDArray[Any]) -> float:
    """The mean of |∂²/∂x∂y| of the green."""
    edges = cv2.Sobel(np.ascontiguousarray(picture[..., 1]), cv2.CV_32F, 1, 1)
    return float(cv2.norm(edges, cv2.NORM_L1)) / edges.size


def _small(image: Image) -> _Grey:
    height, width = image.shape[:2]
    factor = max(
        4 if min(height, width) >= 4 * _LEAST_SIDE else 1, math.ceil(height / _SMALL_HEIGHT)
    )
    size = (max(1, width // factor), max(1, height // factor))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY), np.uint8)


def _smooth_difference(one: NDArray[Any], other: _Grey) -> _Floats:
    difference = cv2.absdiff(one, other).astype(np.float32)
    return np.asarray(cv2.blur(difference, (3, 3)), np.float32)


def _moved(picture: NDArray[Any], places: NDArray[Any], method: int) -> NDArray[Any]:
    """Each pixel takes the value at its place, or that of the border."""
    x, y = places[..., 0], places[..., 1]
    return cv2.remap(picture, x, y, method, borderMode=cv2.BORDER_REPLICATE)


def _grid(top: int, height: int, width: int) -> _Floats:
    """(height, width, 2): the x and y of every pixel from row `top` on."""
    places = np.empty((height, width, 2), np.float32)
    places[..., 0] = np.arange(width, dtype=np.float32)
    places[..., 1] = np.arange(top, top + height, dtype=np.float32)[:, None]
    return places
