"""Whether an output kept all that stylizing should not touch: frames, times, sound and the rest.

Every video of DIR is rendered by the identity engine and compared with its output: every frame's
time, and every packet of all other streams. Exits 1 if any differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from hashlib import md5
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from av.stream import Disposition, Stream

from benchmarks.options import parse
from rtstyle.errors import InputNotFoundError, RtstyleError
from rtstyle.media.options import WriteOptions
from rtstyle.media.video.container import open_container
from rtstyle.media.video.source import FileSource
from rtstyle.rendering.api import render
from rtstyle.style.style import find_styles
from tests.media.clips import Clip, make_clip


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What differs between an input and its painted output.

    `frames_in` and `frames_out` are counts; `times_differ` counts frames whose time is not exactly
    the input's; `streams_differ` names each other stream with packets that are not bit-exact at
    the same time; `streams_missing` those that the output lacks.
    """

    frames_in: int
    frames_out: int
    times_differ: int
    streams_kept: int
    streams_differ: tuple[str, ...] = ()
    streams_missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Nothing that the output's container can hold was changed or lost."""
        return (
            self.frames_in == self.frames_out
            and not self.times_differ
            and not self.streams_differ
            and not self.streams_missing
        )

    def __str__(self) -> str:
        parts = [
            f"{self.frames_out} of {self.frames_in} frames",
            f"{self.times_differ} times differ",
            f"{self.streams_kept} other streams kept",
            *self.streams_differ,
            *(f"{label} missing" for label in self.streams_missing),
            *(f"note: {note}" for note in self.notes),
        ]
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class _Packets:
    """The times in seconds and the md5 of every packet of a stream, and its unit of time."""

    label: str
    tick: Fraction
    times: list[Fraction | None] = field(default_factory=list)
    payloads: list[str] = field(default_factory=list)


def compare(original: Path, output: Path) -> Fidelity:
    """Compare every frame's time, and every packet that is not video, of two whole videos.

    A packet's time may be rounded where the output's clock cannot say it; a frame's may not. Data
    streams in formats that have no name are not asked for: no muxer can write them.
    """
    with FileSource(original) as before, FileSource(output) as after:
        times_in = [time for _, time in before.times()]
        times_out = [time for _, time in after.times()]
        offset = before.origin.offset if before.origin else Fraction(0)
    differ = sum(a != b for a, b in zip(times_in, times_out, strict=False))
    kept_streams = _others(output, Fraction(0))
    changed, missing, kept = [], [], 0
    for kind, streams in _others(original, offset).items():
        for number, packets in enumerate(streams):
            if number >= len(kept_streams.get(kind, [])):
                missing.append(packets.label)
                continue
            kept += 1
            if difference := _difference(packets, kept_streams[kind][number]):
                changed.append(f"{packets.label}: {difference}")
    return Fidelity(len(times_in), len(times_out), differ, kept, tuple(changed), tuple(missing))


def render_unpainted(original: Path, output: Path) -> list[str]:
    """Send a video through the whole pipeline with the identity engine; the notes that it left."""
    preset = {".webm": "8", ".avi": None, ".gif": None}.get(output.suffix, "ultrafast")
    notes: list[str] = []
    render(
        original, output, style=find_styles()[0], engine="identity",
        writing=WriteOptions(preset=preset, overwrite=True), on_note=notes.append,
    )  # fmt: skip
    return notes


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="folder of videos; clips made here by default"),
    ] = None
    suffix: Annotated[
        str | None, typer.Argument(metavar="SUFFIX", help="of the outputs; the input's by default")
    ] = None


def main(argv: Sequence[str]) -> int:
    """Render every video of a folder without stylizing it; 1 if any output differs."""
    options = parse(Options, argv, program="python -m benchmarks fidelity", about=__doc__)
    if options.folder is not None and not options.folder.is_dir():
        raise InputNotFoundError(f"There is no folder {options.folder}; one of videos is expected.")
    failed = 0
    with TemporaryDirectory() as made:
        folder = options.folder or make_clips(Path(made))
        for original, result in _measure(folder, options.suffix):
            exact = isinstance(result, Fidelity) and result.is_exact
            failed += not exact
            print(f"{'exact  ' if exact else 'DIFFERS'} {original.name}: {result}", flush=True)
    print(f"{failed} differ" if failed else "all exact")
    return 1 if failed else 0


def make_clips(folder: Path) -> Path:
    """Write the kinds of clip that go wrong elsewhere."""
    jittered = tuple(accumulate(400 + 37 * (i * i % 11) for i in range(24)))
    kinds = {
        "vfr": Clip(times=jittered),
        "rotated": Clip(rotation=90, audio_seconds=0.5),
        "odd_size": Clip(width=63, height=47, pixel_format="yuv444p"),
        "ten_bit": Clip(pixel_format="yuv420p10le"),
        "silent": Clip(),
        "audio_longer": Clip(audio_seconds=2.0),
        "one_frame": Clip(times=(0,)),
        "one_frame_with_audio": Clip(times=(0,), audio_seconds=0.7),
        "late_start": Clip(times=tuple(range(5000, 5000 + 12 * 512, 512)), audio_seconds=1.0),
    }
    for name, clip in kinds.items():
        make_clip(folder / f"{name}.mp4", clip)
    return folder


def _measure(folder: Path, suffix: str | None) -> Iterator[tuple[Path, Fidelity | RtstyleError]]:
    with TemporaryDirectory() as scratch:
        for original in sorted(p for p in folder.iterdir() if p.is_file()):
            output = Path(scratch) / f"out{suffix or original.suffix}"
            try:
                notes = render_unpainted(original, output)
                yield original, replace(compare(original, output), notes=tuple(notes))
            except RtstyleError as error:
                yield original, error


def _others(path: Path, offset: Fraction) -> dict[str, list[_Packets]]:
    """The packets of every stream that is not video, by kind, in the order of the file."""
    with open_container(path) as container:
        streams = [s for s in container.streams if _is_asked_for(s)]
        found = {
            s.index: _Packets(f"{s.type} stream {s.index}", s.time_base or Fraction(1))
            for s in streams
        }
        for packet in container.demux(streams) if streams else ():
            if packet.size:
                stamp, packets = packet.pts, found[packet.stream.index]
                packets.times.append(None if stamp is None else stamp * packets.tick - offset)
                packets.payloads.append(md5(bytes(packet)).hexdigest())
        by_kind: dict[str, list[_Packets]] = {}
        for stream in streams:
            by_kind.setdefault(stream.type, []).append(found[stream.index])
        return by_kind


def _is_asked_for(stream: Stream) -> bool:
    if stream.type == "data":
        return "timecode" in stream.metadata
    if stream.type == "video":
        return bool(stream.disposition & Disposition.attached_pic)
    return stream.type != "attachment"


def _difference(before: _Packets, after: _Packets) -> str:
    """What is not the same, as a sentence; empty when all is."""
    if len(before.payloads) != len(after.payloads):
        return f"{len(after.payloads)} of {len(before.payloads)} packets"
    payloads = sum(a != b for a, b in zip(before.payloads, after.payloads, strict=True))
    times = sum(
        a is not None and (b is None or not _same_time(a, b, after.tick))
        for a, b in zip(before.times, after.times, strict=True)
    )
    return f"{payloads} payloads and {times} times differ" if payloads or times else ""


def _same_time(before: Fraction, after: Fraction, tick: Fraction) -> bool:
    representable = (before / tick).denominator == 1
    return before == after if representable else 2 * abs(before - after) <= tick
