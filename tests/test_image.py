"""Any picture goes to the net and comes back in its own size."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstyle.errors import MediaError, UsageError
from rtstyle.frame import Image
from rtstyle.image import MAX_PIXELS, Look, finish, geometry, prepare
from rtstyle.model.spec import ModelSpec

MODEL = ModelSpec(Path("m.onnx"), "fast", 8, ("m",))
sides = st.integers(1, 150)
strides = st.sampled_from([1, 2, 3, 4, 8, 16, 32])


def picture(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(sides, sides, strides)
def test_any_size_comes_back_unchanged(height: int, width: int, stride: int) -> None:
    image, model, look = picture(height, width), replace(MODEL, stride=stride), Look()
    batch = prepare(image, model=model, look=look)
    assert batch.shape[0] == 1
    assert batch.shape[3] == 3
    assert all(side % stride == 0 and side >= 32 for side in batch.shape[1:3])
    assert batch.shape[1] < max(height, 32, 2 * stride) + stride
    assert batch.dtype == np.uint8
    assert batch.flags.c_contiguous
    result = finish(batch, image, model=model, look=look)
    assert np.array_equal(result, image)
    assert result.flags.c_contiguous


@given(sides, sides)
def test_pads_by_repeated_reflection(height: int, width: int) -> None:
    image = picture(height, width)
    batch = prepare(image, model=MODEL, look=Look())
    pad = ((0, batch.shape[1] - height), (0, batch.shape[2] - width), (0, 0))
    assert np.array_equal(batch[0], np.pad(image, pad, mode="reflect"))


@given(sides, sides, st.floats(0.05, 4), strides)
def test_keeps_the_size_at_any_scale(height: int, width: int, scale: float, stride: int) -> None:
    image, model, look = picture(height, width), replace(MODEL, stride=stride), Look(scale=scale)
    batch = prepare(image, model=model, look=look)
    assert finish(batch, image, model=model, look=look).shape == image.shape


@given(sides, sides, strides, st.sampled_from([None, 3.0, 0.4]), st.booleans())
def test_what_was_enlarged_has_the_same_size(
    height: int, width: int, stride: int, scale: float | None, pad: bool
) -> None:
    image, model = picture(height, width), replace(MODEL, stride=stride)
    look = Look(scale=scale, upscale=2)
    sizes = geometry(height, width, model=model, look=look)
    assert sizes.enlarged == (2 if sizes.scaled[0] < height else 1)
    batch = prepare(image, model=model, look=look, pad=pad)
    batch = batch.repeat(sizes.enlarged, axis=1).repeat(sizes.enlarged, axis=2)
    assert finish(batch, image, model=model, look=look).shape == image.shape


@given(sides, sides, st.integers(1, 100), st.integers(1, 100))
def test_fits_a_fixed_size(height: int, width: int, fixed_h: int, fixed_w: int) -> None:
    image, model = picture(height, width), replace(MODEL, size=(fixed_h, fixed_w))
    batch = prepare(image, model=model, look=Look())
    assert batch.shape == (1, fixed_h, fixed_w, 3)
    assert finish(batch, image, model=model, look=Look()).shape == image.shape
    sizes = geometry(height, width, model=model, look=Look())
    assert sizes.scaled[0] == fixed_h or sizes.scaled[1] == fixed_w


def test_copies_nothing_when_nothing_is_to_be_done() -> None:
    image = picture(64, 96)
    batch = prepare(image, model=MODEL, look=Look())
    assert np.shares_memory(batch, image)
    painted = batch.copy()
    assert np.shares_memory(finish(painted, image, model=MODEL, look=Look()), painted)


def test_never_writes_into_the_picture() -> None:
    image = picture(50, 70)
    image.setflags(write=False)
    look = Look(strength=0.5, preserve_color=True, height=40)
    batch = prepare(image, model=MODEL, look=look)
    batch.setflags(write=False)
    finish(batch, image, model=MODEL, look=look)


def test_height_and_scale_decide_the_painted_size() -> None:
    def painted(**options: Any) -> tuple[int, int]:
        return geometry(1080, 1920, model=MODEL, look=Look(**options)).scaled

    assert painted() == (1080, 1920)
    assert painted(height=720) == (720, 1280)
    assert painted(height=2160) == (2160, 3840)
    assert painted(scale=0.5) == (540, 960)
    assert painted(scale=1e-9) == (1, 1)
    upright = geometry(1920, 1080, model=MODEL, look=Look(height=180))
    assert upright.scaled == (320, 180)  # as 180p is meant, not 101 pixels wide
    assert upright.picture == (1920, 1080)


def test_a_stroke_is_a_share_of_the_picture_at_every_resolution() -> None:
    def painted(height: int, width: int) -> tuple[int, int]:
        return geometry(height, width, model=MODEL, look=Look(stroke=1 / 30)).scaled

    assert painted(720, 1280) == painted(2160, 3840) == (720, 1280)
    assert painted(640, 360) == (1280, 720)  # of the shorter side


def test_a_smooth_picture_survives_scaling() -> None:
    y, x = np.mgrid[0:90, 0:160]
    image = np.stack([x, y, x + y], axis=-1).astype(np.uint8)
    look = Look(scale=0.5)
    batch = prepare(image, model=MODEL, look=look)
    result = finish(batch, image, model=MODEL, look=look)
    assert np.abs(result.astype(int) - image).mean() < 0.5


def test_strength_mixes_with_the_picture() -> None:
    image, painted = np.full((40, 40, 3), 100, np.uint8), np.full((1, 40, 40, 3), 200, np.uint8)
    for strength, expected in ((0.0, 100), (0.25, 125), (0.5, 150), (1.0, 200)):
        result = finish(painted, image, model=MODEL, look=Look(strength=strength))
        assert np.all(result == expected)


def test_a_strength_that_the_net_took_is_not_mixed_again() -> None:
    image, painted = np.full((40, 40, 3), 100, np.uint8), np.full((1, 40, 40, 3), 200, np.uint8)
    model = replace(MODEL, takes_strength=True)
    for strength in (0.25, 1.0):
        result = finish(painted, image, model=model, look=Look(strength=strength))
        assert np.all(result == 200)


@pytest.mark.parametrize("takes_strength", [False, True])
def test_strength_0_is_the_picture_to_the_bit(takes_strength: bool) -> None:
    image, model = picture(41, 43), replace(MODEL, takes_strength=takes_strength)
    look = Look(strength=0, preserve_color=True, scale=0.5)
    batch = prepare(image, model=model, look=look)
    assert finish(255 - batch, image, model=model, look=look) is image


def test_preserves_colors() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(96, 160, (48, 48, 3), dtype=np.uint8)  # leaves room, so nothing clips
    painted = np.repeat(rng.integers(96, 160, (1, 48, 48, 1), dtype=np.uint8), 3, axis=3)
    result = finish(painted, image, model=MODEL, look=Look(preserve_color=True)).astype(float)
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs(result @ luma - painted[0, ..., 0]).max() < 3
    for channel in (0, 2):  # red − luma and blue − luma are the chroma
        expected = image[..., channel] - image @ luma
        assert np.abs(result[..., channel] - result @ luma - expected).max() < 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 1.5}, "between 0 and 1, not 1.5"),
        ({"strength": -0.1}, "not -0.1"),
        ({"strength": math.nan}, "not nan"),
        ({"height": 0}, "at least 1 pixel, not 0"),
        ({"scale": 0}, "above 0, not 0"),
        ({"scale": math.inf}, "not inf"),
        ({"scale": math.nan}, "not nan"),
        ({"scale": 1, "height": 100}, "only one"),
        ({"stroke": 0.03, "height": 100}, "only one"),
        ({"stroke": 0}, "above 0 and up to 1"),
        ({"stroke": float("nan")}, "above 0 and up to 1"),
    ],
)
def test_refuses_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Look(**options)
    assert message in str(caught.value)


def test_refuses_a_painting_too_large_and_says_what_fits() -> None:
    image = np.broadcast_to(np.zeros(3, np.uint8), (20_000, 10_000, 3))
    with pytest.raises(MediaError) as caught:
        prepare(image, model=MODEL, look=Look())
    assert "10000×20000" in str(caught.value)
    height = int(str(caught.value).split("--height ")[1].split()[0])
    painted = geometry(20_000, 10_000, model=MODEL, look=Look(height=height)).scaled
    assert MAX_PIXELS * 0.99 < painted[0] * painted[1] <= MAX_PIXELS
    with pytest.raises(MediaError, match="--height"):
        geometry(100, 100, model=MODEL, look=Look(scale=1000))
    with pytest.raises(MediaError, match="--height"):
        geometry(100, 100, model=MODEL, look=Look(scale=1e300))
