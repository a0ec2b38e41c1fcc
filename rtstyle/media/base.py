"""The interfaces of every source and every sink, and what a sink is opened with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from rtstyle.frame import DeviceFrame, Frame, StreamInfo
from rtstyle.media.options import WriteOptions

if TYPE_CHECKING:
    from av.container import InputContainer

    from rtstyle.media.devices.sound import SoundRing


@dataclass(frozen=True, slots=True)
class Origin:
    """The files that a source reads, for a sink that copies what accompanies the pictures.

    One video file, with `stream` the index of its video stream; or pictures in order, the one of
    frame `i` at `paths[i]`. `offset` is the time of frame time 0 on the file's own clock. `start`
    and `end` bound the part on that clock, where the video was cut. All in seconds. `reopen` opens
    a video that is no file, for its other streams; then there are no `paths`. What is no file and
    can be read only once, a pipe, keeps its bytes for that until `drop` is called.
    """

    paths: tuple[Path, ...]
    stream: int | None = None
    offset: Fraction = Fraction(0)
    start: Fraction | None = None
    end: Fraction | None = None
    reopen: Callable[[], InputContainer] | None = None
    drop: Callable[[], None] | None = None


class Source(AbstractContextManager["Source"], Protocol):
    """Delivers frames. Opened by its constructor; used as a context manager, which closes it.

    `info` is valid at once. `frames` is called once, from one thread, which need not be the thread
    that opened or closes the source. `notes` collects sentences for the user about what was lost or
    changed; it is complete once `frames` has ended. `origin` is None for a device.
    """

    info: StreamInfo
    notes: list[str]
    origin: Origin | None

    def frames(self) -> Iterator[Frame]:
        """Every frame in order. Raises `MediaError` at damage, after the last good frame."""
        ...


@dataclass(frozen=True, slots=True)
class SinkRequest:
    """What a sink is opened for: frames as in `info`, read from `origin`, written as in `writing`.

    `panel` is set for a sink that shows a live run and takes its commands, `sound` where sound
    belongs to live pictures.
    """

    info: StreamInfo
    origin: Origin | None = None
    writing: WriteOptions = field(default_factory=WriteOptions)
    panel: Panel | None = None
    sound: SoundRing | None = None


class Panel(Protocol):
    """What a live run shows beside the picture, and where its commands go. Safe from any thread."""

    def line(self) -> str:
        """The figures, in one line."""
        ...

    def notice(self) -> str:
        """A warning to show, or ""."""
        ...

    def do(self, command: str) -> None:
        """Carry out a command in the language of `rtstyle.live.commands`."""
        ...


class Sink(AbstractContextManager["Sink"], Protocol):
    """Takes frames, all from one thread. Used as a context manager.

    A sink that writes a file uses a temporary name beside it. `finish` completes the file and gives
    it its name; leaving the context without `finish` removes what was written.
    """

    notes: list[str]

    def write(self, frame: Frame) -> None:
        """Take the next frame. Raises `OutputError` when it cannot be written."""
        ...

    def finish(self, *, complete: bool = True) -> None:
        """Complete the output and give it its final name.

        `complete=False` says that the source ended early (an error, Ctrl-C): what accompanies the
        pictures, such as sound, then ends with the last one.
        """
        ...


@runtime_checkable
class DeviceSource(Source, Protocol):
    """A source whose frames may be decoded on a GPU."""

    def device_frames(self) -> Iterator[Frame | DeviceFrame]:
        """As `frames`, in its stead, with every frame that can stay there in the GPU's memory."""
        ...


@runtime_checkable
class DeviceSink(Sink, Protocol):
    """A sink that also takes frames in a GPU's memory."""

    takes_device_frames: Literal[True]

    def write(self, frame: Frame | DeviceFrame) -> None: ...
