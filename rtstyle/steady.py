"""A filter after any net that holds on to the last painting along the motion of the input.

A net paints every frame anew, so its strokes flicker where the picture stands still. Recursive
blending with the warped last output is Lai et al. 2018, "Learning Blind Video Temporal
Consistency", without the learning; the flow is DIS (Kroeger et al. 2016) between small grey
pictures of the input, so any model is steadied, also one of other makers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import UsageError
from rtstyle.frame import Frame, Image

LEAD_FRAMES = 32  # that a segment paints before its start, after which what was before is forgotten
_HELD = 0.85  # share of the last painting at full strength: 0.85 ** 32 is 1/180
CARRIED = 1 / _HELD  # the amount at which all of the last painting is held where it matches
_TEXTURE = 0.93  # of the net's own that the result is sharpened to have
_GAIN = 1.5  # weight of the unsharp mask for each share that is lost
_SHARPEST = 1.3  # what a fine hatching needs
_MATCHES = 24.0  # grey levels of the moved input's difference at which the hold is down to 1/e
_MOVES = 3.0  # grey levels from where on a place is not taken to stand still
_CUT = 0.5  # of the picture matches at least, or the scene is a new one
_SMALL_HEIGHT = 180  # of the pictures that the flow is computed on, at most
_LEAST_SIDE, _LONGEST_SIDE = 32, 2**15 - 1  # that DIS needs, and that OpenCV can move
_BAND = 128  # rows filtered at once, so that what lies between fits into the processor's cache

_Grey = NDArray[np.uint8]  # (h, w)
_Floats = NDArray[np.float32]


class _Motion:
    """From the last picture to this one, for paintings of `size` (H, W); some rows at a time, as
    maps of large ones would take much memory.

    `share` of the last painting may stay where `matches` (h, w) is 1; `flow` (h, w, 2) is where
    each place was, in small pixels, None where nothing moved.
    """

    def __init__(
        self, matches: _Floats, share: float, flow: _Floats | None, size: tuple[int, int]
    ) -> None:
        self.share = share
        self._hold = _Rows(matches * np.float32(share), size)
        self._flow: tuple[_Rows, _Rows] | None = None
        if flow is not None:
            scale_y, scale_x = size[0] / flow.shape[0], size[1] / flow.shape[1]
            self._flow = _Rows(flow[..., 0] * scale_x, size), _Rows(flow[..., 1] * scale_y, size)

    def hold(self, rows: slice) -> _Floats:
        """How much of the last painting may stay there, (n, W)."""
        return self._hold[rows]

    def places(self, rows: slice) -> tuple[_Floats, _Floats] | None:
        """The x and the y where each pixel of the rows was, (n, W); None where nothing moved."""
        if self._flow is None:
            return None
        x, y = (flow[rows] for flow in self._flow)
        return _places(x, y, rows.start)


class _Rows:
    """Rows of a small map that is enlarged to `size` (H, W), bilinearly as by `cv2.resize`."""

    def __init__(self, small: _Floats, size: tuple[int, int]) -> None:
        height = len(small)
        self._wide = np.asarray(cv2.resize(small, (size[1], height)), np.float32)
        centres = (np.arange(size[0]) + 0.5) * height / size[0] - 0.5
        above = np.floor(centres.clip(0, height - 1)).astype(int)
        self._above, self._below = above, (above + 1).clip(max=height - 1)
        self._share = (centres - above).clip(0, 1).astype(np.float32)[:, None]

    def __getitem__(self, rows: slice) -> _Floats:
        above: _Floats = self._wide[self._above[rows]]
        below: _Floats = self._wide[self._below[rows]]
        below -= above
        below *= self._share[rows]
        above += below
        return above


class SteadyFilter:
    """Steadies one stream of paintings. Used by one thread.

    `amount` 0 changes nothing, 1 holds most. `starts` are the times at which segments begin: what
    is delivered from there on depends only on the frames from `lead` seconds before, so that it is
    the same wherever the segment before was painted. `reduction` is by how much the pictures are
    scaled down, at least, before motion is looked for. What is steadied otherwise, as masks are,
    has its own `stays` and `delivered`.
    Raises `UsageError`.
    """

    def __init__(
        self,
        amount: float,
        *,
        starts: Sequence[Fraction] = (),
        lead: Fraction = Fraction(1),
        reduction: int = 3,
    ) -> None:
        check_amount(amount)
        self.amount, self._reduction = amount, reduction
        self._starts, self._lead = list(starts), lead
        self._current: _Floats | None = None  # the last painting delivered
        self._leads: dict[Fraction, _Floats] = {}  # the same for segments that begin soon
        self._small: _Grey | None = None
        self._time: Fraction | None = None
        self._key: object = None
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        # To the last pixel of the small picture, but without the costly smoothing.
        self._dis.setFinestScale(0)
        self._dis.setVariationalRefinementIterations(0)

    def __call__(
        self, painted: Image, frame: Frame, key: object = None, amount: float | None = None
    ) -> Image:
        """The steadied painting of `frame`, both (H, W, 3), by default with the filter's `amount`.
        Another `key`, as of a new style, or another size begins afresh."""
        small = _small(frame.image, self._reduction)
        if self._time is not None and frame.time <= self._time:
            # The lead of a later segment begins again at frames that were delivered before.
            self._leads.clear()
            self._small = None
        self._time = frame.time
        if self._small is None or key != self._key or small.shape != self._small.shape:
            motion = None
        else:
            share = _HELD * (self.amount if amount is None else amount)
            motion = self._motion(self._small, small, painted.shape[:2], share)
        self._small, self._key = small, key
        while self._starts and frame.time >= self._starts[0]:
            self._current = self._leads.pop(self._starts.pop(0), None)
        for start in self._starts:
            if frame.time >= start - self._lead:
                self._leads[start] = self._held(self._leads.get(start), painted, motion)
        self._current = self._held(self._current, painted, motion)
        return self.delivered(self._current, painted)

    def stays(self, hold: _Floats, change: _Floats, share: float) -> _Floats:
        """How much of the last painting stays, (n, W, 3), where `hold` of it may, with `share` the
        most that may, and where `change` (n, W, 3) leads from this painting back to it."""
        return hold

    def delivered(self, held: _Floats, painted: Image) -> Image:
        """The picture to deliver of `held` (H, W, 3), which `painted` went into."""
        return _sharpened(held, painted)

    def _motion(
        self, last: _Grey, now: _Grey, size: tuple[int, int], share: float
    ) -> _Motion | None:
        """For a picture of `size` (H, W), holding `share` where all matches; None at a cut."""
        flow = None
        moved: NDArray[Any] = last
        follows = min(now.shape) >= _LEAST_SIDE and max(size) < _LONGEST_SIDE
        if follows and (_smooth_difference(last, now) > _MOVES).any():
            flow = np.asarray(self._dis.calc(now, last, np.empty(0)), np.float32)
            places = _places(flow[..., 0].copy(), flow[..., 1].copy())
            moved = _moved(last, *places, cv2.INTER_LINEAR)
        matches = np.exp(-((_smooth_difference(moved, now) / _MATCHES) ** 4), dtype=np.float32)
        if matches.mean() < _CUT:
            return None
        if flow is not None:
            # What has come into view was not painted before, however like the border it is.
            matches *= _inside(*places)
        return _Motion(matches, share, flow, size)

    def _held(self, last: _Floats | None, painted: Image, motion: _Motion | None) -> _Floats:
        """The painting with what is held of the last one."""
        fresh = painted.astype(np.float32)
        if last is None or motion is None or last.shape != painted.shape:
            return fresh
        for top in range(0, len(fresh), _BAND):
            band = slice(top, top + _BAND)
            before: NDArray[Any] = last[band]
            if (places := motion.places(band)) is not None:
                # Bicubic, as what is moved again and again would otherwise blur.
                before = _moved(last, *places, cv2.INTER_CUBIC)
            change = before - fresh[band]
            hold = np.asarray(cv2.merge([motion.hold(band)] * 3), np.float32)
            fresh[band] += change * self.stays(hold, change, motion.share)
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
    sharp = np.empty(painted.shape, np.uint8)
    for rows, kept in _bands(len(held), reach=2):
        band = held[rows]
        smooth = cv2.GaussianBlur(band, (5, 5), 1.0) if weight else band
        band, smooth = band[kept], smooth[kept]
        top = rows.start + kept.start
        sharp[top : top + len(band)] = cv2.addWeighted(
            band, 1 + weight, smooth, -weight, 0, dtype=cv2.CV_8U
        )
    return sharp


def _texture(picture: NDArray[Any]) -> float:
    """The mean of |∂²/∂x∂y| of the green."""
    total = 0.0
    for rows, kept in _bands(len(picture), reach=1):
        edges = cv2.Sobel(np.ascontiguousarray(picture[rows, :, 1]), cv2.CV_32F, 1, 1)
        total += float(cv2.norm(np.ascontiguousarray(edges[kept]), cv2.NORM_L1))
    height, width = picture.shape[:2]
    return total / float(height * width)


def _bands(height: int, *, reach: int) -> Iterator[tuple[slice, slice]]:
    """Rows to filter at once, with those that a filter of that reach sees beside them, and which of
    them count."""
    for top in range(0, height, _BAND):
        first, end = max(0, top - reach), min(height, top + _BAND)
        yield slice(first, min(height, end + reach)), slice(top - first, end - first)


def _small(image: Image, reduction: int) -> _Grey:
    height, width = image.shape[:2]
    factor = max(
        reduction if min(height, width) >= reduction * _LEAST_SIDE else 1,
        math.ceil(height / _SMALL_HEIGHT),
    )
    size = (max(1, width // factor), max(1, height // factor))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY), np.uint8)


def _smooth_difference(one: NDArray[Any], other: _Grey) -> _Floats:
    difference = cv2.absdiff(one, other).astype(np.float32)
    return np.asarray(cv2.blur(difference, (3, 3)), np.float32)


def _places(x: _Floats, y: _Floats, top: int = 0) -> tuple[_Floats, _Floats]:
    """How far each pixel came made into where it was; the first row is the picture's `top`."""
    height, width = x.shape
    x += np.arange(width, dtype=np.float32)
    y += np.arange(top, top + height, dtype=np.float32)[:, None]
    return x, y


def _inside(x: _Floats, y: _Floats) -> _Floats:
    """How much each place lies within the picture: 1 there, 0 from a quarter of a pixel outside."""
    height, width = x.shape
    beyond = np.maximum(np.maximum(-x, x - (width - 1)), np.maximum(-y, y - (height - 1)))
    return np.asarray(np.clip(1 - 4 * beyond, 0, 1), np.float32)


def _moved(picture: NDArray[Any], x: _Floats, y: _Floats, method: int) -> NDArray[Any]:
    """Each pixel takes the value at its place, or that of the border."""
    return cv2.remap(picture, x, y, method, borderMode=cv2.BORDER_REPLICATE)
