"""What every source and every sink keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest

from rtstyle.errors import OutputError
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media import (
    SINKS,
    SOURCES,
    ReadOptions,
    Row,
    Sink,
    Source,
    WriteOptions,
    open_sink,
    open_source,
)
from rtstyle.media.images import write_picture
from rtstyle.media.sequence import AnimationSource, SequenceSink, StillSink
from rtstyle.media.synthetic import NullSink, SyntheticSource
from rtstyle.media.video.address import AddressSource
from rtstyle.media.video.pipe import PipeSink, PipeSource
from rtstyle.media.video.sink import FileSink
from tests.media.clips import Clip, make_clip, picture


def _pictures(folder: Path) -> Path:
    for index in range(3):
        write_picture(folder / f"p{index}.png", picture(index), overwrite=False)
    return folder


MILLISECONDS = Clip(range(0, 400, 40), Fraction(1, 1000))
SOURCE_MAKERS: dict[str, Callable[[Path], Source]] = {
    "mp4": lambda folder: open_source(make_clip(folder / "a.mp4", Clip(audio_seconds=0.5))),
    "mkv": lambda folder: open_source(
        make_clip(folder / "a.mkv", Clip(range(0, 400, 40), Fraction(1, 1000)))
    ),
    "rotated": lambda folder: open_source(make_clip(folder / "a.mp4", Clip(rotation=90))),
    "one frame": lambda folder: open_source(make_clip(folder / "a.mp4", Clip(times=(0,)))),
    "still": lambda folder: open_source(_pictures(folder) / "p0.png"),
    "folder": lambda folder: open_source(_pictures(folder)),
    "glob": lambda folder: open_source(_pictures(folder) / "p*.png"),
    "pattern": lambda folder: open_source(_pictures(folder) / "p%d.png"),
    "pattern of lavfi": lambda folder: open_source(
        "lavfi:testsrc2=size=64x48:rate=25", ReadOptions(duration=Fraction(1, 5))
    ),
    "synthetic": lambda folder: SyntheticSource(40, 30, n_frames=4),
}

INFO = StreamInfo(40, 30, Fraction(25), Fraction(1, 25))
SINK_MAKERS: dict[str, Callable[[Path], Sink]] = {
    **{
        suffix: lambda folder, suffix=suffix: FileSink(folder / f"o{suffix}", INFO)
        for suffix in (
            *(".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mpg", ".mpeg", ".apng"),
        )
    },
    "still": lambda folder: StillSink(folder / "o.png"),
    "folder": lambda folder: SequenceSink(folder / "o"),
    "pattern": lambda folder: SequenceSink(folder / "o%03d.jpg"),
    "null": lambda folder: NullSink(),
}


@pytest.mark.parametrize("name", SOURCE_MAKERS)
def test_source_delivers_frames_in_order_as_it_announced(name: str, tmp_path: Path) -> None:
    with SOURCE_MAKERS[name](tmp_path) as source:
        info = source.info
        frames = list(source.frames())
    assert frames
    assert [f.index for f in frames] == list(range(len(frames)))
    assert info.n_frames in (len(frames), None if name == "pattern of lavfi" else len(frames))
    times = [f.time for f in frames]
    assert times == sorted(set(times))
    assert all((time / info.time_base).denominator == 1 for time in times)
    for frame in frames:
        assert frame.image.shape == (info.height, info.width, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert isinstance(frame.time, Fraction)
    assert source.notes == []


@pytest.mark.parametrize("name", SOURCE_MAKERS)
def test_source_closes_before_it_is_read(name: str, tmp_path: Path) -> None:
    with SOURCE_MAKERS[name](tmp_path):
        pass


def test_frames_do_not_change_once_delivered(tmp_path: Path) -> None:
    with open_source(make_clip(tmp_path / "a.mp4")) as source:
        frames, copies = [], []
        for frame in source.frames():
            frames.append(frame)
            copies.append(frame.image.copy())
    assert all(np.array_equal(f.image, c) for f, c in zip(frames, copies, strict=True))


def _frame(index: int) -> Frame:
    return Frame(picture(index, 40, 30), Fraction(index, 25), index, Fraction(1, 25))


@pytest.mark.parametrize("name", SINK_MAKERS)
def test_sink_leaves_only_its_output(name: str, tmp_path: Path) -> None:
    n_frames = 1 if name == "still" else 3
    with SINK_MAKERS[name](tmp_path) as sink:
        for index in range(n_frames):
            sink.write(_frame(index))
        sink.finish()
    outputs = list(tmp_path.iterdir())
    assert not any(p.name.startswith(".") for p in outputs)
    if name == "null":
        assert not outputs
        return
    with open_source(tmp_path / "o" if name == "folder" else _whole(name, outputs)) as source:
        assert len(list(source.frames())) == n_frames
    assert sink.notes == []


def _whole(name: str, outputs: list[Path]) -> Path:
    if name == "pattern":
        return outputs[0].with_name("o%d.jpg")
    (only,) = outputs
    return only


@pytest.mark.parametrize("name", [".mp4", ".mkv", ".webm", ".avi", "still"])
def test_sink_without_finish_leaves_nothing(name: str, tmp_path: Path) -> None:
    with SINK_MAKERS[name](tmp_path) as sink:
        sink.write(_frame(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".mp4", "still", "folder"])
def test_sink_without_frames_says_so(name: str, tmp_path: Path) -> None:
    with SINK_MAKERS[name](tmp_path) as sink, pytest.raises(OutputError, match="No frame"):
        sink.finish()


def test_every_row_for_files_is_tried(tmp_path: Path) -> None:
    made = {type(source) for source in _all_opened(SOURCE_MAKERS, tmp_path)}
    # tests/media/test_address.py, tests/cli/test_pipes.py, tests/media/test_pictures.py
    made |= {AddressSource, PipeSource, AnimationSource}
    assert made >= {resolve_name(row.place) for row in SOURCES.values() if not row.live}
    made = {type(sink) for sink in _all_opened(SINK_MAKERS, tmp_path)} | {PipeSink}
    assert made >= {resolve_name(row.place) for row in SINKS.values() if not row.live}


def _all_opened(
    makers: Mapping[str, Callable[[Path], Source | Sink]], folder: Path
) -> Iterator[Source | Sink]:
    for number, make in enumerate(makers.values()):
        (place := folder / str(number)).mkdir(exist_ok=True)
        with make(place) as opened:
            yield opened


@pytest.mark.parametrize("row", [*SOURCES.values(), *SINKS.values()])
def test_registry_names_classes(row: Row) -> None:
    assert isinstance(resolve_name(row.place), type)


def test_round_trip_keeps_pictures(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4")
    with open_source(tmp_path / "a.mp4") as source:
        sink = open_sink(tmp_path / "b.mp4", source, WriteOptions(crf=4))
        before = list(source.frames())
        with sink:
            for frame in before:
                sink.write(frame)
            sink.finish()
    with open_source(tmp_path / "b.mp4") as source:
        after = list(source.frames())
    for a, b in zip(before, after, strict=True):
        assert np.abs(a.image.astype(int) - b.image).mean() < 2
