"""Warping error, occlusions and the flows, held against cases that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.clips import Clip, read_clip
from benchmarks.quality.synthetic_flow import move
from benchmarks.quality.warping import is_unoccluded, stays_inside, warp, warping_error
from rtstyle.errors import MediaError
from rtstyle.media.images import write_picture
from tests.media.clips import Clip as Recording
from tests.media.clips import make_clip

EVERYWHERE = np.ones((40, 48), bool)
STILL = np.zeros((40, 48, 2), np.float32)


def texture(height: int = 40, width: int = 48) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def constant(x: float, y: float) -> np.ndarray:
    return np.full((40, 48, 2), (x, y), np.float32)


@given(x=st.integers(-6, 6), y=st.integers(-6, 6))
def test_a_pure_translation_has_no_error(x: int, y: int) -> None:
    first = texture()
    second = np.roll(first, (y, x), (0, 1))
    flow = constant(x, y)
    seen = is_unoccluded(flow, -flow)
    assert seen.sum() == (40 - abs(y)) * (48 - abs(x))  # all but what left the picture
    assert warping_error(first, second, flow, seen) == 0


def test_flicker_is_its_own_square() -> None:
    first, second = np.full((40, 48, 3), 100, np.uint8), np.full((40, 48, 3), 151, np.uint8)
    error = warping_error(first, second, STILL, EVERYWHERE)
    assert error == pytest.approx((51 / 255) ** 2)


def test_only_seen_pixels_count() -> None:
    first, second = texture(), texture()
    second[:10] = 255 - second[:10]
    seen = EVERYWHERE.copy()
    seen[:10] = False
    assert warping_error(first, second, STILL, seen) == 0
    assert warping_error(first, second, STILL, ~seen) > 0.1
    assert warping_error(first, second, STILL, ~EVERYWHERE) is None


@pytest.mark.parametrize(
    ("back", "seen"),
    [
        ((-3.0, 0.0), True),  # there and back again
        ((-2.2, 0.0), False),  # 0.8² = 0.64 > 0.01 · (3² + 2.2²) + 0.5 = 0.6384
        ((-2.21, 0.0), True),  # 0.79² = 0.6241 < 0.01 · (3² + 2.21²) + 0.5 = 0.6388
        ((0.0, 0.0), False),
    ],
)
def test_occluded_is_where_the_way_back_ends_elsewhere(
    back: tuple[float, float], seen: bool
) -> None:
    mask = is_unoccluded(constant(3, 0), constant(*back))
    assert (mask[:, :45] == seen).all()
    assert not mask[:, 45:].any()  # leaves the picture


def test_the_way_back_is_read_where_the_way_there_ends() -> None:
    backward = STILL.copy()
    backward[:, 24:] = (-20, 0)
    forward = STILL.copy()
    forward[:, :4] = (20, 0)  # to columns 20 to 23, where nothing comes back
    forward[:, 4:8] = (20, 0)  # to columns 24 to 27, where it does
    mask = is_unoccluded(forward, backward)
    assert not mask[:, :4].any()
    assert mask[:, 4:24].sum() == 40 * 20


def test_warp_interpolates() -> None:
    ramp = np.tile(np.arange(48, dtype=np.float32), (40, 1))
    moved = warp(ramp, constant(0.5, 0.0))
    assert moved[:, :47] == pytest.approx(ramp[:, :47] + 0.5)
    assert (stays_inside(constant(0.5, 0))[:, :47]).all()
    assert not stays_inside(constant(0.5, 0))[:, 47].any()


def test_a_known_motion_of_the_picture_has_only_rounding_for_error() -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    photo = np.asarray(cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC))
    moved, flow, seen = move(photo, np.random.default_rng(3))
    assert 1 < np.abs(flow).mean() < 20
    assert 0.5 < seen.mean() < 1
    error = warping_error(moved, photo, flow, seen)
    assert error is not None
    assert error < (0.5 / 255) ** 2
    assert warping_error(moved, photo, np.zeros_like(flow), seen) > 100 * error


def test_a_clip_flickers_as_much_as_its_painting_does() -> None:
    frames = tuple(np.full((32, 32, 3), 100, np.uint8) for _ in range(3))
    still = np.zeros((32, 32, 2), np.float32)
    clip = Clip("grey", frames, ((still, np.ones((32, 32), bool)),) * 2)
    assert clip.error() == 0
    levels = iter((0, 51, 204))
    flicker = clip.error(lambda frame: np.full_like(frame, next(levels)))
    assert flicker == pytest.approx((0.2**2 + 0.6**2) / 2)


def test_motion_of_a_real_clip_is_found(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (192, 128), interpolation=cv2.INTER_CUBIC)
    pictures = [np.ascontiguousarray(scene[:, 3 * i : 3 * i + 160]) for i in range(5)]
    frames = [
        av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        for picture in pictures
    ]
    recording = Recording(times=tuple(range(0, 5 * 512, 512)), width=160, height=128)
    path = make_clip(tmp_path / "pan.mp4", recording, frames)
    clip = read_clip(path, frames=4, short_side=96)
    assert len(clip.frames) == 4
    assert len(clip.motions) == 3
    assert all(side % 32 == 0 for side in clip.frames[0].shape[:2])
    still = [(np.zeros_like(flow), seen) for flow, seen in clip.motions]
    unmoved = Clip("same", clip.frames, tuple(still)).error()
    own = clip.error()
    assert own is not None
    assert unmoved is not None
    assert own < unmoved / 4
    assert clip.key() == read_clip(path, frames=4, short_side=96).key()
    assert clip.key() != read_clip(path, frames=3, short_side=96).key()


def test_one_picture_has_no_motion(tmp_path: Path) -> None:
    write_picture(tmp_path / "still.png", texture(64, 64), overwrite=False)
    with pytest.raises(MediaError, match="two or more"):
        read_clip(tmp_path / "still.png", frames=4, short_side=64)
