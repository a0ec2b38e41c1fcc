"""Decoding and encoding on a GPU: the choice, and the way back where there is none."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rtstyle.errors import MediaError, UsageError
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media import ReadOptions, WriteOptions, open_sink, open_source
from rtstyle.media.synthetic import SyntheticSource
from rtstyle.media.video import nvcodec as hwaccel

LARGE = StreamInfo(640, 360, Fraction(25), Fraction(1, 25))


def has_gpu() -> bool:
    try:
        with open_source("none.mp4", ReadOptions(hwaccel="cuda")):
            return True
    except MediaError:
        return False
    except FileNotFoundError:
        return hwaccel.device_encoder("libx264", "auto", LARGE) is not None


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    with SyntheticSource(160, 96, n_frames=5) as source, open_sink(path, source) as sink:
        for frame in source.frames():
            sink.write(frame)
        sink.finish()
    return path


def pictures(path: Path, choice: str) -> list[Frame]:
    with open_source(path, ReadOptions(hwaccel=choice)) as source:
        return list(source.frames())


def test_auto_decodes_the_same_pictures(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a driver but no card that works: opened again in software."""
    expected = pictures(clip, "none")
    monkeypatch.setattr(hwaccel, "_usable", lambda: True)
    with open_source(clip, ReadOptions(hwaccel="auto")) as source:
        got = list(source.frames())
        in_software = [
            "it was decoded in software, as the GPU does not take it; --hwaccel cuda says why"
        ]
        assert source.notes == ([] if has_gpu() else in_software)
    assert [f.time for f in got] == [f.time for f in expected]
    for a, b in zip(got, expected, strict=True):
        assert np.abs(a.image.astype(int) - b.image).mean() < 1


def test_cuda_by_name_works_or_says_why(clip: Path) -> None:
    if has_gpu():
        assert len(pictures(clip, "cuda")) == 5
    else:
        with pytest.raises(MediaError, match=r"cannot be decoded on a GPU .*--hwaccel auto"):
            pictures(clip, "cuda")


def test_without_an_encoder_on_the_gpu_software_encodes(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hwaccel, "_usable", lambda: True)
    for choice in ("auto", "cuda"):
        output = tmp_path / f"{choice}.mp4"
        with (
            open_source(clip) as source,
            open_sink(output, source, WriteOptions(hwaccel=choice)) as sink,
        ):
            for frame in source.frames():
                sink.write(frame)
            sink.finish()
            if not has_gpu():
                assert "encoded by libx264, as h264_nvenc does not open" in " ".join(sink.notes)
        assert [f.time for f in pictures(output, "none")] == [Fraction(i, 30) for i in range(5)]


def test_an_encoder_on_the_gpu_is_only_named_where_it_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hwaccel, "_opens", lambda name, info: info.width >= 160)
    assert hwaccel.device_encoder("libx264", "cuda", LARGE) == "h264_nvenc"
    assert hwaccel.device_encoder("libx264", "cuda", replace(LARGE, width=64, height=64)) is None
    assert hwaccel.device_encoder("libvpx-vp9", "cuda", LARGE) is None
    assert hwaccel.device_encoder("libx264", "none", LARGE) is None


def test_other_words_are_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no hwaccel 'gpu'; use auto, cuda, none"):
        pictures(clip, "gpu")
    with open_source(clip) as source, pytest.raises(UsageError, match="no hwaccel"):
        open_sink(tmp_path / "o.mp4", source, WriteOptions(hwaccel="gpu"))
