"""Known colours come out right, and round."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.video.color import RgbReader
from rtstyle.media.video.sink import FileSink
from rtstyle.media.video.source import FileSource
from rtstyle.media.video.tonemap import nits_to_pq, pq_to_nits, roll_off, sdr_table
from tests.media.clips import Clip, make_clip, plane_frame

WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
COLOURS = [(235, 235, 235), (16, 16, 16), (200, 40, 60), (30, 180, 70), (40, 50, 210)]


def _levels(rgb: tuple[int, int, int], matrix: int, full: bool, bits: int) -> tuple[int, int, int]:
    """The Y, Cb, Cr levels of a full-range 8-bit colour, as the standards define them."""
    red, green, blue = (c / 255 for c in rgb)
    k_red, k_blue = WEIGHTS[matrix]
    luma = k_red * red + (1 - k_red - k_blue) * green + k_blue * blue
    cb, cr = (blue - luma) / (2 - 2 * k_blue), (red - luma) / (2 - 2 * k_red)
    scale = 2 ** (bits - 8)
    if full:
        top = 2**bits - 1
        return round(luma * top), round(cb * top + 128 * scale), round(cr * top + 128 * scale)
    return (
        round((16 + 219 * luma) * scale),
        round((128 + 224 * cb) * scale),
        round((128 + 224 * cr) * scale),
    )


@pytest.mark.parametrize("rgb", COLOURS)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_stated_matrix_and_range(
    matrix: int, full: bool, pixel_format: str, rgb: tuple[int, int, int]
) -> None:
    bits = 10 if "10" in pixel_format else 8
    frame = plane_frame(pixel_format, _levels(rgb, matrix, full, bits))
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    image = RgbReader(64, 48).read(frame)
    assert np.abs(image.astype(int) - rgb).max() <= 2


@pytest.mark.parametrize(("height", "matrix"), [(480, 5), (576, 5), (720, 1)])
def test_unstated_matrix_follows_the_size(height: int, matrix: int) -> None:
    rgb = (200, 40, 60)
    frame = plane_frame("yuv420p", _levels(rgb, matrix, False, 8), 64, height)
    image = RgbReader(64, height).read(frame)
    assert np.abs(image.astype(int) - rgb).max() <= 2


def test_yuvj_is_full_range() -> None:
    frame = plane_frame("yuvj420p", _levels((250, 250, 250), 5, True, 8))
    assert np.abs(RgbReader(64, 48).read(frame).astype(int) - 250).max() <= 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("rgb", COLOURS)
def test_round_trip_through_the_sink(
    rgb: tuple[int, int, int], suffix: str, tmp_path: Path
) -> None:
    image = np.full((48, 64, 3), rgb, np.uint8)
    with FileSink(
        tmp_path / f"o{suffix}", StreamInfo(64, 48, Fraction(25), Fraction(1, 25))
    ) as sink:
        sink.write(Frame(image, Fraction(0), 0))
        sink.finish()
    with FileSource(tmp_path / f"o{suffix}") as source:
        frame, _ = next(iter(source.times()))
        tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
        assert tags == (1, 1, 1, 1)
    with FileSource(tmp_path / f"o{suffix}") as source:
        assert np.abs(next(source.frames()).image.astype(int) - rgb).max() <= 3


def test_ten_bit_video(tmp_path: Path) -> None:
    frames = [plane_frame("yuv420p10le", _levels((200, 40, 60), 1, False, 10)) for _ in range(3)]
    clip = Clip(times=(0, 512, 1024), pixel_format="yuv420p10le", colours=(1, 1, 1, 1))
    make_clip(tmp_path / "a.mp4", clip, frames)
    with FileSource(tmp_path / "a.mp4") as source:
        image = next(source.frames()).image
    assert np.abs(image.astype(int) - (200, 40, 60)).max() <= 3


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_tone_mapped(transfer: int, name: str, tmp_path: Path) -> None:
    frames = [plane_frame("yuv420p10le", (level, 512, 512)) for level in (64, 400, 940)]
    clip = Clip(times=(0, 512, 1024), pixel_format="yuv420p10le", colours=(9, 1, 9, transfer))
    make_clip(tmp_path / "a.mp4", clip, frames)
    with FileSource(tmp_path / "a.mp4") as source:
        black, grey, white = (f.image.astype(int) for f in source.frames())
    assert black.max() <= 2
    assert white.min() >= 250
    assert np.ptp(grey, axis=2).max() <= 3  # grey stays grey
    assert 30 < grey.mean() < 200
    assert any(name in note for note in source.notes)


def test_pq_and_its_inverse() -> None:
    nits = np.array([0.01, 1, 203, 1000, 10_000])
    assert np.allclose(pq_to_nits(nits_to_pq(nits)), nits, rtol=1e-6)
    assert abs(float(nits_to_pq(np.array(100.0))) - 0.508) < 1e-3  # SMPTE ST 2084


def test_roll_off_keeps_the_dark_and_ends_at_white() -> None:
    assert float(roll_off(np.array(20.0))) == pytest.approx(20)
    assert float(roll_off(np.array(1000.0))) == pytest.approx(203)
    curve = roll_off(np.linspace(1, 1000, 200))
    assert (np.diff(curve) > 0).all()


@pytest.mark.parametrize("hlg", [False, True])
def test_table_is_black_to_white(hlg: bool) -> None:
    table = sdr_table(hlg=hlg, size=9)
    assert table.shape == (9, 9, 9, 3)
    assert table[0, 0, 0].max() < 0.01
    assert table[-1, -1, -1].min() > 0.98
