"""A live run from end to end: what `rtstyle live` does, as data, and doing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from time import perf_counter

from rtstyle.engines import EngineOptions
from rtstyle.errors import MediaError, RtstyleError, UsageError
from rtstyle.live.barcode import MeterSink
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.hot_keys import HotKeys
from rtstyle.live.options import LiveOptions
from rtstyle.live.recorder import FromZero, RecorderSink
from rtstyle.live.remote import open_remotes
from rtstyle.live.session import Figures, Session
from rtstyle.live.settings import Settings
from rtstyle.media import (
    ReadOptions,
    Sink,
    WriteOptions,
    open_sink,
    open_source,
    sink_kind,
    source_kind,
)
from rtstyle.media.devices.sound import SoundRing, open_microphone
from rtstyle.media.devices.source import LiveSource
from rtstyle.media.options import CameraMode
from rtstyle.media.synthetic import TeeSink
from rtstyle.media.video.sink import FileSink
from rtstyle.metrics import Report
from rtstyle.style.scene import Scene
from rtstyle.style.style import Style

_NOTE_SECONDS = 4.0  # that a note stays on the screen


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveJob:
    """Everything that a live run needs to know.

    `source` and `sinks` are named as in `rtstyle.media`; "window" and "web" are sinks too. The run
    starts with `settings`; `gallery` are the styles to choose from, `scenes` those of a scene file.
    `seconds` ends it early.
    `sound` is "own" for that of a clip, "none", or "microphone[:NAME]"; recordings, video files and
    servers get it. A clip that goes to a file is played once.
    Recordings go to `folder`; they and video files are encoded where `hwaccel` says. `serve` is the
    `rtstyle.serve.auth.ServeOptions` of the page. `osc` and `midi` are what `OscServer` and
    `MidiInput` take; with `hot_keys`, keys are heard wherever the focus is. Raises `UsageError`
    for a sink given twice.
    """

    settings: Settings
    gallery: tuple[Style, ...]
    scenes: tuple[Scene, ...] = ()
    source: str = "webcam:0"
    sinks: tuple[str, ...] = ("window",)
    capture: CameraMode = field(default_factory=CameraMode)
    options: LiveOptions = field(default_factory=LiveOptions)
    engine: EngineOptions = field(default_factory=lambda: EngineOptions(precision="fastest"))
    hwaccel: str = "none"
    sound: str = "own"
    seconds: float | None = None
    folder: Path = Path()
    overwrite: bool = False
    serve: object = None
    osc: str | None = None
    midi: str | None = None
    hot_keys: bool = False

    def __post_init__(self) -> None:
        for name in self.sinks:
            if self.sinks.count(name) > 1:
                raise UsageError(f"The output {name} is given twice; once is enough.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a live run did: its report, the bar codes' measurements where `measure` was set, and
    whether Ctrl-C ended it."""

    report: Report
    meter: MeterSink | None
    interrupted: bool


def run_live(
    job: LiveJob,
    *,
    commands: Iterable[str] | None = None,
    on_note: Callable[[str], None] = lambda sentence: None,
) -> Outcome:
    """Run until the command quit, the end of the source, or Ctrl-C.

    `commands` are lines in the language of `rtstyle.live.commands`, read by a thread. `on_note`
    gets every sentence for the user, from any thread. Must be called from the main thread if there
    is a window. Files are completed however the run ends. Raises the errors of `rtstyle.errors`.
    """
    controls = Controls(job.gallery, job.settings, scenes=job.scenes)
    is_clip = source_kind(job.source, live=True) == "looped"
    to_file = any(sink_kind(name, live=True) == "file" for name in job.sinks)
    reading = ReadOptions(camera=job.capture, once=is_clip and to_file)
    if reading.once:
        on_note("the clip is played once, at its own pace, and pictures that come too fast are "
                "left out; rtstyle render paints every one of them")  # fmt: skip
    with (
        open_source(job.source, reading, live=True) as source,
        EnginePool(job.engine, keep=6 + len(job.scenes)) as pool,
        ExitStack() as stack,
    ):
        status = Status(job, controls, pool, on_note)
        for note in source.notes:
            status.note(note)
        sound = _opened_sound(job.sound, source, stack, status.note)
        recorder = RecorderSink(
            job.folder, source.info, controls, on_note=status.note, hwaccel=job.hwaccel,
            sound=sound,
        )  # fmt: skip
        sinks: list[Sink] = [stack.enter_context(recorder)]
        meter = MeterSink(source.clock) if job.options.measure else None
        if meter is not None:
            sinks.append(meter)
        writing = WriteOptions(overwrite=job.overwrite, hwaccel=job.hwaccel)
        for name in job.sinks:
            sink = open_sink(name, source.info, writing, live=True, panel=status, sound=sound)
            stack.enter_context(sink)
            sinks.append(FromZero(sink) if isinstance(sink, FileSink) else sink)
        tee = TeeSink(sinks)
        session = status.session = Session(
            source, tee, controls, pool, options=job.options, sound=sound
        )
        if commands is not None:
            Thread(
                target=status.read_commands, args=(commands,), name="rtstyle-control", daemon=True
            ).start()
        open_remotes(stack, controls, osc=job.osc, midi=job.midi, on_note=status.note)
        if job.hot_keys:
            stack.enter_context(HotKeys(controls.do, on_note=status.note))
        end = None if job.seconds is None else perf_counter() + job.seconds

        noted = ""

        def check_end(figures: Figures) -> None:
            nonlocal noted
            if session.trouble not in ("", noted):
                status.note(session.trouble)
            noted = session.trouble
            if controls.settings.quitting or (end is not None and perf_counter() > end):
                session.stop()

        report, complete, interrupted = session.pipeline.report, False, False
        try:
            session.run(check_end)
            complete = True
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if report.frames_out:
                tee.finish(complete=complete)
            for note in tee.notes:
                on_note(note)
    return Outcome(report, meter, interrupted)


def _opened_sound(
    name: str, source: LiveSource, stack: ExitStack, on_note: Callable[[str], None]
) -> SoundRing | None:
    """The sound of a run; a microphone that cannot be opened is no reason not to paint."""
    if name in ("own", "none"):
        return source.sound if name == "own" else None
    ring = SoundRing()
    try:
        microphone = open_microphone(name, ring, source.clock, platform=sys.platform)
    except MediaError as error:
        on_note(str(error))
        return None
    stack.enter_context(microphone)
    return ring


class Status:
    """The run as its window or page sees it: figures, the newest note, and where commands go.

    Safe from any thread.
    """

    def __init__(
        self, job: LiveJob, controls: Controls, pool: EnginePool, on_note: Callable[[str], None]
    ) -> None:
        self.session: Session | None = None
        self.controls, self.pool, self.serve = controls, pool, job.serve
        self.on_note = on_note
        self._newest = (-_NOTE_SECONDS, "")

    def note(self, sentence: str) -> None:
        """Print a sentence, and show it for a few seconds."""
        self._newest = perf_counter(), sentence
        self.on_note(sentence)

    def line(self) -> str:
        """The figures, in one line."""
        settings, figures = self.controls.settings, self.figures()[0]
        words = [settings.mixed.name, f"{figures.fps:.0f} fps", f"{figures.latency_ms:.0f} ms"]
        if settings.scene:
            words.append(settings.scene)
        if settings.strength < 1:
            words.append(f"strength {settings.strength:g}")
        marks = (("colours kept", settings.preserve_color), ("paused", settings.paused),
                 ("recording", settings.recording))  # fmt: skip
        return "   ".join(words + [word for word, on in marks if on])

    def figures(self) -> tuple[Figures, str]:
        """Figures and notice, for the page."""
        session = self.session
        return (session.figures, session.public_notice) if session else (Figures(), "")

    def notice(self) -> str:
        """What is wrong now, or the newest note while it is new."""
        if self.session is not None and self.session.notice:
            return self.session.notice
        at, sentence = self._newest
        return sentence if perf_counter() - at < _NOTE_SECONDS else ""

    def do(self, command: str) -> None:
        """Carry out a command; what is wrong with it becomes a note."""
        try:
            self.controls.do(command)
        except RtstyleError as error:
            self.note(str(error))

    def read_commands(self, lines: Iterable[str]) -> None:
        """Carry out line after line; empty lines and what follows a # are skipped."""
        try:
            for line in lines:
                if command := line.partition("#")[0].strip():
                    self.do(command)
        except (OSError, ValueError) as error:  # stdin was closed meanwhile
            self.note(f"No more commands can be read ({error}).")


def default_sinks(has_display: bool) -> tuple[str, ...]:
    """Where live pictures go by default: a window, or without a display the page."""
    return ("window",) if has_display else ("web",)


def stdin_lines() -> Iterable[str]:
    """Commands from the standard input, as they come."""
    return iter(sys.stdin.readline, "")
