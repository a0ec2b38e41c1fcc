"""A live painting from end to end: what `rtstyle live` runs."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from time import perf_counter

from rtstyle.engines import EngineOptions
from rtstyle.errors import RtstyleError, UsageError
from rtstyle.frame import StreamInfo
from rtstyle.live.controls import Controls, Settings
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.meter import MeterSink
from rtstyle.live.recorder import RecorderSink
from rtstyle.live.session import Figures, LiveOptions, Session
from rtstyle.media import Sink
from rtstyle.media.devices.opening import open_live_sink, open_live_source
from rtstyle.media.devices.webcam import Capture
from rtstyle.media.devices.window import WindowSink
from rtstyle.media.synthetic import TeeSink
from rtstyle.metrics import Report
from rtstyle.style.style import Style

_NOTICE_SECONDS = 4.0  # that a note stays on the screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes where.

    `source` and `sinks` as `rtstyle.media` names them, and "window" and "web". `seconds` ends the
    run early. Recordings go to `folder`; they and files are encoded where `hwaccel` says. `serve`
    are the options of the page, a `rtstyle.serve.options.ServeOptions`.
    """

    source: str = "webcam:0"
    sinks: tuple[str, ...] = ("window",)
    capture: Capture = field(default_factory=Capture)
    options: LiveOptions = field(default_factory=LiveOptions)
    engine: EngineOptions = field(default_factory=lambda: EngineOptions(precision="fastest"))
    hwaccel: str = "none"
    seconds: float | None = None
    folder: Path = Path()
    overwrite: bool = False
    serve: object = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a live painting did, with `measure` what its bar codes told, and whether Ctrl-C ended
    it, as is usual."""

    report: Report
    meter: MeterSink | None
    interrupted: bool


def paint_live(
    plan: Plan,
    gallery: Iterable[Style],
    settings: Settings,
    *,
    commands: Iterable[str] | None = None,
    on_note: Callable[[str], None] = lambda sentence: None,
) -> Outcome:
    """Paint until the controls say quit, the source ends or Ctrl-C comes.

    `commands` are lines in the language of `rtstyle.live.controls`, read in a thread. `on_note`
    gets a sentence for whatever the user should know. Must be called from the main thread if there
    is a window. Files are completed whatever ends it. Raises the errors of `rtstyle.errors`.
    """
    controls = Controls(list(gallery), settings)
    board = _Board(controls, on_note)
    with (
        open_live_source(plan.source, plan.capture) as source,
        EnginePool(plan.engine) as pool,
        ExitStack() as stack,
    ):
        for note in source.notes:
            board.note(note)
        recorder = stack.enter_context(
            RecorderSink(
                plan.folder, source.info, controls, on_note=board.note, hwaccel=plan.hwaccel
            )
        )
        meter = MeterSink(source.clock) if plan.options.measure else None
        sinks: list[Sink] = [recorder, *([meter] if meter else [])]
        for name in plan.sinks:
            sink = _opened(name, plan, source.info, controls, pool, board)
            stack.enter_context(sink)
            sinks.append(sink)
        tee = TeeSink(sinks)
        session = Session(source, tee, controls, pool, options=plan.options)
        board.session = session
        if commands is not None:
            Thread(
                target=_obey, args=(commands, controls, board), name="rtstyle-control", daemon=True
            ).start()
        end = None if plan.seconds is None else perf_counter() + plan.seconds

        def shown(figures: Figures) -> None:
            if controls.settings.quitting or (end is not None and perf_counter() > end):
                session.stop()

        report, complete, interrupted = session.pipeline.report, False, False
        try:
            session.run(shown)
            complete = True
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if report.frames_out:
                tee.finish(complete=complete)
            for note in tee.notes:
                on_note(note)
    return Outcome(report, meter, interrupted)


class _Board:
    """What is written over the picture: figures, and the newest note for a few seconds."""

    def __init__(self, controls: Controls, on_note: Callable[[str], None]) -> None:
        self.session: Session | None = None
        self._controls, self._on_note = controls, on_note
        self._notes: deque[tuple[float, str]] = deque(maxlen=1)

    def note(self, sentence: str) -> None:
        """Tell the user once. Safe from any thread."""
        self._notes.append((perf_counter(), sentence))
        self._on_note(sentence)

    def status(self) -> str:
        """The line of figures."""
        settings, figures = self._controls.settings, self.figures()[0]
        words = [settings.mixed.name, f"{figures.fps:.0f} fps", f"{figures.latency_ms:.0f} ms"]
        if settings.strength < 1:
            words.append(f"strength {settings.strength:g}")
        marks = (("colours kept", settings.preserve_color), ("paused", settings.paused),
                 ("recording", settings.recording))  # fmt: skip
        return "   ".join(words + [word for word, on in marks if on])

    def figures(self) -> tuple[Figures, str]:
        """Figures and notice, for the page."""
        return (self.session.figures if self.session else Figures()), self.notice()

    def notice(self) -> str:
        """What is wrong, or the newest note while it is new."""
        if self.session is not None and self.session.notice:
            return self.session.notice
        now = perf_counter()
        return next((text for at, text in self._notes if now - at < _NOTICE_SECONDS), "")

    def do(self, command: str) -> None:
        """Carry out a command; what is wrong with it becomes a note."""
        try:
            self._controls.do(command)
        except RtstyleError as error:
            self.note(str(error))


def _opened(
    name: str, plan: Plan, info: StreamInfo, controls: Controls, pool: EnginePool, board: _Board
) -> Sink:
    if name == "window":
        return WindowSink(info, on_command=board.do, status=board.status, notice=board.notice)
    if name == "web":
        from rtstyle.errors import optional

        broadcast = optional("rtstyle.serve.web_sink", "The page")
        options = optional("rtstyle.serve.options", "The page").ServeOptions()
        sink = broadcast.WebSink(plan.serve or options, controls, pool)
        sink.describe(board.figures)
        board.note(f"watch at {sink.url}")
        web: Sink = sink
        return web
    return open_live_sink(name, info, overwrite=plan.overwrite, hwaccel=plan.hwaccel)


def _obey(commands: Iterable[str], controls: Controls, board: _Board) -> None:
    """Carry out line after line; an empty line and a # do nothing."""
    try:
        for line in commands:
            command = line.partition("#")[0].strip()
            if command:
                board.do(command)
    except (OSError, ValueError) as error:  # stdin was closed under us
        board.note(f"No more commands can be read ({error}).")


def default_sinks(has_display: bool) -> tuple[str, ...]:
    """Where the painting goes when nobody said: a window, or without a display the page."""
    return ("window",) if has_display else ("web",)


def check_sinks(names: tuple[str, ...]) -> None:
    """Raise `UsageError` for a sink that is named twice."""
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"The output {name} is given twice; once is enough.")


def stdin_lines() -> Iterable[str]:
    """Commands from the standard input, as they come."""
    return iter(sys.stdin.readline, "")
