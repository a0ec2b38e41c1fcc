"""What to render and how, and who hears of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av

from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.registry import automatic, engine_row
from rtstyle.errors import UsageError
from rtstyle.frame import StreamInfo
from rtstyle.image import Look
from rtstyle.masks import find_mask_model
from rtstyle.media import ReadOptions, WriteOptions, sink_kind, source_kind
from rtstyle.media.video.formats import container_for, usual_codec
from rtstyle.media.video.nvcodec import device_encoder
from rtstyle.metrics import Report, n_cores
from rtstyle.rendering.timeline import Change
from rtstyle.steady import check_amount
from rtstyle.style.style import Area, Style

_STREAMS = (
    2  # batches that a CPU computes side by side: a tenth more a second than one after another
)

Facts = dict[str, Any]  # anything that JSON holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """How a render is cut: into segments of at least `seconds`, each the most that a kill can cost.

    With `keep`, their folder beside the output stays after the end. Raises `UsageError`.
    """

    seconds: Fraction = Fraction(10)
    keep: bool = False

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise UsageError(f"A segment lasts more than 0 seconds, not {float(self.seconds):g}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob:
    """One video, picture or folder to be rendered into `output`. Picklable. A `source` that is no
    file, such as an address, is a string.

    `segments` is None for a render in one go, of which an interruption keeps nothing to go on with.
    `steady` is the strength of `SteadyFilter`, 0 to 1; None leaves it to what the net costs.
    `changes`, in the order of their times, are what replaces style, look, steadiness and `areas`,
    what is painted otherwise.

    Raises `UsageError` for a `steady` out of range.
    """

    source: Path | str
    output: Path
    style: Style
    look: Look = field(default_factory=Look)
    reading: ReadOptions = field(default_factory=ReadOptions)
    writing: WriteOptions = field(default_factory=WriteOptions)
    engine: EngineOptions = DEFAULTS
    segments: Segments | None = Segments()
    steady: float | None = None
    changes: tuple[Change, ...] = ()
    areas: tuple[Area, ...] = ()

    def __post_init__(self) -> None:
        check_amount(self.steady or 0.0)

    @property
    def steadiness(self) -> float:
        """`steady`, or what it is by default: 1 where the filter costs less than a tenth of the
        frame rate, else 0. A picture has no motion, nor have pictures into pictures."""
        kinds = source_kind(self.source), sink_kind(self.output)
        if kinds[0] == "still" or kinds == ("sequence", "sequence"):
            return 0.0
        if self.steady is not None:
            return self.steady
        # Measured in one run, CPU time of a frame of 640×360: the filter 3 ms where nothing moves,
        # else 12 ms; the gallery 142 ms in float32, 88 ms in INT8.
        name = automatic()[0] if self.engine.name == "auto" else self.engine.name
        is_slow = not engine_row(name).runs_on_gpu and name not in ("identity", "openvino-bf16")
        return float(is_slow and self.engine.precision in ("auto", "fp32"))

    @property
    def states(self) -> tuple[Change, ...]:
        """What is painted from the beginning on, and the changes."""
        usual = self.steadiness
        first = Change(
            time=Fraction(0), style=self.style, look=self.look, steady=usual, areas=self.areas
        )
        return (
            first,
            *(replace(c, steady=usual if c.steady is None else c.steady) for c in self.changes),
        )

    def remarks(self, info: StreamInfo) -> list[str]:
        """What of the job cannot be seen in a source of that `info`."""
        if info.n_frames is None:
            return []
        end = info.n_frames / info.rate
        return [
            f"the change at {float(c.time):g} s is not seen, as the video ends at {float(end):g} s"
            for c in self.changes
            if c.time >= end
        ]

    @property
    def styles(self) -> list[Style]:
        """Every style that the job may need."""
        of_areas = [area.style for state in self.states for area in state.areas]
        return [state.style for state in self.states] + [s for s in of_areas if s is not None]

    @property
    def finds_areas(self) -> bool:
        """Whether people are looked for in any of the frames."""
        return self.writing.alpha or any(state.areas for state in self.states)

    @property
    def is_steadied(self) -> bool:
        """Whether any of the frames are."""
        return any(state.steady for state in self.states)

    @property
    def joins(self) -> bool:
        """Whether segments, encoded one by one, can become the output."""
        kinds = source_kind(self.source), sink_kind(self.output)
        return (
            kinds in (("file", "file"), ("sequence", "file"))
            and container_for(self.output).joins
            # The alpha of VP9 stands beside its packets, where segments do not keep it.
            and not (self.writing.alpha and container_for(self.output).muxer == "webm")
        )

    def settings(self) -> Facts:
        """Everything of a settled job that frames and their encoding depend on.

        What only the muxing depends on, such as the sound, may change between two runs.
        """
        writing = self.writing
        changes = [
            [str(c.time), str(c.fade), c.steady, asdict(c.look), _style_facts(c.style)]
            + [_area_facts(area) for area in c.areas]
            for c in self.changes
        ]
        areas = [_area_facts(area) for area in self.areas]
        more: Facts = {"changes": changes, "areas": areas, "alpha": writing.alpha}
        if self.finds_areas:
            more["masks"] = _digest(find_mask_model().read_bytes())
        return {name: facts for name, facts in more.items() if facts} | {
            "style": _style_facts(self.style),
            "look": asdict(self.look),
            "steady": self.steady,
            "start and duration": [str(self.reading.start), str(self.reading.duration)],
            "rate": str(self.reading.rate),
            "container": writing.suffix or self.output.suffix.lower(),
            "encoder": [
                str(part)
                for part in (writing.codec, writing.crf, writing.preset, writing.pixel_format)
            ],
            "encoder options": dict(writing.options)
            | ({} if writing.bitrate is None else {"b:v": str(writing.bitrate)}),
            "engine": self.engine.name,
            "precision": self.engine.precision,
            "hwaccel": self.reading.hwaccel,
            "HDR and deinterlacing": [self.reading.keep_hdr, self.reading.deinterlace],
            "segment": str(self.segments and self.segments.seconds),
            "version": [version("rtstyle"), av.__version__],
        }


@dataclass(frozen=True, slots=True)
class Listener:
    """Hears how a render goes on: `on_frame` gets the report so far and the expected number of
    frames, where it is known; `on_note` a sentence for everything that could not stay as it was."""

    on_frame: Callable[[Report, int | None], None] = lambda report, n_frames: None
    on_note: Callable[[str], None] = lambda sentence: None


SILENT = Listener()


def settled(
    job: RenderJob, info: StreamInfo, encoder_threads: int | None, engine_threads: int | None
) -> RenderJob:
    """The job with nothing left to the machine: its codec, and how many threads encode.

    `info` is that of the source; `encoder_threads` and `engine_threads` apply where the job leaves
    the number open. None of the latter leaves it to the engine, whose output does not vary on one
    machine; another number changes the last digit of sums, and so single grey levels.
    """
    writing = job.writing
    usual = usual_codec(container_for(job.output), info, alpha=writing.alpha)
    codec = writing.codec or device_encoder(usual, writing.hwaccel, info)
    usual_threads = max(1, min(16, n_cores() * 3 // 2))  # as x264 by itself, within what helps
    threads = writing.threads or encoder_threads or usual_threads
    return replace(
        job,
        writing=replace(writing, codec=codec or usual, threads=threads),
        engine=replace(job.engine, threads=job.engine.threads or engine_threads, streams=_STREAMS),
        steady=job.steadiness,
    )


def _style_facts(style: Style) -> list[str]:
    vector = b"" if style.vector is None else style.vector.tobytes()
    return [style.name, _digest(vector), _digest(style.model.path.read_bytes())]


def _area_facts(area: Area) -> Facts:
    style = None if area.style is None else _style_facts(area.style)
    facts: Facts = {"where": area.where, "style": style, "strength": area.strength}
    if area.backdrop is None:
        return facts
    picture = area.backdrop.picture
    pixels = b"" if picture is None else repr(picture.shape).encode() + picture.tobytes()
    return facts | {"backdrop": [area.backdrop.name, _digest(pixels)]}


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
