"""Renders that the tests of segments compare."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from rtstyle.media import ReadOptions, WriteOptions
from rtstyle.media.video.source import FileSource
from rtstyle.metrics import Report
from rtstyle.rendering.api import render
from rtstyle.rendering.job import Segments
from rtstyle.style.style import find_styles
from tests.media.clips import Clip

FAST = {".webm": "8", ".avi": None}  # the preset of the container's codec; "ultrafast" for others
HALF = Segments(seconds=Fraction(1, 2))
# 2.4 seconds, a keyframe every 0.4: cut into segments of half a second there are three.
CLIP = Clip(times=range(0, 60 * 512, 512), audio_seconds=2.5, keyframe_every=10)

_SCRIPT = """
import os, signal, sys
from fractions import Fraction
from rtstyle.media import WriteOptions
from rtstyle.rendering.api import render
from rtstyle.rendering.job import Segments
from rtstyle.rendering.store import State
from rtstyle.style.style import find_styles

source, output, point = sys.argv[1:]
die = lambda *given, **named: os.kill(os.getpid(), signal.SIGKILL)
frames = int(point) if point.isdigit() else 10**9
if not point.isdigit():
    setattr(State, point, die)
render(
    source, output, style=find_styles()[0], engine="identity", steady=1.0,
    segments=Segments(seconds=Fraction(1, 2)), writing=WriteOptions(preset="ultrafast"),
    on_frame=lambda report, total: die() if report.frames_out == frames else None,
)
"""


def paint(
    source: Path | str,
    output: Path,
    *,
    segments: Segments | None = HALF,
    notes: list[str] | None = None,
    reading: ReadOptions | None = None,
    crf: float | None = None,
    overwrite: bool = False,
    options: dict[str, str] | None = None,
    engine: str = "identity",
    preset: str | None = "usual",
    steady: float = 1.0,  # it has a memory, which kills and cuts must not show
    on_frame: Callable[[Report, int | None], None] = lambda report, total: None,
) -> Report:
    """Render without stylizing, by default steadied; in one go without `segments`."""
    noted: list[str] = [] if notes is None else notes
    if preset == "usual":
        preset = FAST.get(output.suffix, "ultrafast") if output.suffix else None
    return render(
        source,
        output,
        style=find_styles()[0],
        steady=steady,
        engine=engine,
        resume=segments is not None,
        segments=segments,
        reading=reading,
        writing=WriteOptions(preset=preset, crf=crf, overwrite=overwrite, options=options or {}),
        on_frame=on_frame,
        on_note=noted.append,
    )


def paint_until_killed(source: Path, output: Path, point: str) -> None:
    """Render in a process of its own, killed at frame `point` or in that method of `State`."""
    command = [sys.executable, "-c", _SCRIPT, str(source), str(output), point]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr


def frame_times(path: Path) -> list[Fraction]:
    with FileSource(path) as source:
        return [time for _, time in source.times()]


def sound(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        return [
            (p.pts * p.time_base, bytes(p)) for p in container.demux(audio=0) if p.pts is not None
        ]


def decode_times(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [p.dts for p in container.demux(video=0) if p.dts is not None]


def state_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.resume")


def interrupt(source: Path, output: Path, at_frame: int) -> None:
    """As Ctrl-C at that frame."""

    def press(report: Report, total: int | None) -> None:
        if report.frames_out == at_frame:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint(source, output, on_frame=press)
