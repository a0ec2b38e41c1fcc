from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from rtstyle.errors import UsageError
from rtstyle.frame import Frame, Image
from rtstyle.masks import MaskFilter
from rtstyle.steady import CARRIED, LEAD_FRAMES, SteadyFilter, lead_seconds

RATE = Fraction(25)


def _scene(seed: int = 0, height: int = 192, width: int = 256) -> Image:
    """A smooth picture with structure at every scale."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for size in (6, 24, 96):
        noise = rng.uniform(0, 255, (size, size, 3)).astype(np.float32)
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / 3
    return np.clip(picture, 0, 255).astype(np.uint8)


def _flickering(seed: int, like: Image) -> Image:
    noise = np.random.default_rng(seed).uniform(0, 255, like.shape)
    return (0.5 * like + 0.5 * noise).astype(np.uint8)


def _frame(image: Image, number: int) -> Frame:
    return Frame(image, number / RATE, number)


def test_where_nothing_moves_the_painting_stands_still_and_sharp() -> None:
    scene, steady = _scene(), SteadyFilter(1.0)
    raw = [_flickering(n, scene) for n in range(12)]
    held = [steady(painted, _frame(scene, n)) for n, painted in enumerate(raw)]
    assert (held[0] == raw[0]).all()
    flicker = np.abs(held[-1].astype(int) - held[-2]).mean()
    assert flicker < 0.3 * np.abs(raw[-1].astype(int) - raw[-2]).mean()


def test_the_painting_follows_the_motion() -> None:
    """Strokes that move with the scene are held, strokes that the net moved alone are not."""
    wide = _scene(width=400)
    paint = _flickering(1, wide)
    steady = SteadyFilter(1.0)
    for n in range(8):
        shown = slice(4 * n, 4 * n + 256)
        scene = np.ascontiguousarray(wide[:, shown])
        # From the second frame on the net paints grey; what is held must be where the scene went.
        painted = np.ascontiguousarray(paint[:, shown]) if n == 0 else np.full_like(scene, 128)
        result = steady(painted, _frame(scene, n))
    expected = 128 + 0.85**7 * (paint[:, 28:228].astype(float) - 128)
    here, _ = result[30:-30, 30:170].astype(float), None
    there = expected[30:-30, 30:170]
    assert np.corrcoef(here.ravel(), there.ravel())[0, 1] > 0.5
    shifted = 128 + 0.85**7 * (paint[30:-30, 0:140].astype(float) - 128)
    assert abs(np.corrcoef(here.ravel(), shifted.ravel())[0, 1]) < 0.5


def test_what_comes_into_view_is_as_the_net_painted_it() -> None:
    """It was no part of the last painting, whose border is not to be drawn out into streaks."""
    wide = cv2.GaussianBlur(_scene(width=400), (0, 0), 8)  # a sky: it is much like its border
    paint, steady = _flickering(1, wide), SteadyFilter(1.0)
    for n in range(24):
        shown = slice(4 * n, 4 * n + 256)
        painted = np.ascontiguousarray(paint[:, shown])
        result = steady(painted, _frame(np.ascontiguousarray(wide[:, shown]), n))
    for strip in (slice(-12, -2), slice(-40, -20), slice(100, 120)):
        seen, wanted = (x[20:-20, strip].astype(float).ravel() for x in (result, painted))
        assert np.corrcoef(seen, wanted)[0, 1] > 0.7


@pytest.mark.parametrize("change", ["cut", "key", "size"])
def test_nothing_is_held_over_a_break(change: str) -> None:
    first, steady = _scene(), SteadyFilter(1.0)
    steady(_flickering(1, first), _frame(first, 0), "style")
    after = first
    if change == "cut":
        after = _scene(7) // 4
    elif change == "size":
        after = np.ascontiguousarray(first[:100, :120])
    painted = _flickering(2, after)
    result = steady(painted, _frame(after, 1), "other" if change == "key" else "style")
    assert (result == painted).all()


def test_a_segment_is_the_same_wherever_the_one_before_was_painted() -> None:
    scenes = [np.roll(_scene(), n, axis=1) for n in range(60)]
    paintings = [_flickering(n, scene) for n, scene in enumerate(scenes)]
    start, lead = 40 / RATE, lead_seconds(RATE)

    def run(begin: int, starts: list[Fraction]) -> list[Image]:
        steady = SteadyFilter(1.0, starts=starts, lead=lead)
        done = [steady(paintings[n], _frame(scenes[n], n)) for n in range(begin, len(scenes))]
        return done[40 - begin :]

    through = run(0, [start])
    alone = run(40 - LEAD_FRAMES, [start])
    assert all((a == b).all() for a, b in zip(through, alone, strict=True))
    uncut = run(0, [])
    off = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(through, uncut, strict=True))
    assert off <= 2


def test_masks_hold_noise_and_follow_what_changes_by_far() -> None:
    scene = _scene()
    left = {}
    for change in (20, 200):
        steady = MaskFilter(1.0)
        steady(np.zeros_like(scene), _frame(scene, 0), amount=0.97 * CARRIED)
        masks = np.full_like(scene, change)
        for n in range(1, 9):
            result = steady(masks, _frame(scene, n), amount=0.97 * CARRIED)
        left[change] = 1 - float(result.mean()) / change
    assert 0.7 < left[20] < 0.97**8 + 0.03
    assert left[200] < 0.5


def test_masks_are_carried_along_whatever_they_were() -> None:
    """Between the frames at which they are looked for."""
    wide = _scene(width=400)
    steady = MaskFilter(1.0)
    levels = np.zeros((192, 256, 3), np.uint8)
    levels[60:120, 100:160] = 255
    for n in range(4):
        scene = np.ascontiguousarray(wide[:, 4 * n : 4 * n + 256])
        levels = steady(levels, _frame(scene, n), amount=CARRIED)
    assert levels[70:110, 94:142].min() > 200  # 12 pixels to the left of where they were
    assert levels[70:110, 156:170].max() < 60


@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (33, 31)])
def test_any_size_passes(shape: tuple[int, int]) -> None:
    steady = SteadyFilter(1.0)
    for n in range(3):
        picture = np.random.default_rng(n).integers(0, 255, (*shape, 3), np.uint8)
        assert steady(picture, _frame(picture, n)).shape == picture.shape


@pytest.mark.parametrize("amount", [-0.1, 1.5, float("nan")])
def test_an_amount_out_of_range_is_refused(amount: float) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        SteadyFilter(amount)
