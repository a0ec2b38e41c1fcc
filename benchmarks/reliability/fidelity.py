"""Whether the pictures are the same however a film is cut: by content, frame by frame.

Every video of the folders, and a clip of every kind made here, is read as a render reads it: in one
go, in segments, and from random starts. Clips of up to --render megapixels in all are also rendered
by the identity engine, encoded without loss (in 4:2:0), killed again and again before the render is
let go to its end. Every frame is compared with that of the film, or its render, in one go.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from benchmarks.reliability.fidelity_clips import KINDS, make_kind
from benchmarks.reliability.finding import Finding
from benchmarks.reliability.options import CheckOptions
from rtstyle.errors import InputNotFoundError, RtstyleError
from rtstyle.frame import Frame
from rtstyle.media import ReadOptions, WriteOptions
from rtstyle.media.options import VIDEO_SUFFIXES
from rtstyle.media.video.keyframes import keyframes_apart
from rtstyle.media.video.parts import Part, Video, open_part
from rtstyle.media.video.source import FileSource
from rtstyle.metrics import Report
from rtstyle.rendering.api import render
from rtstyle.rendering.job import SILENT, Segments
from rtstyle.style.style import find_styles

_SEGMENTS = (1, 3, 10)  # seconds
_PART = Fraction(2)  # seconds read from a random start
_MOST_LEVELS = 3
# Forked from one that has loaded everything and has no threads.
_PROCESSES = get_context("forkserver")
_LOSSLESS = WriteOptions(
    codec="libx264",
    preset="ultrafast",
    pixel_format="yuv420p",
    crf=0,
    keep_audio=False,
    overwrite=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(CheckOptions):
    """The command line."""

    folders: Annotated[list[Path] | None, typer.Argument(metavar="DIR", help="of more videos")] = (
        None
    )
    starts: Annotated[int, typer.Option(help="random starts a clip")] = 10
    kills: Annotated[int, typer.Option(help="SIGKILLs of a render")] = 10
    render: Annotated[int, typer.Option(help="megapixels of the longest clip rendered")] = 20
    largest: Annotated[int, typer.Option(help="megapixels of the longest clip read")] = 10_000
    seed: Annotated[int, typer.Option(help="of starts and moments")] = 0
    only: Annotated[str, typer.Option(help="clips with this in their names")] = ""


Read = Callable[[], Iterator[Frame]]
Digests = list[tuple[Fraction, bytes]]  # of frames: their times and what their pictures are


@dataclass(slots=True)
class _Tally:
    """What was compared so far. `off` counts frames by how they were read."""

    clips: list[str] = field(default_factory=list)
    cut: int = 0  # clips that are read in several segments
    rendered: int = 0  # clips
    kills: int = 0
    readings: int = 0
    frames: int = 0
    worst: int = 0  # grey levels
    off: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def compare(self, how: str, wanted: Digests, read: Read, reread: Read) -> None:
        """Count what `read` gives otherwise than `wanted`, which `reread` gives as pictures."""
        self.readings += 1
        self.frames += len(wanted)
        try:
            if (found := _digests(read())) == wanted:
                return
            off = abs(len(found) - len(wanted))
            for one, other in zip(reread(), read(), strict=False):
                levels = int(np.abs(one.image.astype(np.int16) - other.image).max())
                off += levels > _MOST_LEVELS or one.time != other.time
                self.worst = max(self.worst, levels)
        except RtstyleError as error:
            self.failed.append(f"{self.clips[-1]}, {how}: {error}")
            return
        self.off[how] += off
        print(f"  {how}: {off} of {len(wanted)} frames off", flush=True)


def measure(options: Options) -> Finding:
    """Read, render and compare; a line for each clip."""
    folders = options.folders or []
    for folder in folders:
        if not folder.is_dir():
            raise InputNotFoundError(f"There is no folder {folder}; one of videos is expected.")
    began = time.perf_counter()
    tally = _Tally()
    _PROCESSES.set_forkserver_preload([__name__])
    os.environ["SVT_LOG"] = "1"  # its encoder talks
    with TemporaryDirectory() as made, TemporaryDirectory() as scratch:
        given = [p for d in folders for p in sorted(d.iterdir()) if p.suffix in VIDEO_SUFFIXES]
        given = [path for path in given if _megapixels(path) <= options.largest]
        for path in (*given, *(Path(made) / name for name in KINDS)):
            if options.only in path.name:
                if path.parent == Path(made):
                    make_kind(path)
                _measure(path, Path(scratch), options, tally)
    return Finding(
        check="fidelity",
        claim="However a film is cut, not a frame is lost, added or more than "
        f"{_MOST_LEVELS} levels off what one go gives.",
        figures={
            "clips": len(tally.clips),
            f"of which have keyframes {_SEGMENTS[0]} s apart": tally.cut,
            f"of which are also rendered, up to {options.render} megapixels": tally.rendered,
            "kills of renders": tally.kills,
            "comparisons with one go": tally.readings,
            "frames compared": tally.frames,
            **{
                f"frames off, {how}": tally.off[how]
                for how in (*(f"segments of {s} s" for s in _SEGMENTS), "starts", "kills")
            },
            "furthest off, in levels": tally.worst,
            "failed": "; ".join(tally.failed) or 0,
            "the clips": ", ".join(tally.clips),
        },
        passed=not sum(tally.off.values()) and not tally.failed,
        command="python -m benchmarks reliability fidelity "
        + "".join(f"{folder.name} " for folder in folders)
        + f"--starts {options.starts} --kills {options.kills} --render {options.render} "
        f"--largest {options.largest} --seed {options.seed}",
        seconds=time.perf_counter() - began,
    )


def _measure(path: Path, scratch: Path, options: Options, tally: _Tally) -> None:
    draw = random.Random(f"{options.seed} {path.name}")
    began, before = time.perf_counter(), (sum(tally.off.values()), len(tally.failed))
    tally.clips.append(path.name)
    with FileSource(path) as source:
        video, expected = Video.of(source), _digests(source.frames())
    for seconds in _SEGMENTS:
        cuts = keyframes_apart(video, Fraction(seconds))
        tally.cut += bool(cuts) and seconds == _SEGMENTS[0]
        parts = partial(_in_parts, video, cuts)
        tally.compare(f"segments of {seconds} s", expected, parts, partial(_from, path))
    length = expected[-1][0] or Fraction(1, 1000)
    for _ in range(options.starts):
        start = Fraction(draw.randrange(int(length * 1000)), 1000)
        wanted = [(at, digest) for at, digest in expected if start <= at < start + _PART]
        shown = [(at - wanted[0][0], digest) for at, digest in wanted]
        part = partial(_from, path, ReadOptions(start, _PART))
        tally.compare("starts", shown, part, partial(_later, path, wanted))
    if _megapixels(path) <= options.render:
        tally.rendered += 1
        whole, output = scratch / "whole.mp4", scratch / "out.mp4"
        _render(path, whole)
        tally.kills += _render_killed(path, output, options.kills, len(expected), draw)
        tally.compare(
            "kills", _digests(_from(whole)), *(partial(_from, p) for p in (output, whole))
        )
    same = before == (sum(tally.off.values()), len(tally.failed))
    print(
        f"{'same   ' if same else 'DIFFERS'} {path.name}: {len(expected)} frames, "
        f"{time.perf_counter() - began:.0f} s",
        flush=True,
    )


def _megapixels(path: Path) -> float:
    """Of all frames."""
    with FileSource(path) as source:
        info = source.info
        return info.width * info.height * (info.n_frames or 300) / 1e6


def _from(path: Path, reading: ReadOptions | None = None) -> Iterator[Frame]:
    with FileSource(path, reading) as source:
        yield from source.frames()


def _in_parts(video: Video, cuts: Sequence[Fraction]) -> Iterator[Frame]:
    """As a render in segments reads it."""
    for start, end in pairwise([None, *cuts, None]):
        with open_part(video, Part(start, end)) as part:
            yield from part.frames()


def _later(path: Path, wanted: Digests) -> Iterator[Frame]:
    """The frames of the whole that a part must have, at the times that they have in the part."""
    times = {at for at, _ in wanted}
    for frame in _from(path):
        if frame.time in times:
            yield Frame(frame.image, frame.time - wanted[0][0], frame.index)


def _digests(frames: Iterator[Frame]) -> Digests:
    return [(f.time, blake2b(f.image.data, digest_size=16).digest()) for f in frames]


def _render(
    path: Path,
    output: Path,
    *,
    resume: bool = False,
    on_frame: Callable[[Report, int | None], None] = SILENT.on_frame,
) -> None:
    """Render without painting, in one go or in segments that are gone on with."""
    render(
        path, output, style=find_styles()[0], engine="identity", writing=_LOSSLESS, resume=resume,
        segments=Segments(seconds=Fraction(_SEGMENTS[0])), on_frame=on_frame,
    )  # fmt: skip


def _render_killed(path: Path, output: Path, kills: int, n: int, draw: random.Random) -> int:
    """Render in processes that are killed at random frames, then to the end; how many were."""
    output.unlink(missing_ok=True)
    killed = 0
    for _ in range(kills):
        at = draw.randint(1, max(1, n // 5))
        process = _PROCESSES.Process(target=_render_until, args=(path, output, at))
        process.start()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    _render(path, output, resume=True)
    return killed


def _render_until(path: Path, output: Path, at: int) -> None:
    """Render in segments, in a process that SIGKILL ends at frame `at`."""

    def die(report: Report, total: int | None) -> None:
        if report.frames_out >= at:
            os.kill(os.getpid(), signal.SIGKILL)

    _render(path, output, resume=True, on_frame=die)
